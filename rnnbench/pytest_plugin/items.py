"""A suite's cases as pytest-benchmark benchmarks: collected, then observed and timed by workers, as in `rnnbench run`.

pytest-benchmark calls a function in a loop and reads a timer before and after. The function that it gets here hands
over the blocks that a worker has clocked, one after another: each call advances the timer by one of them.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import pytest

from rnnbench.analysis.derived import with_derived
from rnnbench.errors import UserError
from rnnbench.harness import protocol
from rnnbench.harness.coordinator.process import OBSERVER, Asker, WorkerProcess, compiler_cache
from rnnbench.harness.devices import backend, core_choices
from rnnbench.harness.protocol import Building, Reply, Request
from rnnbench.harness.turns.schedule import Turns, plan_turns
from rnnbench.report.export import plain
from rnnbench.report.words.names import case_name, group_name
from rnnbench.store.metrics import METRICS, OBSERVED
from rnnbench.store.records import Case, Measurement
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import cases_of

DEFAULT_SUITE = "quick"
UNUSED_FIXTURE = "Benchmark fixture was not used at all"
NO_ENERGY = {"energy_joules": "not measured under pytest"}
MAX_BLOCKS_OF_TURN = 49  # a worker reports each block of such a turn
Ask = Callable[..., Reply]  # `ask(timer, request, name, when)`
VISIT_SECONDS = 0.1  # at least, unless all is shorter: each visit has new values of the inputs


@dataclass(eq=False)
class CaseTimer:
    """A case to be benchmarked, and the timer of its benchmark, which reads the total seconds of the blocks so far."""

    case: Case
    root: Path  # files of a user's own cells are relative to it
    settings: Settings
    seconds: float = 0.0
    __name__ = "rnnbench"  # pytest-benchmark's files name the timer by it

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.seconds


def parametrize(metafunc: pytest.Metafunc, fixture: str, suite_name: str | None) -> None:
    """Make one test of `fixture` for each case; raises CollectError if the suite is unknown or no case is selected.

    The suite is that of the command line, else `suite_name`: a file beside the test file, if there is one.
    """
    config = metafunc.config
    name = str(suite_name or DEFAULT_SUITE)
    option = config.getoption("rnnbench_suite")
    beside = metafunc.definition.path.parent / name
    try:
        suite = suites.read_suite(option if option is not None else str(beside) if beside.is_file() else name)
        only = parse_only(config.getoption("rnnbench_only"), arguments=suite.arguments)
        cases = cases_of(suite.groups(only, None))
    except UserError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    marker = metafunc.definition.get_closest_marker("benchmark")  # the marker of a case hides the test's
    params = []
    for case in cases:
        timer = CaseTimer(case, suite.file.parent.resolve(), suite.measure)
        options = {"group": group_name(case.workload), **(marker.kwargs if marker else {})}
        marks = [
            pytest.mark.benchmark(**options, timer=timer, disable_gc=True),
            # A case that fails before it can be timed has already reported its reason.
            pytest.mark.filterwarnings(f"ignore:{UNUSED_FIXTURE}"),
        ]
        params.append(pytest.param(timer, id=case_name(case), marks=marks))
    metafunc.parametrize(fixture, params, indirect=True)


def workers() -> Iterator[Ask]:
    """Yield a function that asks a suite's workers, which share the cache of torch.compile.

    A suite has one that observes, since probes change their process and so its times, and another one that times. The
    function skips or fails the test, with the reason, if the worker can't do what is asked.
    """
    started: dict[tuple[Path, Settings, str], Asker] = {}
    with compiler_cache(), ExitStack() as stack:

        def ask(timer: CaseTimer, request: Request, name: str, when: str = "") -> Reply:
            __tracebackhide__ = True
            key = timer.root, timer.settings, name
            if key not in started:
                started[key] = Asker(timer.settings, partial(WorkerProcess, name))
                stack.callback(started[key].close)
            reply = started[key].ask(request, core_choices(timer.case.workload.device, timer.case.workload.cores)[0])
            if reply["ok"]:
                return reply
            if reply["status"] == "skipped":
                pytest.skip(reply["reason"])
            pytest.fail(when + reply["reason"], pytrace=False)

        yield ask


def benchmarked(benchmark: Any, request: pytest.FixtureRequest, ask: Ask) -> None:
    """Benchmark a case with pytest-benchmark's fixture.

    A round is a block: one call, or as many short calls as its device clocks together. Rounds fill
    `--benchmark-max-time` in whole visits; there are at least `--benchmark-min-rounds`, and each takes at least
    `--benchmark-min-time`. The case is warm before the first. After the last it is compared with its reference again,
    and fails if they disagree. If benchmarks are disabled, it is only compared with its reference.
    """
    __tracebackhide__ = True
    timer: CaseTimer = request.param
    case = timer.case
    marker = request.node.get_closest_marker("benchmark")

    def setting(name: str) -> float:
        """Return an option of pytest-benchmark: the marker's, or that of the command line."""
        return float(marker.kwargs.get(name, request.config.getoption(f"benchmark_{name}")))

    benchmark.params = case.axes()  # for --benchmark-group-by=param:AXIS
    building = Building(str(timer.root), timer.settings.compiled_steps)
    observed = ask(timer, building.request("observe", case), OBSERVER)
    if benchmark.disabled:
        benchmark.pedantic(lambda: None)
        return
    ready = ask(
        timer,
        building.request("prepare", case, window_seconds=timer.settings.window_seconds, call_seconds=None),
        "timer",
    )
    seconds = ready["wall_seconds"]
    turns, visits = planned(
        case,
        seconds,
        min_rounds=setting("min_rounds"),
        max_time=setting("max_time"),
        min_time=setting("min_time"),
    )
    rounds: list[float] = []
    for _ in range(visits):
        order = [("timer", 0)] * turns.turns
        expected = turns.turns * turns.blocks * turns.calls * seconds
        visit = ask(timer, protocol.visit([case], [turns], order, "timer", expected), "timer")
        rounds += [each for window in visit["windows"] for each in window["quantiles"]]
    ask(timer, building.request("verify", case), "timer", "after timing: ")
    ask(timer, protocol.release(), "timer")
    remaining = iter(rounds)

    def advance() -> None:
        timer.seconds += next(remaining, 0.0)

    benchmark.pedantic(advance, rounds=len(rounds))
    measurement = Measurement.from_json(observed["measurement"])
    measurement = replace(measurement, status="measured", reason="", warmup_windows=ready["warmup_windows"])
    benchmark.extra_info.update(extra_info(measurement, turns.calls, rounds))


def planned(case: Case, seconds: float, *, min_rounds: float, max_time: float, min_time: float) -> tuple[Turns, int]:
    """Return the turns of a visit, and the number of visits, for calls of so many seconds."""
    single = case.workload.waits_for_each_call
    pace = backend(case.workload.device).blocks
    turns = plan_turns({0: seconds}, 0.0, pace, single_calls=single, least_blocks=0)[0]
    calls = turns.calls if single or seconds <= 0 else max(turns.calls, math.ceil(min_time / seconds))
    block = calls * seconds
    blocks = min(MAX_BLOCKS_OF_TURN, max(1, round(min(VISIT_SECONDS, max_time) / (2 * block)))) if block > 0 else 1
    visits = max(1, math.ceil(min_rounds / (2 * blocks)), round(max_time / (2 * blocks * block)) if block > 0 else 1)
    return replace(turns, turns=2, blocks=blocks, calls=calls), visits


def extra_info(measurement: Measurement, calls: int, rounds: list[float]) -> dict[str, Any]:
    """Return a benchmark's `extra_info`: every axis and known metric, why others are not known, and how it was timed.

    `seconds` is the time as `rnnbench run` estimates it, the median of all rounds, which have so many `calls`.
    """
    line = {metric.name: None for metric in OBSERVED} | measurement.to_json()
    line |= {"parity": str(measurement.parity), "seconds": median(rounds)}
    of_frame = {**line, "parity": measurement.parity, "run": "", "ceiling": None}
    row = plain(with_derived(pd.DataFrame([of_frame])).iloc[0].to_dict())
    metrics = {metric.name: row[metric.name] for metric in METRICS if row.get(metric.name) is not None}
    others = {name: value for name, value in line.items() if value is not None and name not in metrics}
    others["missing"] = NO_ENERGY | measurement.missing
    return others | metrics | {"calls_per_round": calls, "torch": version("torch")}
