"""A suite's case in this process."""

import gc
import random
import sys
from pathlib import Path

import pytest
import torch

from rnnbench.cells import CellError
from rnnbench.harness.machine import global_state
from rnnbench.harness.turns.engine import Plan
from rnnbench.pytest_plugin.case import LiveCase, live_case
from rnnbench.store.records import Case
from rnnbench.suite_file import Settings
from rnnbench.workloads.phases import TimedCall
from tests.doubles import workload as small
from tests.doubles.fake_cuda import FakeCuda, FakeLine
from tests.doubles.fakes import fake_cpu

SETTINGS = Settings(window_seconds=0.001)
CELL = """
import torch
from torch import nn

from tests.pytest_plugin.test_case import SEEN

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


def own(phase: str = "inference") -> Case:
    return small.case("gru", phase=phase, reference="none", dtype="float32")


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
def test_a_window_has_as_many_blocks_as_were_calibrated(phase: str) -> None:
    with live_case(small.case("lstm", phase=phase), Path(), SETTINGS, global_state.capture()) as live:
        plan, warmup_windows = live.calibrated(SETTINGS)
        blocks = live.window(plan)
        live.call()
    assert len(blocks) == plan.batches
    assert all(seconds > 0 for seconds in blocks)
    assert warmup_windows >= 1


def test_blocks_on_a_gpu_are_what_lies_between_its_marks_and_not_what_the_host_takes() -> None:
    line = FakeLine()
    timed = TimedCall(lambda: line.launch(1e-6, 1e-3), torch.inference_mode)  # the host is done at once
    blocks = LiveCase(own().workload, timed, FakeCuda(line), global_state.capture()).window(Plan(4, 3, 0.012))
    assert blocks == pytest.approx([3e-3] * 4)


def test_a_stall_in_the_first_calibration_does_not_leave_a_case_with_a_single_call() -> None:
    cpu, call = fake_cpu(lambda number: 1.0 if number == 1 else 1e-4)
    live = LiveCase(own().workload, TimedCall(call, torch.inference_mode), cpu, global_state.capture())
    plan, _ = live.calibrated(Settings(window_seconds=0.01))
    assert (plan.batches, plan.batch) == (100, 1)


def test_a_case_gets_its_own_settings_each_time_and_leaves_those_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(CELL)
    case = Case("greedy.py:Greedy", "loop", own().workload)
    before, state, python = global_state.capture(), torch.get_rng_state(), random.getstate()
    path = list(sys.path)
    with live_case(case, tmp_path, SETTINGS, before) as live:
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
    assert not torch.is_inference_mode_enabled()


def test_a_folder_that_modules_are_imported_from_is_there_while_the_case_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_package_of_cells.py").write_text(CELL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    case = Case("my_package_of_cells:Greedy", "loop", own().workload)
    with live_case(case, Path("elsewhere"), SETTINGS, global_state.capture()) as live:
        live.call()
        assert sys.path[-1] == str(tmp_path)
    assert str(tmp_path) not in sys.path
    monkeypatch.delitem(sys.modules, "my_package_of_cells")


def test_what_a_case_raises_comes_through_and_nothing_stays_changed(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(
        CELL.replace("(self, input_size, hidden_size)", "(self, input_size, hidden_size, gates)")
    )
    case = Case("greedy.py:Greedy", "loop", own().workload)
    before = global_state.capture()
    with pytest.raises(CellError, match="can't be called"), live_case(case, tmp_path, SETTINGS, before):
        pass
    assert global_state.capture() == before
