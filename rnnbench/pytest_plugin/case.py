"""A suite's case in this process, ready to be timed: for callers that keep statistics of their own."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from rnnbench.cells import CellError
from rnnbench.harness import devices
from rnnbench.harness.devices import Device
from rnnbench.harness.live.put_back import keep_process, undisturbed
from rnnbench.harness.machine import global_state
from rnnbench.harness.turns.engine import Plan, calibrate, clock_window, warm_up
from rnnbench.harness.worker.building import build_case, settings_of
from rnnbench.store.metrics import COMPILED
from rnnbench.store.records import GRAPH_BACKENDS, Case, Workload
from rnnbench.suite_file import Settings
from rnnbench.workloads import compiled
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.referee import again
from rnnbench.workloads.referee.agreement import ParityError


@dataclass(frozen=True)
class LiveCase:
    """A built case; every method applies its own settings of torch and its autograd mode."""

    workload: Workload
    timed: TimedCall
    device: Device
    wanted: global_state.TorchState
    compare_again: Callable[[], None] = lambda: None
    numbers: Iterator[int] = field(default_factory=count)  # of its windows

    def call(self) -> object:
        """One call, not clocked."""
        with self._mode():
            return self.timed.call()

    def calibrated(self, settings: Settings) -> tuple[Plan, int]:
        """Warm the case up; returns the plan of its windows, and how many windows the warm-up took."""

        def plan() -> Plan:
            single = self.workload.waits_for_each_call
            seconds = settings.window_seconds
            return calibrate(self.device, self.timed.call, seconds, cold=self.workload.is_cold, single_calls=single)

        with self._mode(), undisturbed():
            first = plan()
            warmup_windows = warm_up(self.device, self.timed.call, first, cold=self.workload.is_cold)
            plans = (first, plan())  # again: there is no second process to make up for a stall that made calls long
        return min(plans, key=lambda plan: plan.seconds / plan.calls), warmup_windows

    def window(self, plan: Plan) -> list[float]:
        """Seconds of each block of one window, by the device's clock. Its inputs get new values before."""
        self.timed.renew(f"window {next(self.numbers)}")
        with self._mode(), undisturbed():
            return clock_window(self.device, self.timed.call, plan, cold=self.workload.is_cold).batch_seconds

    def fault_after_timing(self) -> str:
        """Why the case no longer agrees with its reference, or keeps results; empty if nothing is wrong."""
        global_state.restore(self.wanted)
        try:
            self.compare_again()
        except (ParityError, CellError) as fault:
            return str(fault)
        return ""

    def _mode(self) -> AbstractContextManager[object]:
        """The autograd mode; restores torch's settings first, which an earlier call may have changed."""
        global_state.restore(self.wanted)
        return self.timed.mode()


@contextmanager
def live_case(case: Case, root: Path, settings: Settings, before: global_state.TorchState) -> Iterator[LiveCase]:
    """Build a case whose device is there; at the end, restores what was changed in this process.

    `root`: the folder that files of a user's own cells are relative to; `before`: torch's settings unless the case sets
    its own. Raises what the case raises.
    """
    workload = case.workload
    wanted = settings_of(workload.device, workload.dtype, workload.threads, before)
    with ExitStack() as put_back:
        keep_process(put_back)
        put_back.enter_context(_importing_from(Path.cwd()))
        if case.implementation in GRAPH_BACKENDS:
            put_back.callback(compiled.forget)
        global_state.restore(wanted)
        if case.implementation in COMPILED:
            compiled.check(workload.device, case.implementation)
        built = build_case(case, root, settings.compiled_steps)
        timed = built.timed_call()
        put_back.callback(timed.end)

        def compare_again() -> None:
            if isinstance(built, Built):
                again.compare(
                    built,
                    timed,
                    lambda: again.GroupReference(build(again.reference_case(case), root).model),
                    lambda: build(case, root, settings.compiled_steps),
                    repeats=True,
                )

        yield LiveCase(workload, timed, devices.open_device(workload.device), wanted, compare_again)


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Find a user's modules in a folder, after all other places, as a worker does in the current folder."""
    entry = str(folder)
    if entry in sys.path:
        yield
        return
    sys.path.append(entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
