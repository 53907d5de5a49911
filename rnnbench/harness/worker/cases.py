"""The cases of a worker: built under torch's settings for them, prepared, timed in turns, verified and released."""

import mmap
import os
import random
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from rnnbench.cells import CellError, load_function, parsed
from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.turns.engine import calibrate, plan_window, warm_up
from rnnbench.harness.turns.schedule import Turns
from rnnbench.harness.worker.guard import CaseGuard, no_threads_left
from rnnbench.store.records import AXES, Case, DType, Workload, evenly_spaced
from rnnbench.workloads import loading, referee
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.model import SequenceModel
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.size import least_bytes

KEPT_QUANTILES = 49  # of the blocks of half of the turns of a case in a visit
NUMBER, NO_CASE = struct.Struct("i"), -1  # of the case in turn, in memory that the coordinator shares
TOKEN = b"t"  # which two workers hand each other when the other's turns begin
MAX_PADDING_LINES = 256  # of 64 bytes, a cache line

MakeImportable = Callable[[str, Path], None]  # lets a user's cell be imported; its file's path is relative to a root


@dataclass(frozen=True)
class PreparedCase:
    """A case that is ready to be timed."""

    built: Built | loading.Loading  # without its reference, which is not kept in memory
    device: devices.Device
    timed: TimedCall
    padding: torch.Tensor


class Cases:
    """Builds cases under the settings of torch that they need; holds those of the current group, and times them."""

    def __init__(
        self, layout: random.Random, guard: CaseGuard, make_importable: MakeImportable, relay: Mapping[str, int]
    ) -> None:
        """`layout` draws where a case's memory begins.

        `relay` has descriptors: `marks`, memory in which the coordinator reads which case is called, and for turns with
        another side's worker the ends of two pipes, `token_from` and `token_to`.
        """
        self._layout, self._streams = layout, guard.streams
        self._make_importable, self._relay = make_importable, relay
        self._marks = mmap.mmap(relay["marks"], NUMBER.size) if "marks" in relay else bytearray(NUMBER.size)
        self._state = self._wanted = global_state.capture()
        self._visits = count()
        self._ready: dict[str, PreparedCase] = {}
        self._references: dict[Workload, SequenceModel] = {}  # built after the last window of a visit

    def build(self, request: dict[str, Any]) -> Built | loading.Loading:
        """Build the case of a request without calling it; raises Skip, CellError and any error of its cell."""
        if unknown := sorted(request["case"].keys() - set(AXES)):  # from a newer rnnbench: this would be other work
            raise CellError(f"this rnnbench has no axis {', '.join(unknown)}")
        case, root = Case.from_axes(request["case"]), Path(request["root"])
        check_fits(case)
        self.restore_for(case)
        for own in case.named_code:
            self._make_importable(own, root)
        is_loading = case.workload.phase == "loading"
        built = loading.build(case) if is_loading else build(case, root, request["compiled_steps"])
        self.restore_for(case)  # the import of a user's file may have changed them
        return built

    def import_all(self, cells: Sequence[str], root: Path) -> None:
        """Import users' cells, and let the settings that they change stay: they belong to this side of a check."""
        for cell in cells:
            self._make_importable(cell, root)
            with suppress(CellError):  # the case of this cell will tell why
                load_function(parsed(cell)[0], root)
        self._state = self._wanted = global_state.capture()

    def restore_for(self, case: Case) -> None:
        """Set torch's settings for a case, whatever the case before it did."""
        self.restore(case.workload.device, case.workload.dtype, case.workload.threads)

    def restore(self, device: str, dtype: DType, threads: int) -> None:
        """Set torch's settings for work of this kind; those that it does not need stay as they were at first."""
        self._wanted = self._state | devices.backend(device).settings(dtype) | {"threads": threads}
        self.put_back()

    def put_back(self) -> None:
        """Set torch's settings as they were last wanted; raises CellError."""
        global_state.restore(self._wanted)

    @property
    def have_workers(self) -> bool:
        """True if a prepared case has processes that load its data."""
        return any(ready.built.case.workload.workers for ready in self._ready.values())

    def prepare(self, request: Request) -> Reply:
        """Build a case, calibrate it unless the seconds of a call are known, and warm it up."""
        # Allocates a random size before the case's own memory, so that its addresses differ from process to process.
        padding = torch.empty(64 * self._layout.randrange(1, MAX_PADDING_LINES), dtype=torch.uint8)
        built = self.build(request)
        case = built.case
        device = devices.open_device(case.workload.device)
        timed = built.timed_call()
        seconds, known = request["window_seconds"], request["call_seconds"]
        is_cold, single_calls = case.workload.is_cold, case.workload.waits_for_each_call
        with timed.mode(), no_threads_left(case):
            if known is None or is_cold:
                plan = calibrate(device, timed.call, seconds, cold=is_cold, single_calls=single_calls)
            else:
                plan = plan_window(known, seconds, device.blocks, single_calls=single_calls)
            warmup_windows = warm_up(device, timed.call, plan, cold=is_cold)
            flushed = device.clock_cold(timed.call, 1) if is_cold else None
        kept = replace(built, reference=built.model) if isinstance(built, Built) else built
        self._ready[case.key] = PreparedCase(kept, device, timed, padding)
        call_seconds = plan.seconds / plan.calls
        wall_seconds = call_seconds if flushed is None else max(call_seconds, flushed.host_seconds)
        return {
            "ok": True,
            "call_seconds": call_seconds,
            "wall_seconds": wall_seconds,
            "warmup_windows": warmup_windows,
        }

    def visit(self, request: Request) -> Reply:
        """Take all turns of a visit; the worker of another side takes its own in between."""
        ready = [self._ready[case] for case in request["cases"]]
        plans = [Turns(**fields) for fields in request["plans"]]
        side, sides = request["side"], [name for name, _ in request["order"]]
        takes_turns = any(name != side for name in sides)
        clocked: list[list[Clocked]] = [[] for _ in ready]
        printing: set[int] = set()
        number = next(self._visits)
        self.restore_for(ready[0].built.case)
        for index, case in enumerate(ready):
            NUMBER.pack_into(self._marks, 0, index)
            # The cases of a group get equal inputs, so that they do equal work.
            case.timed.renew(f"visit {number}")
        NUMBER.pack_into(self._marks, 0, NO_CASE)
        if sides[0] != side:
            os.write(self._relay["token_to"], TOKEN)  # this side is ready, too
        for place, (name, index) in enumerate(request["order"]):
            if name != side:
                continue
            if takes_turns and (place == 0 or sides[place - 1] != side):
                while not os.read(self._relay["token_from"], 1):
                    time.sleep(1)  # the other side has ended: so will this process
            NUMBER.pack_into(self._marks, 0, index)
            printed = self._streams.printed_bytes()
            clocked[index].append(_take_turn(ready[index], plans[index]))
            if self._streams.printed_bytes() != printed:
                printing.add(index)
            NUMBER.pack_into(self._marks, 0, NO_CASE)
            if place + 1 < len(sides) and sides[place + 1] != side:
                os.write(self._relay["token_to"], TOKEN)
        # In the order ABBA: what drifts during the visit shifts both halves by the same amount.
        windows = [
            _window(case, plan, [turn for number, turn in enumerate(turns) if (number + number // 2) % 2 == half])
            | {"case": case.built.case.key, "printed": index in printing}
            for index, (case, plan, turns) in enumerate(zip(ready, plans, clocked, strict=True))
            for half in range(2)
        ]
        return {"ok": True, "windows": windows}

    def verify(self, request: Request) -> Reply:
        """Compare a case with its reference once more, now that it has been timed."""
        case = Case.from_axes(request["case"])
        ready = self._ready[case.key]
        self.restore_for(case)
        if isinstance(ready.built, Built):
            with no_threads_left(case):
                referee.compare(
                    ready.built,
                    ready.timed,
                    partial(self._reference, case, Path(request["root"])),
                    lambda: build(case, Path(request["root"]), request["compiled_steps"]),
                )
        return {"ok": True}

    def release(self, _request: Request) -> Reply:
        """Forget the cases of the group."""
        for ready in self._ready.values():
            ready.timed.end()
        self._ready.clear()
        self._references.clear()
        return {"ok": True}

    def _reference(self, case: Case, root: Path) -> SequenceModel:
        """A case's reference, which its group shares."""
        if case.workload not in self._references:
            self._references[case.workload] = referee.reference_of(case, root)
        return self._references[case.workload]


def check_fits(case: Case) -> None:
    """Raise Skip if the device, its memory, the cores or the type that a case needs are not there."""
    workload = case.workload
    if unusable := devices.why_not(workload.device):
        raise Skip(unusable)
    least, available = least_bytes(workload), devices.open_device(workload.device).memory_bytes()
    if available is not None and least > available:
        raise Skip(
            f"it needs at least {least / 1e9:,.1f} GB of memory, but {workload.device} has {available / 1e9:,.1f} GB"
        )
    cores = len(allowed_cores())
    for axis, wanted in (("threads", workload.threads), ("workers", workload.workers)):
        if wanted > cores:
            raise Skip(f"{axis}={wanted}, but the number of allowed cores is {cores}")
    if lacking := devices.backend(workload.device).lacks(workload.dtype):
        raise Skip(lacking)


def _take_turn(ready: PreparedCase, plan: Turns) -> Clocked:
    """Clock the calls of one turn."""
    device, timed, workload = ready.device, ready.timed, ready.built.case.workload
    with timed.mode(), no_threads_left(ready.built.case):
        if workload.is_cold:
            return device.clock_cold(timed.call, plan.blocks)
        # A step of a stream has a deadline, which does not wait while another process has the core.
        return device.clock(
            timed.call, plan.blocks, plan.calls, is_warm=plan.is_warm, counts_waits=workload.is_streamed
        )


def _window(ready: PreparedCase, plan: Turns, turns: Sequence[Clocked]) -> dict[str, Any]:
    """Half of a case's turns in a visit, with fields of `rnnbench.store.records.Window`."""
    per_call = sorted(seconds / plan.calls for turn in turns for seconds in turn.batch_seconds)
    return {
        "calls": len(turns) * plan.blocks * plan.calls,
        "batch": plan.calls,
        "waits": len(turns),
        "seconds": sum(turn.seconds for turn in turns),
        "host_seconds": sum(turn.host_seconds for turn in turns),
        "submit_seconds": sum(turn.submit_seconds for turn in turns),
        "quantiles": per_call if ready.built.case.workload.is_streamed else evenly_spaced(per_call, KEPT_QUANTILES),
        "cores": allowed_cores(),
        "clock_mhz": ready.device.clock_mhz(),
        "device_uuid": ready.device.uuid(),
    }
