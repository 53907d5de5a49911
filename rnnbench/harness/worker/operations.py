"""The operations of a worker, which the requests of `rnnbench.harness.protocol` name."""

import gc
import random
import traceback
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from rnnbench.cells import CellError
from rnnbench.harness import devices
from rnnbench.harness.machine.global_state import NotRestoredError
from rnnbench.harness.protocol import (
    CeilingReply,
    CountReply,
    DeviceReply,
    EnergyReply,
    FailedReply,
    FineReply,
    ObserveReply,
    ReachReply,
)
from rnnbench.harness.turns.engine import calibrate
from rnnbench.harness.worker import ceilings, energy, failure, instructions, native
from rnnbench.harness.worker.building import Builder
from rnnbench.harness.worker.case_guard import CaseGuard
from rnnbench.harness.worker.imported import Imported, Opened
from rnnbench.harness.worker.reach import Tracer, reach
from rnnbench.harness.worker.relay import Relay
from rnnbench.harness.worker.timing import Timing
from rnnbench.harness.worker.user_modules import UserModules
from rnnbench.store.ceilings import PLACE
from rnnbench.store.readings import Readings, Unavailable
from rnnbench.store.records import Case
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.referee.agreement import ParityError

LAST_OF_A_CASE = (
    "reach",
    "observe",
    "energy",
    "count",
    "profile",
    "release",
)  # after these requests, the worker holds no case
ABOVE = {"profile": "rnnbench.profiling.profile"}  # operations of rooms above this one: each module has an `answer`
TELLS_FILES = ("reach", "observe", "release")  # after these, it tells which files were used since


class Operations:
    """Performs the requested operations: those on the cases that are timed are in `Timing`."""

    def __init__(
        self,
        layout: random.Random,
        guard: CaseGuard | None = None,
        modules: UserModules | None = None,
        opened: Opened | None = None,
        relay: Relay | None = None,
    ) -> None:
        """`layout` draws where a case's memory begins; the others need a process that does nothing else."""
        self._guard = guard
        self._builder = Builder(modules)
        self._timing = Timing(self._builder, layout, guard, relay)
        self._imported = Imported()
        self._opened = opened

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request; an error of a case becomes a reply, too."""
        if self._guard is not None:
            self._guard.begin()
        reply = self._reply(request, self._answer)
        put_back = self._reply(request, self._put_back)
        if not put_back["ok"] and reply.get("status") != "failed":
            reply = put_back
        if request["op"] in TELLS_FILES:
            reply |= {"imported": self._imported.new(), "opened": self._opened.new() if self._opened else []}
        return reply

    def _reply(self, request: dict[str, Any], answer: Callable[[dict[str, Any]], FineReply]) -> dict[str, Any]:
        try:
            return {**answer(request)}
        except Skip as skip:
            return {**FailedReply(ok=False, status="skipped", reason=str(skip))}
        except CellError as error:
            return failure.reply(error, str(error))
        except NotRestoredError as error:
            return failure.reply(error, f"it changes {error}, which can't be put back for the cases after it")
        except ParityError as error:
            late = " after timing" if request["op"] == "verify" else ""
            return failure.reply(error, f"parity{late}: {error}")
        except BaseException as error:  # also `sys.exit` of a case: signals that end a process do not reach a worker
            if self._guard is not None:
                self._guard.restore_streams()  # a case that raises may have closed them
            traceback.print_exc()
            return failure.reply(error, failure.reason(error))

    def _answer(self, request: dict[str, Any]) -> FineReply:
        operations: dict[str, Callable[[dict[str, Any]], FineReply]] = {
            "device": self._device,
            "ceiling": self._ceiling,
            "import": self._import,
            "reach": self._reach,
            "observe": self._observe,
            "energy": self._energy,
            "count": self._count,
            "prepare": self._timing.prepare,
            "visit": self._timing.visit,
            "verify": self._timing.verify,
            "release": self._timing.release,
        }
        if (module := ABOVE.get(request["op"])) is not None:
            reply: FineReply = import_module(module).answer(self._builder.build(request), request)
            return reply
        return operations[request["op"]](request)

    def _put_back(self, request: dict[str, Any]) -> FineReply:
        """Prepare the process for the next case; raises NotRestoredError and CellError.

        Also runs after a failed request: only now does nothing refer to its case any more.
        """
        if request.get("op") in LAST_OF_A_CASE:
            _forget()
        self._builder.put_back()
        if self._guard is not None:
            self._guard.end(may_have_children=self._loads_in_children(request))
        return FineReply(ok=True)

    def _loads_in_children(self, request: dict[str, Any]) -> bool:
        """Whether the case of a request or a prepared case uses processes that load data."""
        requested = [Case.from_axes(request["case"])] if isinstance(request.get("case"), dict) else []
        return any(case.workload.workers for case in (*self._timing.cases, *requested))

    def _device(self, request: dict[str, Any]) -> DeviceReply:
        name = request["device"]
        reason = devices.why_not(name)
        if reason:
            return DeviceReply(ok=True, reason=reason, no_energy=reason, name="", uuid=None)
        device = devices.open_device(name)
        try:
            device.meter()
            no_energy = ""
        except Unavailable as missing:
            no_energy = str(missing)
        return DeviceReply(ok=True, reason="", no_energy=no_energy, name=device.model(), uuid=device.uuid())

    def _ceiling(self, request: dict[str, Any]) -> CeilingReply:
        name, dtype, threads = (request[axis] for axis in PLACE)
        self._builder.restore(name, dtype, threads)
        device, kernels, no_kernels = devices.open_device(name), None, ""
        if device.runs_host_code:
            try:
                kernels = native.load(dtype, threads, Path(request["folder"]))
            except Unavailable as reason:
                no_kernels = str(reason)
        if request["again"]:
            ceiling = ceilings.measure_again(device, dtype, threads, kernels)
        else:
            ceiling = ceilings.measure(device, dtype, threads, kernels, request["passes"])
        return CeilingReply(ok=True, ceiling=ceiling.to_json(), no_kernels=no_kernels)

    def _import(self, request: dict[str, Any]) -> FineReply:
        """Import the code under test before anything else; what this changes in the process stays."""
        with self._tracer.following(request["tree"]):
            self._builder.import_all(request["cells"], Path(request["root"]))
        if self._guard is not None:
            self._guard.adopt()
        return FineReply(ok=True)

    def _reach(self, request: dict[str, Any]) -> ReachReply:
        """The code that a case may run."""
        if request["case"]["phase"] in ("loading", "epoch"):
            raise CellError("it draws from a data set, with code that may run in other processes")
        found = reach(self._tracer, request["tree"], lambda: self._builder.build(request))
        return ReachReply(ok=True, code=sorted(found.code), doubts=[*found.doubts], may_import=found.may_import)

    @cached_property
    def _tracer(self) -> Tracer:
        return Tracer()

    def _observe(self, request: dict[str, Any]) -> ObserveReply:
        """All metrics except time. This process must not time cases later, since some probes change its allocator."""
        built = self._builder.build(request)
        device = devices.open_device(built.case.workload.device)
        if isinstance(built, Built):
            measurement = observe(built, lambda built: device.memory(built.timed_call()))
        else:
            measurement = built.observe(device.memory)
        device.synchronize()  # a failing probe is not the fault of the case, but a broken device is
        return ObserveReply(ok=True, measurement=measurement.to_json())

    def _energy(self, request: dict[str, Any]) -> EnergyReply:
        """Joules per call, over back-to-back calls for as long as the counter needs."""
        built = self._builder.build(request)
        device, timed = devices.open_device(built.case.workload.device), built.timed_call()
        with timed.mode():
            plan = calibrate(device, timed.call, request["window_seconds"])
            meter = device.meter()
            readings = Readings.of({"energy_joules": lambda: energy.per_call(meter, device, timed.call, plan)})
        timed.end()
        return EnergyReply(ok=True, values=readings.values, missing=readings.missing)

    def _count(self, request: dict[str, Any]) -> CountReply:
        """The instructions of one call."""
        built = self._builder.build(request)
        if not isinstance(built, Built):
            raise Skip("the phase `loading` has no model whose call could be counted")
        if not devices.open_device(built.case.workload.device).runs_host_code:
            raise Skip("instructions are counted on the CPU only")
        timed = built.timed_call()
        totals = instructions.count(timed, built.case.workload.seq_len, request["counter"])
        timed.end()
        return CountReply(ok=True, totals=totals)


def _forget() -> None:
    """Free everything left of earlier cases: garbage collection is off while cases run.

    Much of it is in reference cycles: compiled code, a recorded graph with all its memory, a profile.
    """
    compiled.forget()
    gc.collect()
    gc.freeze()  # the remaining objects are torch's own; later collections skip them
    devices.Cuda.empty_cache()
