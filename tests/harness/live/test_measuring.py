"""Questions of two cases, modules over sizes, and a process that is left as it was."""

import gc
import json
import math
import pickle
import random
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench import measure
from rnnbench.analysis.rounds import FIRST_LOOK, MINE, THAN, Question
from rnnbench.cells import CellError
from rnnbench.harness.live.measuring import LivePhase
from rnnbench.harness.machine import global_state
from tests.doubles.unable import REASON, Cast
from tests.harness.live import INPUT, QUICK, pair
from tests.harness.live.test_loop import Machine

pytestmark = pytest.mark.usefixtures("one_thread", "short_turns")


def decide(units: int, budget: float, precision: float | None = None) -> tuple[Question, int, float]:
    """Compare a case of `units` with one of 20 units, by the factor 1.2; the question, its rounds and its seconds."""
    machine, question = Machine(), Question(1.2, precision)
    turns = machine.turns({MINE: machine.case(units), THAN: machine.case(20)})
    turns.until(question, budget)
    question.look()
    return question, len(turns.times[MINE]), turns.seconds


@pytest.mark.parametrize(("units", "answer"), [(20, "not slower"), (22, "not slower"), (30, "slower"), (60, "slower")])
def test_what_is_clear_is_decided_in_a_small_part_of_the_budget(units: int, answer: str) -> None:
    question, rounds, seconds = decide(units, 10.0)
    assert question.answer == answer
    assert question.low.lower <= units / 20 <= question.low.upper
    assert rounds == FIRST_LOOK
    assert seconds < 2.0


def test_what_is_not_decided_takes_the_budget_and_no_more_and_is_looked_at_once_more() -> None:
    question, rounds, seconds = decide(24, 2.0)
    assert question.answer is None
    assert 1.8 < seconds <= 2.0
    assert question.next_look == math.ceil(1.5 * rounds)
    assert question.low.lower < 1.2 < question.low.upper
    question, rounds, _ = decide(60, 0.0)
    assert (question.answer, rounds) == (None, 1)
    assert question.low.value == pytest.approx(3.0, rel=0.1)


def test_rounds_end_where_the_ratio_is_known_as_well_as_asked() -> None:
    _, at_most, _ = decide(24, 20.0)
    question, rounds, _ = decide(24, 20.0, precision=0.02)
    assert question.answer is None
    assert rounds < at_most / 2
    assert question.is_precise


# Real modules


def test_modules_whose_outputs_differ_are_not_timed_unless_they_may() -> None:
    given: dict[str, Any] = {"than": nn.LSTM(3, 5), "input": INPUT, "factor": 1e6, "budget": 60}
    with pytest.raises(AssertionError, match=r"^outputs differ: mine's output is not .* and nothing was timed: "):
        rnnbench.assert_not_slower(nn.LSTM(3, 5), **given)
    assert rnnbench.assert_not_slower(nn.LSTM(3, 5), **given, equal_outputs=False).answer == "not slower"


SIZES: Any = {"batch": [1, 3], "hidden": [4, 5]}


# Sweeps


def inputs(batch: int) -> Tensor:
    return torch.randn(4, batch, 3)


def loop(hidden: int) -> nn.Module:
    return rnnbench.unroll(nn.LSTMCell(3, hidden))


def layer(hidden: int) -> nn.Module:
    return nn.LSTM(3, hidden)


def test_each_combination_has_its_rows_with_the_sizes_as_columns() -> None:
    swept = rnnbench.sweep(
        {"mine": loop, "torch": layer}, inputs, phase=["inference", "training"], threads=[1, None], **SIZES, **QUICK
    )
    frame = swept.frame
    assert list(frame.columns[:5]) == ["batch", "hidden", "phase", "threads", "module"]
    assert len(frame) == 2 * 2 * 2 * 2 * 2
    assert not frame.duplicated(["batch", "hidden", "phase", "threads", "module"]).any()
    assert frame["status"].eq("measured").all()
    assert frame["parity"].isin(["agrees", "is the reference"]).all()  # built modules have the reference's weights
    assert len(swept.replicates) == 2 * len(frame)
    table = frame[frame["threads"].eq(1)].pivot(index=["batch", "hidden"], columns=["phase", "module"], values="ratio")
    assert table.shape == (4, 4)
    assert table.notna().all(axis=None)
    assert "mine" in repr(swept)
    assert "<img" in swept._repr_html_()


def test_a_combination_that_fails_keeps_its_rows_and_its_reason() -> None:
    def picky(batch: int) -> Tensor:
        if batch == 3:
            raise KeyError("no such batch")
        return inputs(batch)

    swept = rnnbench.sweep({"mine": loop, "torch": layer}, picky, **SIZES, **QUICK)
    failed = swept.frame[swept.frame["status"] == "failed"]
    assert failed["batch"].tolist() == [3] * 4
    assert set(failed["reason"]) == {"KeyError: 'no such batch'"}
    assert failed["seconds"].isna().all()
    assert "2 combinations failed" in swept.note
    with pytest.raises(RuntimeError, match="all 2 combinations failed; the first: KeyError"):
        rnnbench.sweep({"mine": loop, "torch": layer}, picky, batch=[3], hidden=[4, 5], **QUICK)


def test_a_module_that_gives_nan_has_failed_and_is_not_drawn() -> None:
    class Diverging(nn.LSTM):
        def forward(self, *given: Any) -> Any:
            outputs, state = super().forward(*given)
            return outputs * (torch.nan if self.hidden_size > 4 else 1.0), state

    swept = rnnbench.sweep(
        {"mine": lambda hidden: Diverging(3, hidden), "torch": layer}, inputs, reference="torch", **SIZES, **QUICK
    )
    failed = swept.frame[swept.frame["status"] == "failed"]
    assert set(failed["module"]) == {"mine"}
    assert set(failed["hidden"]) == {5}
    assert failed[["seconds", "ratio", "mean_seconds"]].isna().all(axis=None)
    assert failed["reason"].str.contains("values are NaN or infinite").all()
    assert "2 combinations failed; `reason` says why." in swept.note
    [panel] = swept.plot().axes
    assert [line[0].get_xdata().tolist() for line in panel.containers] == [[1, 3]]


def test_ctrl_c_keeps_what_is_finished() -> None:
    def interrupted(batch: int) -> Tensor:
        if batch == 3:
            signal.raise_signal(signal.SIGINT)
        return inputs(batch)

    swept = rnnbench.sweep({"mine": loop, "torch": layer}, interrupted, **SIZES, **QUICK)
    assert swept.frame["batch"].tolist() == [1] * 4
    assert swept.note.startswith("Interrupted after 2 of 4 combinations.")
    with pytest.raises(KeyboardInterrupt):
        rnnbench.sweep({"mine": loop, "torch": layer}, interrupted, batch=[3], hidden=[4], **QUICK)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"modules": [nn.LSTM(3, 4)]}, ValueError, "modules: expected a mapping .*; found a value of type list"),
        ({"input": torch.randn(4, 2, 3)}, TypeError, "input: expected a function that makes it from the sizes"),
        ({"input": lambda batch, length: batch}, RuntimeError, "failed; the first: .* missing .* argument: 'length'"),
        ({"batch": []}, TypeError, r"batch: expected a list of values, at least one, found \[\]"),
        ({"batch": 3}, TypeError, "batch: expected a list of values, at least one, found 3"),
        ({"batch": "12"}, TypeError, "batch: expected a list of values, at least one, found '12'"),
        ({"width": [1, 2]}, ValueError, "width: neither the input nor a module depends on it"),
        ({"phase": ["fit"]}, RuntimeError, "phase: expected one of inference, training, step, found 'fit'"),
        ({"threads": 0}, RuntimeError, "threads: expected a whole number of 1 or more"),
        ({"reference": "other"}, RuntimeError, "reference: no module has the name 'other'"),
    ],
)
def test_wrong_arguments_are_told(given: dict[str, Any], kind: type[Exception], words: str) -> None:
    modules = {"mine": loop, "torch": layer}
    arguments: dict[str, Any] = {"modules": modules, "input": inputs, **SIZES, **QUICK, **given}
    with pytest.raises(kind, match=words):
        rnnbench.sweep(**arguments)


def test_modules_as_they_are_and_functions_can_be_swept_too() -> None:
    fixed: dict[str, Callable[..., Any]] = {"tanh": torch.tanh, "layer": nn.LSTM(3, 3), "gelu": nn.GELU()}
    frame = rnnbench.sweep(fixed, inputs, batch=[1, 2], reference="layer", **QUICK).frame
    assert frame["module"].tolist() == ["tanh", "layer", "gelu"] * 2


# Measuring leaves the user's process unchanged, however it ends


class Meddler(nn.Module):
    """A module that changes everything in its reach, in every call."""

    def __init__(self, ending: BaseException | None) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.count: Tensor
        self.register_buffer("count", torch.zeros(()))
        self.calls = 0
        self.ending = ending

    def forward(self, input: Tensor) -> Tensor:
        self.calls += 1
        if self.ending is not None and self.calls > 8:
            if isinstance(self.ending, KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            raise self.ending
        self.count = self.count + 1
        random.random()
        np.random.random()
        torch.set_num_threads(3)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(mode=True)
        output: Tensor = self.drop(self.norm(self.linear(input)))
        return output * torch.inf if self.calls % 2 else output  # even at rate 0 Adam turns it into NaN


def of_process() -> list[Any]:
    return [
        *(torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()),
        *(torch.is_grad_enabled(), torch.is_inference_mode_enabled(), gc.isenabled()),
        *(torch.get_rng_state().tolist(), random.getstate(), pickle.dumps(np.random.get_state())),
    ]


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize(
    "ending", [None, RuntimeError("on purpose"), KeyboardInterrupt()], ids=["end", "error", "ctrl-c"]
)
@pytest.mark.parametrize("training", [True, False])
def test_all_is_put_back(phase: LivePhase, ending: BaseException | None, training: bool) -> None:
    module = Meddler(ending).train(training)
    module.drop.train(not training)  # a module whose mode differs from its owner's
    input = torch.randn(4, 3, requires_grad=True)
    for leaf in (input, *list(module.parameters())[:1]):  # the other parameters have no gradient
        leaf.grad = torch.randn_like(leaf)
    before, process = json.dumps(of_module(module, input)), of_process()
    identities = [id(tensor) for tensor in (*module.buffers(), *module.parameters(), input.grad)]
    other = lambda x: x * module.linear.weight.sum()  # noqa: E731
    if ending is None:
        assert len(measure({"mine": module, "other": other}, input, phase=phase, **QUICK).frame) == 2
    else:
        with pytest.raises(type(ending)):
            measure({"mine": module, "other": other}, input, phase=phase, **QUICK)
    assert module.calls > 8
    assert json.dumps(of_module(module, input)) == before
    assert identities == [id(tensor) for tensor in (*module.buffers(), *module.parameters(), input.grad)]
    assert of_process() == process


@pytest.mark.parametrize("phase", ["training", "step"])
def test_weights_that_an_optimizer_in_backward_changes_are_put_back(phase: LivePhase) -> None:
    layer = nn.LSTM(3, 4)
    for parameter in layer.parameters():
        optimizer = torch.optim.SGD([parameter], 0.1)
        parameter.register_post_accumulate_grad_hook(lambda _, step=optimizer.step: step())
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    input = torch.randn(5, 2, 3)
    measure({"mine": layer, "other": nn.LSTM(3, 4)}, input, phase=phase, **QUICK)
    torch.testing.assert_close(dict(layer.state_dict()), before, rtol=0, atol=0)


def test_a_setting_that_can_not_be_put_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(wanted: object) -> None:
        raise CellError("it changes inter-op threads, which can't be put back")

    monkeypatch.setattr(global_state, "restore", refuse)
    for _ in range(2):  # the second is not kept out by the first
        with pytest.raises(CellError, match="it changes inter-op threads"):
            measure({"a": nn.GELU(), "b": nn.GELU()}, torch.randn(2, 3), **QUICK)


def test_a_graph_that_holds_a_buffer_with_nan_can_still_go_backward() -> None:
    layer, input = nn.Linear(3, 2), torch.randn(4, 3)
    layer.register_buffer("scale", torch.tensor([2.0, torch.nan]))
    loss = (layer(input) * layer.get_buffer("scale")).sum()
    measure({"mine": layer, "other": nn.Linear(3, 2)}, input, **QUICK)
    loss.backward()
    assert layer.bias.grad is not None
    torch.testing.assert_close(layer.bias.grad, torch.tensor([8.0, torch.nan]), equal_nan=True)


def of_module(module: nn.Module, input: Tensor) -> dict[str, Any]:
    grads = [leaf.grad if leaf.grad is None else leaf.grad.tolist() for leaf in (input, *module.parameters())]
    return {
        "values": {name: value.tolist() for name, value in module.state_dict().items()},
        "training": [part.training for part in module.modules()],
        "grads": grads,
        "input": input.tolist(),
    }


def unable_pair() -> dict[str, nn.Module]:
    """A module that this processor can't run, beside two that it can."""
    return {"cast": Cast(3, 5), **pair()}


def test_a_module_that_this_processor_can_not_run_keeps_its_row_and_the_others_are_measured() -> None:
    result = measure(unable_pair(), INPUT, reference="torch", **QUICK)
    frame = result.frame
    assert frame.index.tolist() == ["mine", "torch", "cast"]
    assert frame["parity"]["cast"].startswith(REASON)
    assert frame["seconds"].notna().to_dict() == {"mine": True, "torch": True, "cast": False}
    assert frame["replicates"].tolist() == [2, 2, 0]
    assert f"cast is left out: {REASON}" in result.note
    result.plot()
    own = dict.fromkeys(unable_pair(), INPUT)
    assert measure(unable_pair(), own, reference="torch", **QUICK).frame["seconds"].notna().sum() == 2


@pytest.mark.parametrize("reference", ["cast", "torch"])
def test_what_this_processor_can_not_run_is_an_error_where_nothing_is_left_to_compare(reference: str) -> None:
    modules = unable_pair()
    del modules["mine"]
    with pytest.raises(RuntimeError, match=f"^cast: {REASON}"):
        measure(modules, INPUT, reference=reference, **QUICK)


def test_a_sweep_skips_what_this_processor_can_not_run() -> None:
    def input(batch: int) -> Tensor:
        return torch.randn(4, batch, 3)

    unable = unable_pair()
    some = rnnbench.sweep(unable, input, reference="torch", batch=[1, 2], **QUICK).frame.set_index("module")
    assert some.loc["cast", "status"].tolist() == ["skipped"] * 2
    assert some.loc["cast", "reason"].str.startswith(REASON).all()
    assert some.loc[["mine", "torch"], "status"].tolist() == ["measured"] * 4
    del unable["mine"]

    def narrow_or_wide(batch: int) -> nn.Module:
        return Cast(3, 5) if batch == 1 else pair()["torch"]

    modules: dict[str, Any] = {"mine": narrow_or_wide, "torch": unable["torch"]}
    swept = rnnbench.sweep(modules, input, reference="torch", batch=[1, 2], **QUICK)
    assert swept.frame["status"].tolist() == ["skipped"] * 2 + ["measured"] * 2
    assert "Modules were skipped in 1 combination; `reason` says why." in swept.note
    with pytest.raises(RuntimeError, match=rf"^all 2 combinations were skipped; the first: cast: {REASON}"):
        rnnbench.sweep(unable, input, reference="torch", batch=[1, 2], **QUICK)
