"""A suite's cases in pytest's process: their clock, rounds, extra info and settings."""

import gc
import json
import math
import random
import sys
from pathlib import Path

import pytest
import torch

from rnnbench.cells import CellError
from rnnbench.harness.machine import global_state
from rnnbench.harness.turns.engine import Plan
from rnnbench.pytest_plugin import cases
from rnnbench.pytest_plugin.cases import BenchmarkBlocks, BlockClock, Chosen, LiveCase, live_case, planned, told
from rnnbench.store.metrics import METRICS, OBSERVED
from rnnbench.store.records import AXES, Case, Measurement
from rnnbench.suite.file import Settings
from rnnbench.workloads.phases import TimedCall
from tests.doubles import workload as small
from tests.doubles.fake_cuda import FakeCuda, FakeLine
from tests.doubles.fakes import FakeWorkers, fake_cpu

SETTINGS = Settings(window_seconds=0.001)
CELL = """
import torch
from torch import nn

from tests.pytest_plugin.test_cases import SEEN

class Greedy(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(input_size, hidden_size))

    def forward(self, input, h):
        SEEN.append((torch.is_inference_mode_enabled(), torch.get_num_threads(), str(torch.get_default_dtype())))
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(99)
        return torch.tanh(input @ self.weight + h)
"""
SEEN: list[tuple[bool, int, str]] = []  # torch's settings at each call of the cell
OWN = small.workload(reference="none", dtype="float32")


@pytest.mark.parametrize("batch", [1, 4])
def test_each_round_lasts_as_long_as_its_block_did(batch: int) -> None:
    """A window is clocked only when its first block is wanted; afterwards the case itself is called."""
    clock, wanted_at, windows = BlockClock(), list[float](), iter([[4.0, 8.0], [12.0, 16.0]])

    def window() -> list[float]:
        wanted_at.append(clock())
        return next(windows)

    blocks, seconds = BenchmarkBlocks(clock, window, 4, batch, lambda: "its result"), []
    for _ in range(4):
        start = clock()
        assert [blocks() for _ in range(batch)] == [None] * batch
        seconds.append(clock() - start)
    assert seconds == pytest.approx([4, 8, 12, 16])
    assert blocks.taken == [4.0, 8.0, 12.0, 16.0]
    assert wanted_at == [0.0, 12.0]
    assert [blocks(), blocks()] == ["its result"] * 2
    assert clock() == 40


@pytest.mark.parametrize(
    ("plan", "wanted", "blocks", "rounds"),
    [
        (Plan(10, 1, 0.01), (5, 1.0, 5e-6), (10, 1), 1000),  # a second, in whole windows
        (Plan(10, 1, 0.01), (25, 0.0, 5e-6), (10, 1), 30),  # at least 25 rounds
        (Plan(1, 1, 0.5), (5, 1.0, 5e-6), (1, 1), 5),
        (Plan(100, 100, 0.01), (5, 0.1, 9.995e-4), (10, 1000), 100),  # rounds of 1 ms
        (Plan(1, 1, 1e-3), (5, 0.1, 0.05), (1, 50), 5),  # longer than a window
        (Plan(1, 1, 0.0), (5, 1.0, 5e-6), (1, 1), 5),
    ],
)
def test_rounds_are_as_many_and_as_long_as_pytest_benchmark_is_told(
    plan: Plan, wanted: tuple[float, float, float], blocks: tuple[int, int], rounds: int
) -> None:
    min_rounds, max_time, min_time = wanted
    adapted, number = planned(plan, min_rounds=min_rounds, max_time=max_time, min_time=min_time)
    assert ((adapted.batches, adapted.batch), number) == (blocks, rounds)
    assert adapted.seconds / adapted.calls == pytest.approx(plan.seconds / plan.calls)


def test_calls_that_are_clocked_alone_stay_alone() -> None:
    adapted, rounds = planned(Plan(5, 1, 1e-3), min_rounds=5, max_time=0.1, min_time=0.05, single_calls=True)
    assert ((adapted.batches, adapted.batch), rounds) == ((5, 1), 500)


def test_what_is_told_has_every_axis_and_every_metric_that_is_known_and_is_plain_json() -> None:
    case = small.case("gru", phase="training")
    metrics: dict[str, float] = {
        metric.name: 10 + index for index, metric in enumerate(OBSERVED) if metric.unit != "joules"
    }
    missing = {"reserved_bytes": "no GPU"}
    measurement = Measurement(case, "measured", parity="agrees", backend="aten", metrics=metrics, missing=missing)
    extra_info = told(measurement, Plan(2, 5, 0.1), [0.5 + 0.01 * index for index in range(20)])
    assert {axis: extra_info[axis] for axis in AXES} == case.axes()
    assert metrics.items() <= extra_info.items()
    assert extra_info["seconds"] == pytest.approx(0.59 / 5)  # the median: the lower of the two in the middle
    assert extra_info["sequences_per_second"] == pytest.approx(3 / extra_info["seconds"])
    known = {metric.name for metric in METRICS} & extra_info.keys()
    assert all(isinstance(extra_info[name], int | float) and math.isfinite(extra_info[name]) for name in known)
    assert extra_info["missing"] == {**missing, "energy_joules": "not measured under pytest"}
    assert (extra_info["calls_per_round"], extra_info["case"]) == (5, case.key)
    assert json.loads(json.dumps(extra_info)) == extra_info


def test_each_suite_of_a_folder_is_observed_by_its_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_steps: list[int] = []
    workers = FakeWorkers(lambda request: compiled_steps.append(request["compiled_steps"]))
    monkeypatch.setattr(cases, "WorkerProcess", workers)
    with cases.open_session() as shared:
        for steps in (32, 8, 32):
            shared.observe(Chosen(small.case("gru"), tmp_path, Settings(compiled_steps=steps), BlockClock()))
    assert compiled_steps == [32, 8, 32]
    assert len(workers.started) == 2
    assert workers.are_closed


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
def test_a_window_has_as_many_blocks_as_were_calibrated(phase: str) -> None:
    with live_case(small.case("lstm", phase=phase), Path(), SETTINGS, global_state.capture()) as live:
        plan, warmup_windows = live.calibrated(SETTINGS)
        blocks = live.window(plan)
    assert len(blocks) == plan.batches
    assert all(seconds > 0 for seconds in blocks)
    assert warmup_windows >= 1


def test_blocks_on_a_gpu_are_what_lies_between_its_events_and_not_what_the_host_takes() -> None:
    line = FakeLine()
    timed = TimedCall(lambda: line.launch(1e-6, 1e-3), torch.inference_mode)  # the host is done at once
    blocks = LiveCase(OWN, timed, FakeCuda(line), global_state.capture()).window(Plan(4, 3, 0.012))
    assert blocks == pytest.approx([3e-3] * 4)


def test_a_stall_in_the_first_calibration_does_not_leave_a_case_with_a_single_call() -> None:
    cpu, call = fake_cpu(lambda number: 1.0 if number == 1 else 1e-4)
    live = LiveCase(OWN, TimedCall(call, torch.inference_mode), cpu, global_state.capture())
    plan, _ = live.calibrated(Settings(window_seconds=0.01))
    assert (plan.batches, plan.batch) == (100, 1)


def test_a_case_gets_its_own_settings_each_time_and_leaves_those_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its modules are found in the current folder too."""
    (tmp_path / "my_greedy_cells.py").write_text(CELL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before, state, python = global_state.capture(), torch.get_rng_state(), random.getstate()
    path = list(sys.path)
    with live_case(Case("my_greedy_cells:Greedy", "loop", OWN), Path("elsewhere"), SETTINGS, before) as live:
        for use in (live.call, lambda: live.calibrated(SETTINGS), lambda: live.window(Plan(2, 1, 0.001)), live.call):
            SEEN.clear()
            use()
            assert SEEN[0] == (True, 1, "torch.float32")
            assert all(is_inference for is_inference, _, _ in SEEN)
    assert global_state.capture() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert sys.path == path
    assert gc.isenabled()
    monkeypatch.delitem(sys.modules, "my_greedy_cells")


def test_what_a_case_raises_comes_through_and_nothing_stays_changed(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(CELL.replace("(self, input_size, hidden_size)", "(self, a, b, gates)"))
    case, before = Case("greedy.py:Greedy", "loop", OWN), global_state.capture()
    with pytest.raises(CellError, match="can't be called"), live_case(case, tmp_path, SETTINGS, before):
        pass
    assert global_state.capture() == before
