"""`rnnbench.measure(...)` and its neighbours as users call them; `tests/harness/live` tests their parts."""

import builtins
import io
import os
import signal
import subprocess
import sys
import time
from typing import Any
from unittest import mock

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import rnnbench
from rnnbench import measure
from rnnbench.cells.deep import DeepCell
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.vanilla import VanillaCell
from rnnbench.harness.live.measuring import LivePhase
from rnnbench.report.screen import progress
from tests.harness.live import INPUT, QUICK, pair

pytestmark = pytest.mark.usefixtures("one_thread", "short_turns")


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
def test_a_loop_is_timed_against_the_layer_in_every_phase(phase: LivePhase) -> None:
    measured = measure(pair(), INPUT, phase=phase, **QUICK)
    frame = measured.frame
    assert (frame.index.name, frame.index.tolist()) == ("module", ["mine", "torch"])
    assert frame.columns.tolist() == [
        *("seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high", "state"),
        *("parity", "replicates", "mean_seconds", "parameters"),
    ]
    assert frame["parity"].tolist() == ["agrees", "is the reference"]
    assert frame["parameters"].tolist() == [200, 200]  # 4 (3 x 5 + 5 x 5 + 2 x 5)
    assert frame["replicates"].tolist() == [2, 2]
    assert (frame["seconds"] > 0).all()
    assert frame.loc["torch", "ratio"] == 1.0
    replicates = measured.replicates.set_index(["module", "replicate"])
    assert replicates.index.tolist() == [("mine", 0), ("mine", 1), ("torch", 0), ("torch", 1)]
    assert replicates["ratio"].to_dict()["torch", 0] == 1.0
    assert (replicates[["seconds", "ratio"]] > 0).all(axis=None)
    assert (measured.phase, measured.reference, measured.device, measured.threads) == (phase, "torch", "cpu", 1)
    facts = measured.environment.set_index("what")["value"]
    assert (facts["torch"], facts["device"], facts["threads"]) == (torch.__version__, "cpu", "1")
    assert "process" in measured.note
    assert f"{phase.capitalize()}, input (4, 2, 3) float32, 1 thread on cpu." in measured.sentence


def test_budget_and_precision_are_texts_or_numbers() -> None:
    for budget, precision in (("1s", "50%"), (1, 0.5), (1.0, None)):
        given = QUICK | {"budget": budget, "precision": precision}
        assert (measure(pair(), INPUT, **given).frame["ratio"] > 0).all()
    message = r"^budget: '2 parsecs' is not a duration; expected for example 90s, 5m or 1h$"
    with pytest.raises(ValueError, match=message) as caught:
        measure(pair(), INPUT, budget="2 parsecs")
    assert [entry.name for entry in caught.traceback][1:] == ["wrapped"]  # no frames of rnnbench
    with pytest.raises(ValueError, match=r"^precision: '200%' must be between 0% and 100%, such as 2% or 0.02$"):
        rnnbench.sweep(pair(), lambda: INPUT, precision="200%")


@pytest.mark.parametrize("name", ["measure", "explain", "sweep", "assert_not_slower", "fastest"])
def test_a_phase_that_a_function_does_not_take_is_refused_with_those_that_it_takes(name: str) -> None:
    cell = nn.GRUCell(3, 5)
    given: dict[str, tuple[Any, dict[str, Any]]] = {
        "sweep": (pair(), {"input": lambda: INPUT}),
        "assert_not_slower": (cell, {"than": cell, "factor": 1.0, "input": INPUT}),
        "fastest": (cell, {"input": INPUT}),
    }
    subject, options = given.get(name, (pair(), {"input": INPUT}))
    known = "inference, training" if name == "fastest" else "inference, training, step"
    kind = RuntimeError if name == "sweep" else ValueError  # since no combination is measured
    with pytest.raises(kind, match=f"phase: expected one of {known}, found 'epoch'; a suite measures epoch"):
        getattr(rnnbench, name)(subject, phase="epoch", **options)
    if name not in ("sweep", "fastest"):
        with pytest.raises(ValueError, match=r"rnnbench\.sweep takes several"):
            getattr(rnnbench, name)(subject, phase=["training"], **options)


def test_a_search_runs_with_one_thread_as_all_functions_do_unless_another_number_is_given() -> None:
    torch.set_num_threads(2)
    try:
        given: Any
        for given, used in (({}, 1), ({"threads": None}, 2)):
            found = rnnbench.fastest(nn.GRU(3, 5), INPUT, budget=0.1, progress=False, **given)
            assert set(found.frame["threads"]) == {used}
            assert torch.get_num_threads() == 2
            assert f"inference, {used} thread" in repr(found)
            page = found._repr_html_()
            assert page.index("Fastest way to run GRU(3, 5)") < page.index(f"inference, {used} thread")
    finally:
        torch.set_num_threads(1)
    with pytest.raises(ValueError, match="threads: expected a whole number of 1 or more, or None"):
        rnnbench.fastest(nn.GRU(3, 5), INPUT, threads=0)


def test_the_frames_of_live_modules_are_drawn_by_the_functions_of_plot() -> None:
    swept = rnnbench.sweep(pair(), lambda batch_size: torch.randn(4, batch_size, 3), batch_size=[1, 2], **QUICK)
    measured = measure(pair(), INPUT, **QUICK)
    for drawn, own in (
        (rnnbench.plot.ratio(swept.frame), swept.plot()),
        (rnnbench.plot.scaling(swept.frame), swept.plot("scaling")),
        (rnnbench.plot.ratio(measured.frame), measured.plot()),
    ):
        assert [axes.get_xlabel() for axes in drawn.axes] == [axes.get_xlabel() for axes in own.axes]
    kept = pd.read_csv(io.StringIO(measured.frame.to_csv()), index_col="module")
    assert rnnbench.plot.ratio(kept).axes
    with pytest.raises(ValueError, match="no size was measured at two values"):
        rnnbench.plot.scaling(measured.frame)
    with pytest.raises(ValueError, match="has no column 'parity'"):
        rnnbench.plot.ratio(measured.frame.drop(columns="parity"))


def test_a_cell_is_told_to_be_unrolled() -> None:
    modules = {"mine": nn.GRUCell(3, 5), "torch": nn.GRU(3, 5)}
    with pytest.raises(ValueError, match=r"if GRUCell is a cell \(one step of a sequence\), measure rnnbench.unroll"):
        measure(modules, INPUT, **QUICK)
    modules["mine"] = rnnbench.same_weights(rnnbench.unroll(nn.GRUCell(3, 5)), like=modules["torch"])
    assert measure(modules, INPUT, **QUICK).frame["parity"]["mine"] == "agrees"


def test_an_assertion_outside_of_pytest_returns_its_answer_or_raises_it() -> None:
    mine = pair()["mine"]
    result = rnnbench.assert_not_slower(mine, than=mine, factor=1000, input=INPUT, budget="60s")
    assert str(result).startswith("not slower: mine takes ")
    assert result.threads == 1
    with pytest.raises(AssertionError, match=r"(?s)^undecided: mine takes .* Give budget='10s', a factor"):
        rnnbench.assert_not_slower(mine, than=mine, factor=1, input=INPUT, budget=1e-9)
    assert (
        rnnbench.assert_not_slower(mine, than=mine, factor=1, input=INPUT, budget=1e-9, undecided="pass").answer is None
    )


FIRST_CALL = """
import random, sys, rnnbench
assert not {"pandas", "matplotlib", "numpy", "torch"} & sys.modules.keys()
import torch
state = random.getstate()
rnnbench.measure(dict.fromkeys("ab", torch.nn.RNN(2, 2)), torch.zeros(2, 1, 2), replicates=2, budget=1)
assert random.getstate() == state
"""


def test_the_import_is_light_and_the_first_call_leaves_the_users_random_generator_alone() -> None:
    """In a process of its own: only the first import of a package draws numbers."""
    subprocess.run([sys.executable, "-c", FIRST_CALL], check=True)


FIRST_ASSERTION = """
import sys, torch, rnnbench
cell, input = torch.nn.GRUCell(3, 5), torch.randn(4, 2, 3)
mine = rnnbench.unroll(cell)
for phase in ("inference", "training"):
    rnnbench.assert_not_slower(
        mine, than=rnnbench.unroll(cell), input=input, factor=2, phase=phase, budget=0.01, undecided="pass"
    )
slow = {"torch._dynamo", "torch._inductor", "matplotlib", "scipy.stats", "scipy.optimize"}
assert not slow & sys.modules.keys(), slow & sys.modules.keys()
"""


def test_an_assertion_imports_neither_the_compiler_nor_matplotlib() -> None:
    subprocess.run([sys.executable, "-c", FIRST_ASSERTION], check=True)


# How the result and the progress are shown


class ZMQInteractiveShell:
    """The type of `get_ipython()` in a notebook, as far as rich looks."""


def test_in_a_notebook_progress_is_a_line_that_moves_forward_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    display = mock.Mock()
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)
    measured = measure(pair(), INPUT, **QUICK | {"progress": True})
    *lines, last = [call.args[0]["text/plain"] for call in display.return_value.update.call_args_list]
    assert any(line.startswith("replicate ") and " s left" in line for line in lines)
    parts = [line.count("█") for line in lines]
    assert parts == sorted(parts)
    assert parts[-1] > 0
    assert last == ""
    assert capsys.readouterr() == ("", "")
    assert measured._repr_html_().startswith("<p><b>mine takes ")


def test_on_a_terminal_progress_is_a_bar_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)  # otherwise a busy machine is done before the next redraw
    measure(pair(), INPUT, **QUICK | {"progress": True})
    out, shown = capsys.readouterr()
    assert "checking outputs" in shown
    assert "replicate 1" in shown
    assert not out
    measure(pair(), INPUT, **QUICK)
    assert capsys.readouterr().err == ""


def test_ctrl_c_interrupts_the_search_for_the_fastest_way() -> None:
    with pytest.raises(KeyboardInterrupt):
        rnnbench.fastest(Interrupted(), torch.randn(4, 2, 3), progress=False)


class Interrupted(nn.Module):
    def forward(self, input: Tensor) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)


class Pair(nn.Module):
    """A cell that gives its output beside its state, and has no attribute that tells its size."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 5)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, h)
        return h, h


@pytest.mark.parametrize(
    ("cell", "layer"),
    [(nn.LSTMCell(3, 5), nn.LSTM(3, 5)), (GRUCell(3, 5), nn.GRU(3, 5)), (VanillaCell(3, 5), nn.RNN(3, 5))],
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_unrolled_cell_with_a_layers_weights_computes_what_the_layer_does(
    cell: nn.Module, layer: nn.RNNBase, batch_first: bool
) -> None:
    layer.batch_first = batch_first
    mine = rnnbench.same_weights(rnnbench.unroll(cell, batch_first=batch_first), like=layer)
    input = INPUT.transpose(0, 1) if batch_first else INPUT
    outputs, state = mine(input)
    expected, final = layer(input)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(state, final)
    again, _ = mine(input, state)
    torch.testing.assert_close(again, layer(input, final)[0])
    assert list(mine.state_dict()) == [f"cell.{name}" for name in cell.state_dict()]


def test_a_stack_of_cells_gets_the_weights_of_all_layers() -> None:
    layer = nn.RNN(3, 5, num_layers=3)
    mine = rnnbench.same_weights(rnnbench.unroll(DeepCell(3, 5, 3)), like=layer)  # its cells have mappings of their own
    outputs, state = mine(INPUT)
    expected, final = layer(INPUT)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close([part[0] for part in state], [final[2], final[0], final[1]])


def test_a_cell_that_gives_output_and_state_is_unrolled_with_its_state_given() -> None:
    layer = nn.GRU(3, 5)
    mine = rnnbench.same_weights(rnnbench.unroll(Pair()), like=layer)
    outputs, _ = mine(INPUT, torch.zeros(1, 2, 5))
    torch.testing.assert_close(outputs, layer(INPUT)[0])


def test_what_is_no_cell_and_what_is_no_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input: expected \(seq, batch, features\), found \(2, 3\)"):
        rnnbench.unroll(nn.LSTMCell(3, 5))(torch.randn(2, 3))
    with pytest.raises(ValueError, match="cell: Linear runs whole sequences already, or rnnbench does not"):
        rnnbench.unroll(nn.Linear(3, 5))(INPUT)


def test_a_head_reads_the_outputs_of_both_directions_and_keeps_the_state() -> None:
    layer = nn.LSTM(3, 5, bidirectional=True)
    model = rnnbench.with_head(layer, 7)
    outputs, (h, c) = model(INPUT)
    assert (outputs.shape, h.shape, c.shape) == ((4, 2, 7), (2, 2, 5), (2, 2, 5))
    given, _ = model(INPUT, (h, c))
    assert given.shape == (4, 2, 7)
    assert rnnbench.with_head(nn.LSTM(3, 5, proj_size=2), 7).head.in_features == 2
    assert rnnbench.with_head(rnnbench.unroll(nn.GRUCell(3, 5)), 7).head.in_features == 5
    assert rnnbench.with_head(rnnbench.unroll(Pair()), 7, features=5).head.in_features == 5
    with pytest.raises(ValueError, match="features: Unrolled has no hidden_size; give the last size of its outputs"):
        rnnbench.with_head(rnnbench.unroll(Pair()), 7)


def test_weights_of_a_model_with_a_head_are_copied_in_both_directions() -> None:
    mine = rnnbench.with_head(rnnbench.unroll(nn.LSTMCell(3, 5)), 7)
    like = rnnbench.with_head(nn.LSTM(3, 5), 7)
    for module, other in ((mine, like), (like, mine)):
        assert rnnbench.same_weights(module, like=other) is module
        torch.testing.assert_close(module(INPUT)[0], other(INPUT)[0])
        for parameter in module.parameters():
            nn.init.uniform_(parameter)


@pytest.mark.parametrize(
    ("mine", "like", "words"),
    [
        (
            nn.GRU(3, 5),
            nn.LSTM(3, 5),
            "mine: can't copy weights from LSTM: no match for weight_ih_l0, weight_hh_l0, bias_ih_l0",
        ),
        (nn.Linear(3, 5), nn.LSTM(3, 5), "no match for weight, bias"),
        (nn.GELU(), nn.LSTM(3, 5), "mine: GELU has no parameters"),
    ],
)
def test_weights_that_do_not_fit_are_named(mine: nn.Module, like: nn.Module, words: str) -> None:
    before = [parameter.clone() for parameter in mine.parameters()]
    with pytest.raises(ValueError, match=words):
        rnnbench.same_weights(mine, like=like)
    assert all(map(torch.equal, mine.parameters(), before))


def test_same_weights_copies_buffers_too() -> None:
    like, mine = (parametrizations.spectral_norm(nn.LSTM(4, 6), "weight_hh_l0") for _ in range(2))
    for _ in range(3):
        like(torch.randn(5, 3, 4))
    rnnbench.same_weights(mine, like=like)
    input = torch.randn(5, 3, 4)
    torch.testing.assert_close(mine.eval()(input), like.eval()(input))


class Reservoir(nn.Module):
    """A cell whose recurrent weights are fixed and sparse; it may change them, as one that adapts does."""

    weights: Tensor

    def __init__(self, layout: torch.layout, *, grows: bool = False) -> None:
        super().__init__()
        self.hidden_size, self.grows = 8, grows
        weights = 0.3 * torch.randn(8, 8).relu()
        self.register_buffer("weights", weights.to_sparse(layout=layout))
        self.input = nn.Linear(3, 8)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        recurrent = self.weights.to_dense()
        if self.grows:
            self.weights = (recurrent + 0.01).to_sparse(layout=self.weights.layout)
        return torch.tanh(self.input(x) + h @ recurrent)


@pytest.mark.usefixtures("one_thread", "not_compiled")
@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_sparse_buffers_are_measured_searched_and_left_as_they_are(layout: torch.layout, phase: Any) -> None:
    cell, grows = Reservoir(layout), Reservoir(layout, grows=True)
    before = [each.weights.to_dense() for each in (cell, grows)]
    modules = {name: rnnbench.unroll(each) for name, each in (("mine", cell), ("grows", grows))}
    measured = measure({**modules, "rnn": nn.RNN(3, 8)}, INPUT, phase=phase, reference="rnn", **QUICK)
    assert (measured.frame["seconds"] > 0).all()
    frame = rnnbench.fastest(cell, INPUT, phase=phase, budget=1, progress=False).frame
    assert not any("layout" in reason or "sparse" in reason.lower() for reason in frame["reason"])
    like, mine = Reservoir(layout), Reservoir(layout)
    rnnbench.same_weights(mine, like=like)
    torch.testing.assert_close(mine(INPUT[0], torch.zeros(2, 8)), like(INPUT[0], torch.zeros(2, 8)))
    assert all(torch.equal(each.weights.to_dense(), old) for each, old in zip((cell, grows), before, strict=True))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
@pytest.mark.parametrize(("layout", "phase"), [(torch.sparse_coo, "inference"), (torch.sparse_csr, "training")])
def test_calls_with_sparse_tensors_are_explained(layout: torch.layout, phase: Any) -> None:
    modules = {"mine": rnnbench.unroll(Reservoir(layout)), "rnn": nn.RNN(3, 8)}
    explained = rnnbench.explain(modules, INPUT, phase=phase, budget=15, progress=False)
    assert "failed" not in explained.note
    assert any("to_dense" in name or "to_sparse" in name for name in explained.operators["operator"])
