"""A suite's cases as benchmarks under real pytest, with pytest-benchmark's own options, and what is told of them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

import rnnbench.pytest_plugin.items
from rnnbench.pytest_plugin.items import extra_info, planned
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Measurement
from tests.doubles import workload as small
from tests.pytest_plugin.conftest import ROOT, Run

pytest_plugins = ["pytester"]
# pytest in this process forgets what it has imported, and torch can't be imported twice.
IMPORTED = (pandas, torch, rnnbench.pytest_plugin.items)

SUITE = """
name = "mine"
[measure]
window_seconds = 0.001
[defaults]
batch_size = 2
seq_len = 3
hidden_size = 4
[[sweep]]
cell = ["gru"]
phase = ["inference", "training"]
[[sweep]]
cell = ["combined"]
implementation = "hoisted"
[[sweep]]
cell = ["cells.py:Wrong"]  # the last, since the worker that observed it is not used again
implementation = "loop"
reference = "gru"
hidden_size = 5
"""
CELLS = """
from torch import nn
class Wrong(nn.GRUCell):
    def forward(self, input, h):
        return super().forward(input, h) + 1
"""
TIRED = """
from torch import nn
class Tired(nn.GRUCell):
    calls = 0

    def forward(self, input, h):
        self.calls += 1
        return super().forward(input, h) if self.calls < 200 else h
"""
TEST = """
import pytest

@pytest.mark.rnnbench(suite="mine.toml")
def test_mine(rnnbench_case):
    rnnbench_case()
"""
QUICK = ("--benchmark-max-time=0.01", "-W", "error")
GRU = "--rnnbench-only=cell=gru phase=inference"


@pytest.fixture
def mine(isolated: pytest.Pytester) -> Path:
    """A folder with a user's test of three lines, a suite and its cells."""
    folder = isolated.path / "bench"
    folder.mkdir()
    for name, text in {"mine.toml": SUITE, "cells.py": CELLS, "test_mine.py": TEST}.items():
        (folder / name).write_text(text)
    return folder


def benchmarks(file: Path) -> dict[str, Any]:
    return {benchmark["name"]: benchmark for benchmark in json.loads(file.read_text())["benchmarks"]}


@pytest.mark.slow
def test_cases_are_benchmarks_that_are_saved_compared_drawn_and_profiled(
    mine: Path, in_another: Run, in_process: Run
) -> None:
    options = ("--benchmark-only", "--benchmark-json=out.json", "--benchmark-autosave", "--benchmark-histogram=drawn/h")
    first = in_another("-rs", *options, *QUICK)
    first.assert_outcomes(passed=4, failed=1, skipped=1)
    text = first.stdout.str()
    assert "parity: final h is off by" in text
    assert "nothing to hoist: the cell has no `project` and `advance`" in text
    assert "benchmark 'torch.nn.GRU training, batch 2, length 3, hidden 4': 2 tests" in text
    assert len(list((mine.parent / "drawn").glob("h-torch.nn.GRU_*.svg"))) == 2
    saved = benchmarks(mine.parent / "out.json")
    benchmark = saved["test_mine[gru-loop-training-batch2-length3-hidden4]"]
    assert len(saved) == 4
    assert benchmark["options"]["timer"] == "rnnbench"
    assert benchmark["stats"]["rounds"] >= 5
    assert benchmark["params"].items() <= benchmark["extra_info"].items()
    assert benchmark["extra_info"]["parity"] == "agrees"
    assert benchmark["stats"]["min"] <= benchmark["extra_info"]["seconds"] <= benchmark["stats"]["max"]

    more = ("--benchmark-compare", "--benchmark-group-by=param:phase", "--benchmark-min-rounds=300")
    second = in_process("--benchmark-only", GRU, *more, *QUICK)
    second.assert_outcomes(passed=2)
    text = second.stdout.str()
    assert "benchmark 'phase=inference': 4 tests" in text  # two of them saved before
    compare = [sys.executable, "-m", "pytest_benchmark", "compare", "out.json", "--columns=min"]
    output = subprocess.run(compare, cwd=mine.parent, capture_output=True, text=True, check=True).stdout
    assert "test_mine[gru-loop-inference-batch2-length3-hidden4]" in output


def test_a_case_that_stops_working_while_it_is_timed_fails_and_has_no_times(mine: Path, in_process: Run) -> None:
    sweep = '[[sweep]]\ncell = "cells.py:Tired"\nimplementation = ["loop", "torch.nn"]\nreference = "gru"\n'
    (mine / "mine.toml").write_text(SUITE.partition("[[sweep]]")[0] + sweep)
    (mine / "cells.py").write_text(TIRED)
    rounds = "--benchmark-min-rounds=100"  # of three steps or more: they tire it on the slowest machine, too
    result = in_process("--benchmark-only", "--benchmark-json=out.json", rounds, *QUICK)
    result.assert_outcomes(passed=1, failed=1)
    assert "after timing: final h is off by" in result.stdout.str()
    assert list(benchmarks(mine.parent / "out.json")) == [
        "test_mine[torch.nn.GRU-torch.nn-inference-batch2-length3-hidden4]"
    ]


def test_where_benchmarks_are_disabled_cases_are_compared_and_called_once(mine: Path, in_process: Run) -> None:
    before = torch.get_num_threads()
    result = in_process("--benchmark-disable", "--rnnbench-only=implementation=loop phase=inference", "-W", "error")
    result.assert_outcomes(passed=2, failed=1)
    assert "benchmark '" not in result.stdout.str()
    assert torch.get_num_threads() == before


def test_where_benchmarks_are_skipped_so_are_all_cases(mine: Path, in_process: Run) -> None:
    in_process("--benchmark-skip").assert_outcomes(skipped=6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rnnbench-suite=quik"], "no suite 'quik' (did you mean 'quick'?)"),
        (["--rnnbench-suite=gone/mine.toml"], "no suite file gone/mine.toml"),
        (["--rnnbench-only=cell=lstm"], "cell=lstm: the suite has cell=gru,"),
        (["--rnnbench-only="], "only is empty; expected for example cell=VALUE"),
        (["--rnnbench-suite="], "no suite ''"),
        (["--rnnbench-only=cel=gru"], "only cel=gru: no axis 'cel' (did you mean 'cell'?)"),
    ],
)
def test_what_can_not_be_chosen_is_said_without_a_traceback(
    mine: Path, in_process: Run, options: list[str], message: str
) -> None:
    result = in_process(*options)
    result.assert_outcomes(errors=1)
    assert message in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert "rnnbench/pytest_plugin" not in result.stdout.str()


def test_a_suite_without_pytest_benchmark_says_what_to_install(mine: Path, in_process: Run) -> None:
    result = in_process(plugins=[rnnbench.pytest_plugin])
    result.assert_outcomes(errors=1)
    assert "bench/test_mine.py::test_mine: `rnnbench_case` needs pytest-benchmark: pip install" in result.stdout.str()


def test_the_shipped_file_takes_any_suite(mine: Path, in_process: Run) -> None:
    suites = str(ROOT / "suites")
    chosen = ["--collect-only", "-q", "--rnnbench-suite", "bench/mine.toml", GRU.replace("inference", "training")]
    result = in_process(suites, "--rootdir", suites, *chosen)
    assert [line for line in result.outlines if "::" in line] == [
        f"test_suite.py::test_case[{case}-training-batch2-length3-hidden4]"
        for case in ("gru-loop", "torch.nn.GRU-torch.nn")
    ]


@pytest.mark.parametrize(
    ("seconds", "wanted", "blocks", "calls", "visits"),
    [
        (1e-3, (5, 1.0, 5e-6), 49, 1, 10),  # a second, in whole visits
        (1e-3, (250, 0.0, 5e-6), 1, 1, 125),  # at least 250 rounds
        (0.5, (5, 1.0, 5e-6), 1, 1, 3),
        (1e-4, (5, 0.1, 9.995e-4), 49, 10, 1),  # rounds of 1 ms
        (1e-3, (5, 0.1, 0.05), 1, 50, 3),  # longer than a turn
    ],
)
def test_rounds_are_as_many_and_as_long_as_pytest_benchmark_is_told(
    seconds: float, wanted: tuple[float, float, float], blocks: int, calls: int, visits: int
) -> None:
    min_rounds, max_time, min_time = wanted
    turns, number = planned(small.case("gru"), seconds, min_rounds=min_rounds, max_time=max_time, min_time=min_time)
    assert (turns.turns, turns.blocks, turns.calls, number) == (2, blocks, calls, visits)
    turns, _ = planned(small.case("gru", caches="cold"), seconds, min_rounds=5, max_time=0.1, min_time=0.05)
    assert turns.calls == 1  # calls that are clocked alone stay alone


def test_what_is_told_has_every_axis_and_every_metric_that_is_known_and_is_plain_json() -> None:
    case = small.case("gru", phase="training")
    metrics: dict[str, float] = {
        metric.name: 10 + index for index, metric in enumerate(OBSERVED) if metric.unit != "joules"
    }
    missing = {"reserved_bytes": "no GPU"}
    measurement = Measurement(case, "measured", parity=AGREES, backend="aten", metrics=metrics, missing=missing)
    info = extra_info(measurement, 5, [0.1 + 0.002 * index for index in range(21)])
    assert case.axes().items() <= info.items()
    assert metrics.items() <= info.items()
    assert info["seconds"] == pytest.approx(0.12)
    assert info["sequences_per_second"] == pytest.approx(3 / info["seconds"])
    assert info["missing"] == {**missing, "energy_joules": "not measured under pytest"}
    assert (info["calls_per_round"], info["case"], info["parity"]) == (5, case.key, "agrees")
    assert json.loads(json.dumps(info)) == info
