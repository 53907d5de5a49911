import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnbench
from tests.harness.live.modules import QUICK

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES: Any = {"batch": [1, 3], "hidden": [4, 5]}


def inputs(batch: int) -> Tensor:
    return torch.randn(4, batch, 3)


def loop(hidden: int) -> nn.Module:
    return rnnbench.unroll(nn.LSTMCell(3, hidden))


def layer(hidden: int) -> nn.Module:
    return nn.LSTM(3, hidden)


def test_each_combination_has_its_rows_with_the_sizes_as_columns() -> None:
    swept = rnnbench.sweep(
        {"mine": loop, "torch": layer}, inputs, ["inference", "training"], threads=[1, None], **SIZES, **QUICK
    )
    frame = swept.frame
    assert list(frame.columns[:5]) == ["batch", "hidden", "phase", "threads", "module"]
    assert len(frame) == 2 * 2 * 2 * 2 * 2
    assert not frame.duplicated(["batch", "hidden", "phase", "threads", "module"]).any()
    assert frame["status"].eq("measured").all()
    assert frame["parity"].isin(["agrees", "is the reference"]).all()  # built modules have the reference's weights
    assert len(swept.rounds) == 2 * len(frame)
    table = frame[frame["threads"].eq(1)].pivot(index=["batch", "hidden"], columns=["phase", "module"], values="ratio")
    assert table.shape == (4, 4)
    assert table.notna().all(axis=None)
    assert "mine" in repr(swept)
    assert swept._repr_html_().startswith("<table")


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
        ({"input": torch.randn(4, 2, 3)}, TypeError, "input: expected a function that makes it from the sizes"),
        ({"input": lambda batch, length: batch}, ValueError, "input: needs length, but the sizes are batch, hidden"),
        ({"batch": []}, TypeError, r"batch: expected a list of values, at least one, found \[\]"),
        ({"batch": 3}, TypeError, "batch: expected a list of values, at least one, found 3"),
        ({"batch": "12"}, TypeError, "batch: expected a list of values, at least one, found '12'"),
        ({"width": [1, 2]}, ValueError, "width: neither the input nor a module depends on it"),
        ({"phase": ["fit"]}, RuntimeError, "phase: expected one of inference, training, step, found 'fit'"),
        ({"threads": 0}, RuntimeError, "threads: expected a whole number of 1 or more"),
        ({"reference": "other"}, RuntimeError, "reference: no module 'other'"),
    ],
)
def test_wrong_arguments_are_told(given: dict[str, Any], kind: type[Exception], words: str) -> None:
    arguments: dict[str, Any] = {"input": inputs, **SIZES, **QUICK, **given}
    with pytest.raises(kind, match=words):
        rnnbench.sweep({"mine": loop, "torch": layer}, **arguments)


def test_modules_as_they_are_and_functions_can_be_swept_too() -> None:
    fixed: dict[str, Callable[..., Any]] = {"tanh": torch.tanh, "layer": nn.LSTM(3, 3), "gelu": nn.GELU()}
    frame = rnnbench.sweep(fixed, inputs, batch=[1, 2], reference="layer", **QUICK).frame
    assert frame["module"].tolist() == ["tanh", "layer", "gelu"] * 2
