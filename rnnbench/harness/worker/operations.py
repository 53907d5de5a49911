"""The operations of a worker, which the requests of `rnnbench.harness.protocol` name."""

import ctypes
import gc
import math
import mmap
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from functools import cache, partial
from importlib import import_module
from itertools import count, cycle, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from rnnbench.cells import CellError
from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked
from rnnbench.harness.devices.self_test import why_not_timed
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.cores import file_text
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.protocol import NO_RANDOMIZATION, PROTOCOL_VERSION, Reply, Request
from rnnbench.harness.turns.schedule import Turns, calibrate, joules_per_call, plan_window, warm_up
from rnnbench.harness.worker import ceilings
from rnnbench.harness.worker.apart import answered_apart, may_fork
from rnnbench.harness.worker.cases import (
    MAX_NAMED,
    PreparedCase,
    check_fits,
    count_instructions,
    failed_imports,
    failure_kind,
    failure_reason,
    no_threads_left,
    running_processes,
)
from rnnbench.harness.worker.own_settings import OwnSettings, kept, overruled, set_since
from rnnbench.harness.worker.under_test import Tracer, reach
from rnnbench.harness.worker.unfollowed import DRAWS_DATA
from rnnbench.harness.worker.user_files import UsedFiles
from rnnbench.store.metrics import Readings
from rnnbench.store.records import AXES, Case, DType
from rnnbench.text import first_few
from rnnbench.workloads import compiled, parity
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import checked, observe, observe_loading, probed
from rnnbench.workloads.parity import ParityError
from rnnbench.workloads.phases import Loading, build_loading
from rnnbench.workloads.prepare import Built, build, built_by, reference_case
from rnnbench.workloads.processor import in_plain_words

# After these requests the worker holds no case, and it tells which files were used since.
LAST_OF_A_CASE = ("reach", "check", "probe", "observe", "energy", "count", "profile", "release")
PERSONALITY = Path("/proc/self/personality")
NO_CASE = -1  # in place of the number of the case in turn
TOKEN = b"t"  # which two workers hand each other when the other's turns begin
MAX_PADDING_LINES = 256  # of 64 bytes, a cache line


class Operations:
    """Performs the requested operations; a case can't harm the cases after it, and may leave no process running."""

    def __init__(
        self,
        layout: random.Random,
        restore_streams: Callable[[], None],
        printed_bytes: Callable[[], int],
        files: UsedFiles,
        make_importable: Callable[[str, Path], None],
        relay: Mapping[str, int],
    ) -> None:
        """`layout` draws where a case's memory begins; `make_importable` takes a user's cell and the root of its path.

        `relay` has descriptors: `marks`, memory in which the coordinator reads which case is called, and for turns with
        another side's worker the ends of two pipes, `token_from` and `token_to`.
        """
        self._restore_streams = restore_streams
        self._printed_bytes = printed_bytes
        self._layout = layout
        self._files = files
        self._make_importable = make_importable
        self._relay = relay
        self._case_in_turn = ctypes.c_int.from_buffer(mmap.mmap(relay["marks"], ctypes.sizeof(ctypes.c_int)))
        self._torch = global_state.capture()  # settings at first
        self._usual = self._wanted = self._torch  # at the place of the last request, and for what runs now
        self._own = OwnSettings()
        self._overruled: dict[str, Any] = {}  # what the code of the last case set, and the suite decides
        self._process: dict[str, Any] = {}  # settings before a request
        self._visits = count()
        self._pulses = Pulses()
        self._ready: dict[str, PreparedCase] = {}  # the cases of the current group
        self._tracer = cache(Tracer)  # of a tree; it lasts as long as the process
        self._reference_of = cache(build)  # used after the last window of a visit

    def handle(self, request: Request) -> Reply:
        """Reply to one request; an error of a case is a reply, too, after which the coordinator ends the worker."""
        if request["op"] == "reach" and may_fork(request):
            return answered_apart(request, self.handle, self._files)
        before = running_processes()
        try:
            reply = self._answer(request)
            self._put_back(request, before)
        except CellError as error:
            reply = failed_reply(error, str(error))
        except ParityError as error:
            late = " after timing" if request["op"] == "verify" else ""
            reply = failed_reply(error, f"parity{late}: {error}")
        except BaseException as error:  # also `sys.exit` of a case: signals that end a process do not reach a worker
            self._restore_streams()  # a case that raises may have closed them
            traceback.print_exc()
            reply = failed_reply(error, failure_reason(error))
        return reply | (self._files.new() if request["op"] in LAST_OF_A_CASE else {})

    def _answer(self, request: Request) -> Reply:
        self._wanted = self._usual
        self._process = global_state.capture(global_state.PROCESS)  # the coordinator may have chosen other cores
        operations: dict[str, Callable[[Request], Reply | None]] = {
            "device": self._device,
            "ceiling": self._ceiling,
            "import": self._import,
            "reach": self._reach,
            "check": self._check,
            "probe": self._probe,
            "observe": self._observe,
            "energy": self._energy,
            "count": self._count,
            "profile": self._profile,
            "prepare": self._prepare,
            "visit": self._visit,
            "verify": self._verify,
            "release": self._release,
        }
        is_timed = request["op"] == "visit"
        try:
            with in_plain_words(), nullcontext() if is_timed else self._own.noting():
                return {"ok": True} | (operations[request["op"]](request) or {})
        except Skip as skip:
            return {"ok": False, "status": "skipped", "reason": str(skip)}

    def _put_back(self, request: Request, before: Mapping[int, str]) -> None:
        """Prepare the process for the next case; `before`: the processes that ran. Raises CellError."""
        self._wanted = self._usual
        if request["op"] in LAST_OF_A_CASE and not request.get("apart"):  # a process that ends now keeps nothing
            # Much is in reference cycles: compiled code, a recorded graph with all its memory, a profile. Garbage
            # collection is off while cases run; what remains is torch's own, which later collections skip.
            compiled.forget()
            gc.collect()
            gc.freeze()
            for kind in {*devices.BACKENDS.values()}:
                kind.empty_cache()
        self._restore_settings()
        prepared = (ready.built.case.workload.workers for ready in self._ready.values())
        if request.get("case", {}).get("workers") or any(prepared):
            return  # they load data
        if new := [name for number, name in running_processes().items() if number not in before]:
            raise CellError(f"it leaves processes running: {first_few(new, MAX_NAMED)}; end them within the call")

    def _restore_settings(self) -> None:
        """Restore the streams and the settings that a case may have changed; raises CellError if that is impossible."""
        self._restore_streams()
        global_state.restore(self._wanted)
        global_state.restore(self._process, global_state.PROCESS)

    def _device(self, request: Request) -> Reply:
        if reason := why_not_timed(request["device"]):
            return {"reason": reason, "no_energy": reason, "name": "", "uuid": None}
        device = devices.open_device(request["device"])
        no_energy = Readings.of({"energy": device.meter}).missing.get("energy", "")
        return {"reason": "", "no_energy": no_energy, "name": device.model, "uuid": device.uuid}

    def _ceiling(self, request: Request) -> Reply:
        name = request["device"]
        dtype = request["dtype"]
        threads = request["threads"]
        self._restore(name, dtype, threads)
        device = devices.open_device(name)
        load = {"kernels": partial(ceilings.load, dtype, Path(request["folder"]))}
        loaded = Readings.of(load if device.runs_host_code else {})
        native = loaded.values.get("kernels")
        passes = request["passes"]
        has_pulses = device.is_shared and threads == 1
        self._pulses.best = min(self._pulses.best, request["best_pulse"] or math.inf)
        before = self._pulses.look() if has_pulses else 0.0
        ceiling = ceilings.measure(device, dtype, threads, native, passes, again=request["again"])
        quiet_share = (before + self._pulses.look()) / 2 if has_pulses else None
        no_kernels = loaded.missing.get("kernels", "")
        return {"ceiling": ceiling.to_json(), "no_kernels": no_kernels, "quiet_share": quiet_share}

    def _import(self, request: Request) -> None:
        """Import the code under test before anything else.

        What it changes of the process stays, as it belongs to its side; settings of torch hold for its own cases alone.
        """
        root = Path(request["root"])
        tracer = self._tracer(request["tree"])
        with tracer.following(tracer.doubts):
            for cell in request["cells"]:
                self._make_importable(cell, root)
            self._own.load(request["cells"], root)
        self._process |= global_state.capture({name: global_state.PROCESS[name] for name in global_state.OF_THE_CODE})

    def _reach(self, request: Request) -> Reply:
        """Return the code that a case may run."""
        if request["case"]["phase"] in ("loading", "epoch"):
            return {"code": [], "doubts": [asdict(DRAWS_DATA)]}
        return reach(self._tracer(request["tree"]), lambda: self._build(request))

    def _observe(self, request: Request) -> Reply:
        """Measure all metrics but time. This process must not time cases later: some probes change its allocator."""
        built = self._build(request)
        device = devices.open_device(built.case.workload.device)
        measurement = (
            observe(built, device.memory) if isinstance(built, Built) else observe_loading(built, device.memory)
        )
        device.synchronize()  # a failing probe is not the fault of the case, but a broken device is
        return {"measurement": measurement.to_json()}

    def _check(self, request: Request) -> Reply:
        """Compare a case with its reference; its probes come later. A data set, which has few, is observed."""
        built = self._build(request)
        device = devices.open_device(built.case.workload.device)
        measurement = checked(built) if isinstance(built, Built) else observe_loading(built, device.memory)
        device.synchronize()
        return {"measurement": measurement.to_json()}

    def _probe(self, request: Request) -> Reply:
        """Measure the metrics of a case that has been checked, but its time."""
        built = self._build(request)
        device = devices.open_device(built.case.workload.device)
        readings = probed(built, device.memory) if isinstance(built, Built) else Readings()
        device.synchronize()
        return {"values": readings.values, "missing": readings.missing}

    def _energy(self, request: Request) -> Reply:
        """Joules per call, over back-to-back calls for as long as the counter needs."""
        built = self._build(request)
        device = devices.open_device(built.case.workload.device)
        with closing(built.timed_call()) as timed, timed.mode():
            plan = calibrate(device, timed.call, request["window_seconds"])
            meter = device.meter()
            readings = Readings.of({"energy_joules": lambda: joules_per_call(meter, device, timed.call, plan)})
        return {"values": readings.values, "missing": readings.missing}

    def _count(self, request: Request) -> Reply:
        """Return the instructions of one call."""
        built = self._build(request)
        if not devices.open_device(built.case.workload.device).runs_host_code:
            raise Skip("instructions are counted on the CPU only")
        with closing(built.timed_call()) as timed:
            steps = built.case.workload.seq_len
            prefix = request.get("vgdb_prefix", "")
            return {"totals": count_instructions(timed, steps, request["counter"], prefix)}

    def _profile(self, request: Request) -> Reply:
        """Return where the time of a case goes, which a room above this one finds out."""
        return dict(import_module("rnnbench.profiling.profile").answer(self._build(request), request))

    def _build(self, request: dict[str, Any]) -> Built | Loading:
        """Build the case of a request without calling it; raises Skip, CellError and any error of its cell."""
        if unknown := sorted(request["case"].keys() - set(AXES)):  # from a newer rnnbench: this would be other work
            raise CellError(f"this rnnbench has no axis {', '.join(unknown)}")
        case = Case.from_axes(request["case"])
        root = Path(request["root"])
        check_fits(case, processes=2 if "token_to" in self._relay else 1)
        self._restore(*case.workload.place)
        for own in case.named_code:
            self._make_importable(own, root)
        self._own.load(case.named_code, root)
        imported = self._own.of((case.cell, case.workload.optimizer, case.workload.loss))
        self._wanted = self._usual | kept(imported)
        self._overruled = overruled(imported)
        self._restore_torch()
        if case.workload.phase == "loading":
            return build_loading(case)
        built = build(case, root, request["compiled_steps"], self._restore_torch)
        self._take_over()
        return built

    def _take_over(self) -> None:
        """Let the settings that a case's own code has changed hold for it, but for those that the suite decides."""
        changed = set_since(self._wanted)
        self._overruled |= overruled(changed)
        self._wanted = self._wanted | kept(changed)
        self._restore_torch()

    def _restore_torch(self) -> None:
        global_state.restore(self._wanted)

    def _restore(self, device: str, dtype: DType, threads: int) -> None:
        """Set torch's settings for work at a place, which the cases of a group share; others as they were at first."""
        self._usual = self._torch | devices.backend(device).settings(dtype) | {"threads": threads}
        self._wanted = self._usual
        self._restore_torch()

    def _prepare(self, request: Request) -> Reply:
        """Build a case, calibrate it unless the seconds of a call are known, and warm it up."""
        # Allocates a random size before the case's own memory, so that its addresses differ from process to process.
        padding = torch.empty(64 * self._layout.randrange(1, MAX_PADDING_LINES), dtype=torch.uint8)
        built = self._build(request)
        case = built.case
        device = devices.open_device(case.workload.device)
        timed = built.timed_call()
        seconds = request["window_seconds"]
        known = request["call_seconds"]
        is_cold = case.workload.caches == "cold"
        single_calls = case.workload.waits_for_each_call
        with timed.mode(), no_threads_left(case):
            if known is None or is_cold:
                plan = calibrate(device, timed.call, seconds, cold=is_cold, single_calls=single_calls)
            else:
                plan = plan_window(known, seconds, device.blocks, single_calls=single_calls)
            warmup_windows = warm_up(device, timed.call, plan, cold=is_cold)
            flushed = device.clock_cold(timed.call, 1) if is_cold else None
        self._take_over()  # what its first calls have set holds for the next ones, too
        own = {name: value for name, value in self._wanted.items() if value != self._usual[name]}
        held = replace(built, reference=built.model) if isinstance(built, Built) else built
        self._ready[case.key] = PreparedCase(held, device, timed, padding, own)
        call_seconds = plan.seconds / plan.calls
        wall_seconds = call_seconds if flushed is None else max(call_seconds, flushed.host_seconds)
        return {
            "call_seconds": call_seconds,
            "wall_seconds": wall_seconds,
            "warmup_windows": warmup_windows,
            "built_by": built_by(case, Path(request["root"])),
            "sets": {name: str(value) for name, value in own.items()},
            "overruled": {name: str(value) for name, value in self._overruled.items()},
        }

    def _visit(self, request: Request) -> Reply:
        """Take all turns of a visit; the worker of another side takes its own in between."""
        ready = [self._ready[case] for case in request["cases"]]
        self._pulses.best = min(self._pulses.best, request["best_pulse"] or math.inf)
        plans = [Turns(**fields) for fields in request["plans"]]
        clocked: list[list[Clocked]] = [[] for _ in ready]
        printing: set[int] = set()
        seed = f"visit {next(self._visits)}"
        for index, case in enumerate(ready):
            self._case_in_turn.value = index
            global_state.restore({**self._usual, **case.own_settings})
            case.timed.renew(seed)  # the cases of a group get equal inputs, so that they do equal work
        self._restore_torch()
        self._case_in_turn.value = NO_CASE
        rows = [(side, [*turns]) for side, turns in groupby(request["order"], itemgetter(0))]
        if rows[0][0] != request["side"]:
            os.write(self._relay["token_to"], TOKEN)  # this side is ready, too
        else:
            self._preheat(ready, plans, request.get("preheat_seconds", 0.0))
        for place, (side, turns) in enumerate(rows, 1):
            if side != request["side"]:
                continue
            while len(rows) > 1 and not os.read(self._relay["token_from"], 1):
                time.sleep(1)  # the other side has ended: so will this process
            for _, index in turns:
                self._case_in_turn.value = index
                printed = self._printed_bytes()
                if ready[index].own_settings:
                    global_state.restore({**self._usual, **ready[index].own_settings})
                clocked[index].append(ready[index].take_turn(plans[index], self._pulses))
                self._restore_settings()  # after each turn of each case alike, as it costs some microseconds
                if self._printed_bytes() != printed:
                    printing.add(index)
                self._case_in_turn.value = NO_CASE
            if place < len(rows):
                os.write(self._relay["token_to"], TOKEN)
        # In the order ABBA: what drifts during the visit shifts both halves by the same amount.
        windows = [
            case.window(
                plan, [turn for number, turn in enumerate(turns) if (number + number // 2) % 2 == half], self._pulses
            )
            | {"printed": index in printing}
            for index, (case, plan, turns) in enumerate(zip(ready, plans, clocked, strict=True))
            for half in range(2)
        ]
        return {"windows": windows, "best_pulse": None if math.isinf(self._pulses.best) else self._pulses.best}

    def _preheat(self, ready: Sequence[PreparedCase], plans: Sequence[Turns], seconds: float) -> None:
        """Take turns that don't count for so many seconds, until a GPU is as warm as under steady load."""
        end = time.monotonic() + seconds
        for index in cycle(range(len(ready))):
            if time.monotonic() >= end:
                break
            self._case_in_turn.value = index
            global_state.restore({**self._usual, **ready[index].own_settings})
            ready[index].take_turn(plans[index], self._pulses)
        self._case_in_turn.value = NO_CASE
        self._restore_settings()

    def _verify(self, request: Request) -> None:
        """Compare a case with its reference once more, now that it has been timed."""
        case = Case.from_axes(request["case"])
        root = Path(request["root"])
        ready = self._ready[case.key]
        self._wanted = {**self._usual, **ready.own_settings}
        self._restore_torch()
        if isinstance(ready.built, Built):

            def reference() -> Built:
                built = self._reference_of(reference_case(case), root)
                self._restore_torch()
                return built

            anew = partial(build, case, root, request["compiled_steps"])
            with no_threads_left(case):
                parity.compare(ready.built, ready.timed, reference, anew)

    def _release(self, _request: Request) -> None:
        """Forget the cases of the group."""
        for ready in self._ready.values():
            ready.timed.close()
        self._ready.clear()
        self._reference_of.cache_clear()


def failed_reply(error: BaseException, reason: str) -> dict[str, Any]:
    """Return the reply to a request in which this error was raised."""
    kind = failure_kind(error)
    places = failed_imports(error) if kind == "loading" else {}
    return {"ok": False, "status": "failed", "reason": reason, "failure": kind, **places}


def hello() -> dict[str, Any]:
    """Describe this worker: versions, and the devices that it sees."""
    personality = file_text(PERSONALITY) or "0"  # which only Linux tells, and some sandboxes hide
    return {
        "protocol": PROTOCOL_VERSION,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        **devices.Cpu.about(),
        **devices.Cuda.about(),
        "fixed_addresses": bool(int(personality, 16) & NO_RANDOMIZATION),
        "settings": {name: str(global_state.TORCH[name].read()) for name in global_state.DESCRIBED},
    }
