"""Compiled code of one batch size serves others, in the module that `fastest` returns; code is a stand-in here."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.speedup import ways
from rnnbench.workloads import compiled
from tests.adapt.layers import BatchFirst
from tests.speedup.test_ways import row, shape

pytestmark = pytest.mark.usefixtures("one_thread", "code")
CODE = (7, 3)  # the steps and the batch size for which there is code


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Code for one size alone, and its calls."""
    calls: list[tuple[int, ...]] = []

    def compiled_code(function: Any, implementation: str) -> Any:
        def run(module: Any, input: Tensor, *more: Any) -> Any:
            assert input.is_contiguous()
            assert {tuple(input.shape[:2])} <= {CODE, CODE[::-1]}  # of a module that reads the batch first
            calls.append(tuple(input.shape[:2]))
            return function(module, input, *more)

        return run

    monkeypatch.setattr(compiled, "compiled", compiled_code)
    ways.compiled_steps.cache_clear()
    ways.way.cache_clear()
    yield calls
    ways.compiled_steps.cache_clear()
    ways.way.cache_clear()


def fast(module: nn.Module, input: Tensor, **more: Any) -> Any:
    """Return a module with code for `CODE` that takes a twentieth of the time as given."""
    rows = [
        row(shape(*CODE), "compiled", **{"seconds": 5e-4, **more}),
        row(shape(*CODE), "as given", is_chosen=False, seconds=1e-2),
    ]
    return rnnbench.fastest(module, input, ways=rows, progress=False)


class Steps(nn.Module):
    """A module for whole sequences that gives its outputs alone, or with its states."""

    def __init__(self, *, alone: bool) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(5, 6)
        self.alone = alone

    def forward(self, input: Tensor) -> Any:
        state = None
        outputs = []
        for step in input:
            state = self.cell(step, state)
            outputs.append(state[0])
        joined = torch.stack(outputs)
        assert state is not None
        return joined if self.alone else (joined, tuple(part[None] for part in state))


@pytest.mark.parametrize("rows", [1, 2, 4, 30])
@pytest.mark.parametrize(
    "module",
    [
        nn.GRU(5, 6, num_layers=2, bidirectional=True),
        nn.LSTM(5, 6, batch_first=True),
        GRUCell(5, 6),
        LSTMCell(5, 6),
        Steps(alone=True),
        Steps(alone=False),
        BatchFirst(nn.LSTM(5, 6)),
    ],
)
def test_other_batch_sizes_run_by_the_code_that_is_there(code: list[tuple[int, ...]], module: Any, rows: int) -> None:
    turns = getattr(module, "batch_first", isinstance(module, BatchFirst))

    def input_of(batch: int) -> Tensor:
        return torch.randn(batch, 7, 5) if turns else torch.randn(7, batch, 5)

    found = fast(module, input_of(3))
    given = rnnbench.unroll(module) if isinstance(module, GRUCell | LSTMCell) else module
    input = input_of(rows)
    with torch.inference_mode(), warnings.catch_warnings(action="error"):
        torch.testing.assert_close(found(input), given(input))
        code.clear()
        other = input + 1
        torch.testing.assert_close(found(other), given(other))
        units = 4 if isinstance(module, nn.GRU) else 1
        assert len(code) == -(-rows // 3) * units  # nothing is tried again
        if isinstance(module, nn.RNNBase | LSTMCell | BatchFirst):
            state: Any = tuple(torch.randn_like(part) for part in given(input)[1])
            state = state if len(state) == 2 and not isinstance(module, nn.GRU) else torch.stack(state)
            torch.testing.assert_close(found(input, state), given(input, state))


class Normed(nn.Module):
    """A cell whose normalisation mixes the rows of a batch in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(5 + 6, 6)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.norm(self.both(torch.cat((x, h), 1))))


def test_a_module_that_mixes_the_rows_of_a_batch_in_training_runs_as_given_there_and_says_so_once(
    code: list[tuple[int, ...]],
) -> None:
    cell = Normed().eval()
    found = fast(cell, torch.randn(7, 3, 5))
    input = torch.randn(7, 2, 5)
    with torch.no_grad():
        torch.testing.assert_close(found(input), rnnbench.unroll(cell)(input))
        assert code
        code.clear()
        found.train()
        before = {name: value.clone() for name, value in cell.state_dict().items()}
        with pytest.warns(
            UserWarning, match="Normed runs without compiled code at batch 2: its results depend"
        ) as said:
            outputs = [found(input)[0], found(input)[0]]
        cell.load_state_dict(before)
        unrolled = rnnbench.unroll(cell)
        torch.testing.assert_close(outputs, [unrolled(input)[0], unrolled(input)[0]])
    assert len(said) == 1
    assert not code


def test_gradients_and_batch_sizes_that_may_take_longer_run_without_code_and_say_so_once(
    code: list[tuple[int, ...]],
) -> None:
    layer = nn.GRU(5, 6)
    found = fast(layer, torch.randn(7, 3, 5), seconds=9.5e-3)
    inputs = [torch.randn(7, rows, 5) for rows in (2, 4)]
    with torch.no_grad():
        with pytest.warns(UserWarning, match="GRU runs without compiled code: batch 2, length 7 has") as said:
            outputs = [found(input) for input in inputs]
        torch.testing.assert_close(outputs, [layer(input) for input in inputs])
    assert len(said) == 1
    assert "(said once)" in str(said[0].message)
    found(torch.randn(7, 2, 5))[0].sum().backward()
    assert not code


def test_numbers_in_another_order_in_memory_need_no_other_code(code: list[tuple[int, ...]]) -> None:
    cell = GRUCell(5, 6)
    found = fast(cell, torch.randn(7, 3, 5))
    input = torch.randn(3, 7, 5).transpose(0, 1)
    state = torch.randn(1, 1, 6).expand(1, 3, 6)
    with torch.no_grad():
        torch.testing.assert_close(found(input, state), rnnbench.unroll(cell)(input, state))
    assert code


def test_the_text_says_which_batch_sizes_run_how(code: list[tuple[int, ...]]) -> None:
    lines = repr(fast(nn.GRU(5, 6), torch.randn(7, 3, 5), seconds=4e-3)).splitlines()
    assert lines[-3:-1] == [
        "  other batch sizes in inference: 2 as 3, 1.5 times the time of code of its own at most; 4 to 6 in calls of "
        "3, no slower than without a compiler",
        "  all others: as given, 2.5 times the time at most",
    ]
    assert not code
