"""A suite's cases as pytest-benchmark benchmarks: collected, observed in a worker, then timed in pytest's process.

pytest-benchmark calls a function in a loop and reads a timer before and after. A timer of the host is wrong for a
device that only queues work, and a timer that waits for the device leaves it idle between rounds. So the engine clocks
windows of back-to-back calls, as in `rnnbench run`, and the function that pytest-benchmark calls hands over one block
after another: it advances the timer by the block's time, and the timer stands still while the next window is clocked.
"""

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from rnnbench.analysis.replicate import pooled_times
from rnnbench.analysis.runs.derived import with_derived
from rnnbench.cells import CellError
from rnnbench.errors import UserError
from rnnbench.harness import devices
from rnnbench.harness.coordinator.asking import Asker
from rnnbench.harness.coordinator.origin import COMPILE_ALONE
from rnnbench.harness.coordinator.process import WorkerProcess, compiler_cache
from rnnbench.harness.coordinator.start import OBSERVER
from rnnbench.harness.devices import Device
from rnnbench.harness.live.put_back import keep_process, undisturbed
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.engine import Plan, calibrate, clock_window, warm_up
from rnnbench.harness.worker.building import build_case, settings_of
from rnnbench.report.as_pytest_benchmark import plain
from rnnbench.report.words.names import case_name, group_name
from rnnbench.store.metrics import COMPILED, METRICS, OBSERVED
from rnnbench.store.records import GRAPH_BACKENDS, Case, Measurement, Workload
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from rnnbench.suite.file import Settings
from rnnbench.suite.suites import cases_of
from rnnbench.workloads import compiled, referee
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.referee import ParityError

DEFAULT_SUITE = "quick"
UNUSED = "Benchmark fixture was not used at all"
NO_ENERGY = {"energy_joules": "not measured under pytest"}


class BlockClock:
    """A timer that reads the total time of its blocks, in seconds."""

    __name__ = "rnnbench"  # pytest-benchmark's files name the timer by it

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.seconds


class BenchmarkBlocks:
    """What pytest-benchmark calls in place of a case: `rounds * batch` calls set the clock, later ones run it."""

    def __init__(
        self,
        clock: BlockClock,
        window: Callable[[], Sequence[float]],
        rounds: int,
        batch: int,
        call: Callable[[], object],
    ) -> None:
        """`window` clocks a new window and returns the seconds of each block; a block is `batch` calls of the case."""
        self.taken: list[float] = []  # seconds of each block that was handed over
        self._clock = clock
        self._window = window
        self._left = rounds * batch
        self._batch = batch
        self._call = call
        self._waiting: deque[float] = deque()

    def __call__(self) -> object:
        """Advance the clock by a call's share of its block."""
        if not self._left:
            return self._call()  # for its result, or for the profiler
        if self._left % self._batch == 0:
            if not self._waiting:
                self._waiting.extend(self._window())
            self.taken.append(self._waiting.popleft())
        self._left -= 1
        self._clock.seconds += self.taken[-1] / self._batch
        return None


@dataclass(frozen=True)
class Chosen:
    """A case to be benchmarked."""

    case: Case
    root: Path  # files of a user's own cells are relative to it
    settings: Settings
    clock: BlockClock

    def __repr__(self) -> str:
        return self.case.key


def parametrize(metafunc: pytest.Metafunc, fixture: str, suite_name: str | None) -> None:
    """Make one test of `fixture` for each case; raises CollectError if the suite is unknown, or the selection is empty.

    The suite is that of the command line, else `suite_name`: a file beside the test file, if there is one.
    """
    config = metafunc.config
    name = str(DEFAULT_SUITE if suite_name is None else suite_name)
    if (beside := metafunc.definition.path.parent / name).is_file():
        name = str(beside)
    option = config.getoption("rnnbench_suite")
    try:
        suite = suites.read(name if option is None else option)
        only = parse_only(config.getoption("rnnbench_only"), arguments=suite.arguments)
        cases = cases_of(suite.groups(only, None, most=suites.MAX_CASES))
    except UserError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    own = metafunc.definition.get_closest_marker("benchmark")  # a case's own marker hides the test's
    params = []
    for case in cases:
        chosen = Chosen(case, suite.file.parent.resolve(), suite.settings, BlockClock())
        options = {"group": group_name(case.workload), **(own.kwargs if own else {})}
        marks = [
            pytest.mark.benchmark(**options, timer=chosen.clock, disable_gc=True),
            # A case that fails before it can be timed has already reported its reason.
            pytest.mark.filterwarnings(f"ignore:{UNUSED}"),
        ]
        params.append(pytest.param(chosen, id=case_name(case), marks=marks))
    metafunc.parametrize(fixture, params, indirect=True)


@dataclass
class ObservingSession:
    """Observes cases in a worker, as `rnnbench run` does: probes change their process, and so its times."""

    torch_state: global_state.TorchState = field(default_factory=global_state.capture)  # before the first case
    observers: dict[tuple[Path, Settings], Asker] = field(default_factory=dict)  # of each suite

    def observe(self, chosen: Chosen) -> Measurement:
        """Return everything known about a case beside its time; skips or fails the test with a reason if it can't."""
        __tracebackhide__ = True
        suite = chosen.root, chosen.settings
        if suite not in self.observers:
            self.observers[suite] = Asker(chosen.settings, partial(WorkerProcess, OBSERVER))
        building = Building(str(chosen.root), chosen.settings.compiled_steps)
        reply = self.observers[suite].ask(building.observe(chosen.case), allowed_cores())
        if not reply["ok"]:
            end = pytest.skip if reply["status"] == "skipped" else partial(pytest.fail, pytrace=False)
            end(reply["reason"])
        return Measurement.from_json(reply["measurement"])


@contextmanager
def open_session() -> Iterator[ObservingSession]:
    """Open a session whose workers and this process share the cache of torch.compile."""
    with compiler_cache(), pytest.MonkeyPatch.context() as patch:
        for name, value in COMPILE_ALONE.items():
            if name not in os.environ:
                patch.setenv(name, value)
        session = ObservingSession()
        try:
            yield session
        finally:
            for asker in session.observers.values():
                asker.close()


def benchmarked(benchmark: Any, request: pytest.FixtureRequest, session: ObservingSession) -> object:
    """Benchmark a case with pytest-benchmark's fixture; returns the result of the last call.

    A round is a block of the engine: one call, or as many short calls as its device clocks together. Rounds fill
    `--benchmark-max-time` in whole windows; there are at least `--benchmark-min-rounds`, and each takes at least
    `--benchmark-min-time`. The case is warm before the first. After the last it is compared with its reference again,
    and fails if they disagree. If benchmarks are disabled, it is compared with its reference and called once.
    """
    __tracebackhide__ = True
    chosen: Chosen = request.param
    marker = request.node.get_closest_marker("benchmark")
    wanted = {
        name: float(marker.kwargs.get(name, request.config.getoption(f"benchmark_{name}")))
        for name in ("min_rounds", "max_time", "min_time")
    }
    measurement = session.observe(chosen)
    benchmark.params = chosen.case.axes()  # for --benchmark-group-by=param:AXIS
    with live_case(chosen.case, chosen.root, chosen.settings, session.torch_state) as live:
        if benchmark.disabled:
            return benchmark.pedantic(live.call)
        calibrated, warmup_windows = live.calibrated(chosen.settings)
        plan, rounds = planned(calibrated, **wanted, single_calls=live.workload.waits_for_each_call)
        blocks = BenchmarkBlocks(chosen.clock, lambda: live.window(plan), rounds, plan.batch, live.call)
        result = benchmark.pedantic(blocks, rounds=rounds, iterations=plan.batch)
        try:
            global_state.restore(live.wanted)
            live.compare_again()
        except (ParityError, CellError) as fault:
            benchmark.has_error = True  # its times are not saved
            pytest.fail(f"after timing: {fault}", pytrace=False)
    measurement = replace(measurement, status="measured", reason="", warmup_windows=warmup_windows)
    benchmark.extra_info.update(told(measurement, plan, blocks.taken))
    return result


def planned(
    plan: Plan, *, min_rounds: float, max_time: float, min_time: float, single_calls: bool = False
) -> tuple[Plan, int]:
    """Return a plan with blocks as long as wanted, unless each is a single call, and their number in whole windows."""
    per_call = plan.seconds / plan.calls
    if per_call > 0 and plan.batch * per_call < min_time and not single_calls:
        batch = math.ceil(min_time / per_call)
        batches = max(1, round(plan.calls / batch))
        plan = Plan(batches, batch, batches * batch * per_call)
    windows = max(1, math.ceil(min_rounds / plan.batches))
    if plan.seconds > 0:
        windows = max(windows, round(max_time / plan.seconds))
    return plan, windows * plan.batches


def told(measurement: Measurement, plan: Plan, block_seconds: list[float]) -> dict[str, Any]:
    """Return a benchmark's `extra_info`: every axis and known metric, why others are not known, and how it was timed.

    `seconds` is the time as `rnnbench run` estimates it, the median of all blocks.
    """
    line = {metric.name: None for metric in OBSERVED} | measurement.to_json()
    per_call = sorted(seconds / plan.batch for seconds in block_seconds)
    line["seconds"] = pooled_times([per_call], [len(per_call) * plan.batch], [sum(block_seconds)]).median
    row = plain(with_derived(pd.DataFrame([{**line, "run": "", "ceiling": None}])).iloc[0].to_dict())
    metrics = {metric.name: row[metric.name] for metric in METRICS if row.get(metric.name) is not None}
    others = {name: value for name, value in line.items() if value is not None and name not in metrics}
    others["missing"] = NO_ENERGY | measurement.missing
    return others | metrics | {"calls_per_round": plan.batch, "torch": torch.__version__}


@dataclass(frozen=True)
class LiveCase:
    """A built case in this process; every method applies its own settings of torch and its autograd mode."""

    workload: Workload
    timed: TimedCall
    device: Device
    wanted: global_state.TorchState
    compare_again: Callable[[], None] = lambda: None  # raises ParityError and CellError
    numbers: Iterator[int] = field(default_factory=count)  # of its windows

    def call(self) -> object:
        """Call once, without a clock."""
        with self._mode():
            return self.timed.call()

    def calibrated(self, settings: Settings) -> tuple[Plan, int]:
        """Warm the case up; returns the plan of its windows, and how many windows the warm-up took."""
        cold, single = self.workload.is_cold, self.workload.waits_for_each_call
        plan = partial(calibrate, self.device, self.timed.call, settings.window_seconds, cold=cold, single_calls=single)
        with self._mode(), undisturbed():
            first = plan()
            warmup_windows = warm_up(self.device, self.timed.call, first, cold=cold)
            plans = (first, plan())  # again: there is no second process to make up for a stall that made calls long
        return min(plans, key=lambda plan: plan.seconds / plan.calls), warmup_windows

    def window(self, plan: Plan) -> list[float]:
        """Return the seconds of each block of one window, by the device's clock. Its inputs get new values before."""
        self.timed.renew(f"window {next(self.numbers)}")
        with self._mode(), undisturbed():
            return clock_window(self.device, self.timed.call, plan, cold=self.workload.is_cold).batch_seconds

    def _mode(self) -> AbstractContextManager[object]:
        """Return the autograd mode; restores torch's settings first, which an earlier call may have changed."""
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
        here = str(Path.cwd())  # a user's modules are found there, after all other places, as in a worker
        if here not in sys.path:
            sys.path.append(here)
            put_back.callback(sys.path.remove, here)
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
                referee.compare(
                    built,
                    timed,
                    lambda: referee.GroupReference.of(case, root),
                    lambda: build(case, root, settings.compiled_steps),
                    repeats=True,
                )

        yield LiveCase(workload, timed, devices.open_device(workload.device), wanted, compare_again)
