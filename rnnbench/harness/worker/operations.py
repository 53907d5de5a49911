"""The operations of a worker, which the requests of `rnnbench.harness.protocol` name."""

import gc
import random
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from rnnbench.cells import CellError, CellMissing
from rnnbench.harness import devices
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.cores import file_text
from rnnbench.harness.protocol import NO_RANDOMIZATION, PROTOCOL_VERSION, Reply, Request
from rnnbench.harness.turns.engine import calibrate, joules_per_call
from rnnbench.harness.worker import ceilings, instructions
from rnnbench.harness.worker.cases import Cases, MakeImportable
from rnnbench.harness.worker.guard import CaseGuard
from rnnbench.harness.worker.modules import UsedFiles
from rnnbench.harness.worker.reach import Tracer, reach
from rnnbench.raised import ending, place
from rnnbench.store.ceilings import PLACE
from rnnbench.store.readings import Readings
from rnnbench.store.records import Failure
from rnnbench.text import message_of
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.referee import ParityError

# After these requests the worker holds no case, and it tells which files were used since.
LAST_OF_A_CASE = ("reach", "observe", "energy", "count", "profile", "release")
ABOVE = {"profile": "rnnbench.profiling.profile"}  # operations of rooms above this one: each module has an `answer`
PERSONALITY = Path("/proc/self/personality")
# What torch, the host's allocator, the driver and libraries say when memory runs out.
NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


class Operations:
    """Performs the requested operations: those on the cases that are timed are in `Cases`."""

    def __init__(
        self,
        layout: random.Random,
        guard: CaseGuard,
        files: UsedFiles | None = None,
        make_importable: MakeImportable = lambda cell, root: None,
        relay: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`layout` draws where a case's memory begins."""
        self._guard, self._files = guard, files or UsedFiles()
        self._cases = Cases(layout, guard, make_importable, relay)

    def handle(self, request: Request) -> Reply:
        """The reply to one request; an error of a case becomes a reply, too."""
        self._guard.begin()
        reply = self._reply(request, self._answer)
        put_back = self._reply(request, self._put_back)
        if not put_back["ok"] and reply.get("status") != "failed":
            reply = put_back
        return reply | (self._files.new() if request["op"] in LAST_OF_A_CASE else {})

    def _reply(self, request: Request, answer: Callable[[Request], Reply]) -> dict[str, Any]:
        try:
            return answer(request)
        except Skip as skip:
            return {"ok": False, "status": "skipped", "reason": str(skip)}
        except CellError as error:
            return failed_reply(error, str(error))
        except ParityError as error:
            late = " after timing" if request["op"] == "verify" else ""
            return failed_reply(error, f"parity{late}: {error}")
        except BaseException as error:  # also `sys.exit` of a case: signals that end a process do not reach a worker
            self._guard.streams.restore()  # a case that raises may have closed them
            traceback.print_exc()
            return failed_reply(error, failure_reason(error))

    def _answer(self, request: Request) -> Reply:
        operations: dict[str, Callable[[Request], Reply]] = {
            "device": self._device,
            "ceiling": self._ceiling,
            "import": self._import,
            "reach": self._reach,
            "observe": self._observe,
            "energy": self._energy,
            "count": self._count,
            "prepare": self._cases.prepare,
            "visit": self._cases.visit,
            "verify": self._cases.verify,
            "release": self._cases.release,
        }
        if (module := ABOVE.get(request["op"])) is not None:
            return dict(import_module(module).answer(self._cases.build(request), request))
        return operations[request["op"]](request)

    def _put_back(self, request: Request) -> Reply:
        """Prepare the process for the next case; raises CellError.

        Also runs after a failed request: only now does nothing refer to its case any more.
        """
        if request["op"] in LAST_OF_A_CASE:
            _forget()
        self._cases.put_back()
        has_workers = bool(request.get("case", {}).get("workers"))
        self._guard.end(may_have_children=has_workers or self._cases.have_workers)
        return {"ok": True}

    def _device(self, request: Request) -> Reply:
        if reason := devices.why_not(request["device"]):
            return {"ok": True, "reason": reason, "no_energy": reason, "name": "", "uuid": None}
        device = devices.open_device(request["device"])
        no_energy = Readings.of({"energy": device.meter}).missing.get("energy", "")
        return {"ok": True, "reason": "", "no_energy": no_energy, "name": device.model(), "uuid": device.uuid()}

    def _ceiling(self, request: Request) -> Reply:
        name, dtype, threads = (request[axis] for axis in PLACE)
        self._cases.restore(name, dtype, threads)
        device = devices.open_device(name)
        load = partial(ceilings.load, dtype, Path(request["folder"]))
        loaded = Readings.of({"kernels": load} if device.runs_host_code else {})
        native, again = loaded.values.get("kernels"), request["again"]
        ceiling = ceilings.measure(device, dtype, threads, native, request["passes"], again=again)
        return {"ok": True, "ceiling": ceiling.to_json(), "no_kernels": loaded.missing.get("kernels", "")}

    def _import(self, request: Request) -> Reply:
        """Import the code under test before anything else; what this changes in the process stays."""
        with self._tracer.following(request["tree"], self._tracer.doubts):
            self._cases.import_all(request["cells"], Path(request["root"]))
        self._guard.adopt()
        return {"ok": True}

    def _reach(self, request: Request) -> Reply:
        """The code that a case may run."""
        if request["case"]["phase"] in ("loading", "epoch"):
            raise CellError("it draws from a data set, with code that may run in other processes")
        return reach(self._tracer, request["tree"], lambda: self._cases.build(request))

    @cached_property
    def _tracer(self) -> Tracer:
        return Tracer()

    def _observe(self, request: Request) -> Reply:
        """All metrics except time. This process must not time cases later, since some probes change its allocator."""
        built = self._cases.build(request)
        device = devices.open_device(built.case.workload.device)
        measurement = observe(built, device.memory) if isinstance(built, Built) else built.observe(device.memory)
        device.synchronize()  # a failing probe is not the fault of the case, but a broken device is
        return {"ok": True, "measurement": measurement.to_json()}

    def _energy(self, request: Request) -> Reply:
        """Joules per call, over back-to-back calls for as long as the counter needs."""
        built = self._cases.build(request)
        device, timed = devices.open_device(built.case.workload.device), built.timed_call()
        with timed.mode():
            plan = calibrate(device, timed.call, request["window_seconds"])
            meter = device.meter()
            readings = Readings.of({"energy_joules": lambda: joules_per_call(meter, device, timed.call, plan)})
        timed.end()
        return {"ok": True, "values": readings.values, "missing": readings.missing}

    def _count(self, request: Request) -> Reply:
        """The instructions of one call."""
        built = self._cases.build(request)
        if not isinstance(built, Built):
            raise Skip("the phase `loading` has no model whose call could be counted")
        if not devices.open_device(built.case.workload.device).runs_host_code:
            raise Skip("instructions are counted on the CPU only")
        timed = built.timed_call()
        totals = instructions.count(timed, built.case.workload.seq_len, request["counter"])
        timed.end()
        return {"ok": True, "totals": totals}


def _forget() -> None:
    """Free everything left of earlier cases: garbage collection is off while cases run.

    Much of it is in reference cycles: compiled code, a recorded graph with all its memory, a profile.
    """
    compiled.forget()
    gc.collect()
    gc.freeze()  # the remaining objects are torch's own; later collections skip them
    devices.Cuda.empty_cache()


def failed_reply(error: BaseException, reason: str) -> dict[str, Any]:
    """Return the reply to a request in which this error was raised."""
    return {"ok": False, "status": "failed", "reason": reason, "failure": failure_kind(error)}


def failure_kind(error: BaseException) -> Failure:
    """Return `loading` if the error or one of its causes is missing or unreadable code or a file; otherwise `running`.

    Files can be missing because of the place where a case runs, such as a temporary worktree, and not because of its
    code.
    """
    if isinstance(error, CellMissing | ImportError | SyntaxError | OSError):
        return "loading"
    cause = error.__cause__ or error.__context__
    return "running" if cause is None else failure_kind(cause)


def failure_reason(error: BaseException) -> str:
    """Return one line with the error, and the innermost line of code outside installed packages."""
    if not isinstance(error, Exception):
        return ending(error)
    message = message_of(error)
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in message for text in NO_MEMORY)
    name = "out of memory" if is_memory else type(error).__name__
    # TorchScript begins with a sentence about itself and its own traceback; the error of the module comes last.
    lines = message.strip().splitlines()
    line = lines[-1 if isinstance(error, torch.jit.Error) else 0][:300] if lines else ""
    return f"{name}: {line}{place(error)}" if line else f"{name}{place(error)}"


def hello() -> dict[str, Any]:
    """Describe this worker: versions, and the devices that it sees."""
    settings = global_state.capture()
    personality = file_text(PERSONALITY) or "0"  # which only Linux tells, and some sandboxes hide
    return {
        "protocol": PROTOCOL_VERSION,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        **devices.Cpu.about(),
        **devices.Cuda.about(),
        "fixed_addresses": bool(int(personality, 16) & NO_RANDOMIZATION),
        "settings": {name: str(value) for name, value in settings.items() if name in global_state.DESCRIBED},
    }
