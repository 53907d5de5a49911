"""The cases of the current group in a worker: prepared, timed in windows, verified and released."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from rnnbench.harness import devices
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import FineReply, PrepareReply, WindowReply
from rnnbench.harness.turns.engine import Plan, calibrate, plan_fields, take_window, warm_up
from rnnbench.harness.worker import threads
from rnnbench.harness.worker.building import Builder
from rnnbench.harness.worker.case_guard import CaseGuard
from rnnbench.store.records import Case, Workload
from rnnbench.workloads import loading
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.referee import again

MAX_PADDING_LINES = 256  # of 64 bytes, a cache line


@dataclass(frozen=True)
class PreparedCase:
    """A case that is ready to be timed."""

    built: Built | loading.Loading  # without its reference, which is not kept in memory
    device: devices.Device
    timed: TimedCall
    padding: torch.Tensor
    numbers: Iterator[int] = field(default_factory=count)  # of its windows

    @property
    def case(self) -> Case:
        """The case that is prepared."""
        return self.built.case


class Timing:
    """Holds the prepared cases of the current group, and times them."""

    def __init__(self, builder: Builder, layout: random.Random, guard: CaseGuard | None) -> None:
        """`layout` draws where a case's memory begins; `guard` needs a process that does nothing else."""
        self._builder = builder
        self._layout = layout
        self._guard = guard
        self._ready: dict[str, PreparedCase] = {}
        self._references: dict[Workload, again.GroupReference] = {}  # built after the last window of a visit

    @property
    def cases(self) -> list[Case]:
        """The prepared cases."""
        return [ready.case for ready in self._ready.values()]

    def prepare(self, request: dict[str, Any]) -> PrepareReply:
        """Build a case, calibrate it unless a plan is given, and warm it up."""
        # Allocates a random size before the case's own memory, so that its addresses differ from process to process.
        padding = torch.empty(64 * self._layout.randrange(1, MAX_PADDING_LINES), dtype=torch.uint8)
        built = self._builder.build(request)
        case = built.case
        device = devices.open_device(case.workload.device)
        timed = built.timed_call()
        with timed.mode(), threads.none_left(case):
            workload, seconds = case.workload, request["window_seconds"]
            plan, single_calls = Plan(**request["plan"]) if request["plan"] else None, workload.waits_for_each_call
            if plan is None:
                plan = calibrate(device, timed.call, seconds, cold=workload.is_cold, single_calls=single_calls)
            warmup_windows = warm_up(device, timed.call, plan, cold=workload.is_cold)
        kept = replace(built, reference=built.model) if isinstance(built, Built) else built
        self._ready[case.key] = PreparedCase(kept, device, timed, padding)
        return PrepareReply(ok=True, plan=plan_fields(plan), warmup_windows=warmup_windows)

    def window(self, request: dict[str, Any]) -> WindowReply:
        """Time one window of a prepared case."""
        ready, plan = self._ready[request["case"]], Plan(**request["plan"])
        self._builder.restore_for(ready.case)
        printed = self._printed_bytes()
        # The cases of a group get equal inputs, so that they do equal work.
        ready.timed.renew(f"window {next(ready.numbers)}")
        cold, keeps_calls = ready.case.workload.is_cold, ready.case.workload.is_streamed
        with ready.timed.mode(), threads.none_left(ready.case):
            reading = take_window(
                ready.device, ready.timed.call, plan, cold=cold, keeps_calls=keeps_calls, is_warm=request["is_warm"]
            )
        return WindowReply(
            ok=True,
            calls=plan.calls,
            batch=plan.batch,
            seconds=reading.seconds,
            host_seconds=reading.host_seconds,
            submit_seconds=reading.submit_seconds,
            quantiles=list(reading.quantiles),
            cores=allowed_cores(),
            clock_mhz=ready.device.clock_mhz(),
            device_uuid=ready.device.uuid(),
            printed=self._printed_bytes() != printed,
        )

    def verify(self, request: dict[str, Any]) -> FineReply:
        """Compare a case with its reference once more, now that it has been timed."""
        case = Case.from_axes(request["case"])
        ready = self._ready[case.key]
        self._builder.restore_for(case)
        if isinstance(ready.built, Built):
            with threads.none_left(case):
                again.compare(
                    ready.built,
                    ready.timed,
                    partial(self._reference, case, Path(request["root"])),
                    lambda: build(case, Path(request["root"]), request["compiled_steps"]),
                    repeats=request["repeats"],
                )
        return FineReply(ok=True)

    def release(self, _request: dict[str, Any]) -> FineReply:
        """Forget the cases of the group."""
        for ready in self._ready.values():
            ready.timed.end()
        self._ready.clear()
        self._references.clear()
        return FineReply(ok=True)

    def _reference(self, case: Case, root: Path) -> again.GroupReference:
        """A case's reference, which its group shares."""
        if case.workload not in self._references:
            self._references[case.workload] = again.GroupReference(build(again.reference_case(case), root).model)
        return self._references[case.workload]

    def _printed_bytes(self) -> int:
        return 0 if self._guard is None else self._guard.printed_bytes()
