"""`rnnbench.measure(...)` as users call it; `tests/harness/live` tests its parts."""

import builtins
import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import assert_type

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench import measure
from rnnbench.errors import UserError
from rnnbench.report.notebook.measured import Measured
from rnnbench.report.screen import progress
from rnnbench.store.records import Phase, Workload
from tests.analysis.scaling import made_up
from tests.harness.live.modules import INPUT, QUICK, Loop, pair

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
def test_a_loop_is_timed_against_the_layer_in_every_phase(phase: Phase) -> None:
    measured = measure(pair(), INPUT, phase=phase, **QUICK)
    assert_type(measured, Measured)
    frame = measured.frame
    assert type(frame) is pd.DataFrame
    assert (frame.index.name, frame.index.tolist()) == ("module", ["mine", "torch"])
    assert frame.columns.tolist() == [
        *("seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high"),
        *("mean_seconds", "replicates", "parity", "parameters"),
    ]
    assert frame["parity"].tolist() == ["agrees", "is the reference"]
    assert frame["parameters"].tolist() == [200, 200]  # 4 (3 x 5 + 5 x 5 + 2 x 5)
    assert frame["replicates"].tolist() == [2, 2]
    assert (frame["seconds"] > 0).all()
    assert frame.loc["torch", "ratio"] == 1.0
    rounds = measured.rounds.set_index(["module", "round"])
    assert rounds.index.tolist() == [("mine", 0), ("mine", 1), ("torch", 0), ("torch", 1)]
    seconds = rounds["seconds"].to_dict()
    assert rounds["ratio"].to_dict()["mine", 0] == seconds["mine", 0] / seconds["torch", 0]
    assert (measured.phase, measured.reference, measured.device, measured.threads) == (phase, "torch", "cpu", 1)
    facts = measured.environment.set_index("what")["value"]
    assert (facts["torch"], facts["device"], facts["threads"]) == (torch.__version__, "cpu", "1")
    assert "process" in measured.note


def test_a_module_that_takes_gradients_in_its_steps_is_timed_in_inference() -> None:
    def learn(input: Tensor) -> Tensor:
        with torch.enable_grad():
            memory = torch.zeros(3, 3, requires_grad=True)
            (gradient,) = torch.autograd.grad((input @ memory - input).square().sum(), memory)
        return input @ gradient

    measured = measure({"mine": learn, "product": lambda input: input @ torch.eye(3)}, INPUT, **QUICK)
    assert (measured.frame["seconds"] > 0).all()


def test_forty_times_the_work_takes_longer() -> None:
    weight, input = torch.randn(64, 64) / 8, torch.randn(64, 64)

    def steps(count: int) -> Callable[[Tensor], Tensor]:
        def run(state: Tensor) -> Tensor:
            for _ in range(count):
                state = torch.tanh(state @ weight)
            return state

        return run

    measured = measure({"base": steps(5), "mine": steps(200)}, input, reference="base", **QUICK)
    assert measured.frame["ratio"]["mine"] > 2
    assert measured.frame["seconds"]["mine"] > 2 * measured.frame["seconds"]["base"]
    assert measured.frame["parity"]["mine"].startswith("differs by")


def test_it_measures_gradients_also_where_the_caller_has_turned_them_off() -> None:
    with torch.no_grad():
        assert len(measure(pair(), INPUT, "training", **QUICK).frame) == 2


def test_more_replicates_than_the_most_are_taken_where_they_are_asked_for() -> None:
    measured = measure(pair(), INPUT, **QUICK | {"replicates": 3, "max_replicates": 2})
    assert measured.frame["replicates"].tolist() == [3, 3]


def test_its_help_is_that_of_a_function() -> None:
    assert list(inspect.signature(measure).parameters)[:3] == ["modules", "inputs", "phase"]
    assert "max_replicates" in (inspect.getdoc(measure) or "")
    assert "measure" in rnnbench.__all__


def test_importing_rnnbench_loads_neither_torch_nor_pandas() -> None:
    code = "import rnnbench, sys; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# How the result and the progress are shown


class ZMQInteractiveShell:
    """The type of `get_ipython()` in a notebook, as far as rich looks."""


def test_in_a_notebook_progress_is_one_line_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    measured = measure(pair(), INPUT, **QUICK | {"progress": True, "window_seconds": 0.02})
    out, shown = capsys.readouterr()
    *lines, cleared, end = shown.split("\r")[1:]
    assert any(line.startswith("round ") and "█" in line and " s left" in line for line in lines)
    assert (cleared.strip(), end, out) == ("", "", "")
    assert "\n" not in shown
    assert "IPython" not in sys.modules
    assert measured._repr_html_().startswith("<table")


def test_on_a_terminal_progress_is_a_bar_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)  # otherwise a busy machine is done before the next redraw
    measure(pair(), INPUT, **QUICK | {"progress": True, "window_seconds": 0.02})
    out, shown = capsys.readouterr()
    assert "checking outputs" in shown
    assert "round 1" in shown
    assert not out
    measure(pair(), INPUT, **QUICK)
    assert capsys.readouterr().err == ""


def test_elsewhere_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    measure(pair(), INPUT, **QUICK | {"progress": True})
    assert capsys.readouterr() == ("", "")


def _types(modules: Mapping[str, nn.Module], functions: dict[str, Callable[[Tensor], Tensor]]) -> None:
    """Never run: code that mypy has to accept or to reject."""
    assert_type(rnnbench.measure(modules, INPUT, phase="step"), Measured)
    assert_type(measure(functions, (INPUT, INPUT)), Measured)
    measure({"mine": Loop(), "function": torch.tanh}, {"mine": INPUT, "function": (INPUT,)})
    measure(modules, INPUT, phase="train")  # type: ignore[arg-type]
    measure(modules, INPUT, repeats=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "sizes",
    ["batch_size=8 seq_len=32,33 hidden_size=100", {"batch_size": 8, "seq_len": [32, 33], "hidden_size": "100"}],
)
def test_a_stored_run_predicts_times_at_sizes_that_it_has_not(sizes: str | dict[str, object], tmp_path: Path) -> None:
    predicted = rnnbench.predict(rnnbench.load(made_up.stored(tmp_path)), sizes)  # type: ignore[arg-type]
    assert predicted["seq_len"].tolist() == [32, 33]
    assert predicted["status"].tolist() == ["predicted", "predicted"]
    work = Workload("lstm", "inference", "many_to_many", 8, 32, 64, 100, 10, 1, "float32", "cpu", 1)
    assert predicted["seconds"].iloc[0] == pytest.approx(made_up.loop(work, made_up.macs(work)), rel=0.01)


def test_an_axis_that_is_none_is_named_before_anything_is_fitted() -> None:
    with pytest.raises(UserError, match=r"sizes hiden_size=3: no axis 'hiden_size' .did you mean 'hidden_size'"):
        rnnbench.predict(pd.DataFrame(columns=["seconds_low"]), "hiden_size=3")


def test_a_module_that_calls_sys_exit_does_not_end_the_callers_program() -> None:
    mine, input = Ending(), torch.randn(4, 2, 3)
    for call in (rnnbench.measure, rnnbench.explain):
        with pytest.raises(RuntimeError, match=r"the module called sys.exit\(0\) \(test_live.py:\d+\); it must return"):
            call({"mine": mine, "torch": nn.GRU(3, 5)}, input, budget_seconds=1.0, progress=False)
    with pytest.raises(RuntimeError, match=r"the module called sys.exit\(0\)"):
        rnnbench.fastest(mine, input, progress=False)


def test_a_module_that_raises_keyboard_interrupt_fails_and_ctrl_c_still_interrupts() -> None:
    input = torch.randn(4, 2, 3)
    for call in (rnnbench.measure, rnnbench.explain):
        with pytest.raises(RuntimeError, match=r"mine: the module raised KeyboardInterrupt \(test_live.py:\d+\)"):
            call({"mine": Interrupting(), "torch": nn.GRU(3, 5)}, input, budget_seconds=1.0, progress=False)
    with pytest.raises(RuntimeError, match=r"the module raised KeyboardInterrupt \(test_live.py:\d+\); it must return"):
        rnnbench.fastest(Interrupting(), input, progress=False)
    with pytest.raises(KeyboardInterrupt):
        rnnbench.fastest(Interrupted(), input, progress=False)


class Interrupting(nn.Module):
    def forward(self, input: Tensor) -> None:
        raise KeyboardInterrupt


class Interrupted(nn.Module):
    def forward(self, input: Tensor) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)


class Ending(nn.Module):
    def forward(self, input: Tensor) -> None:
        sys.exit(0)
