"""The order of an input's first two dimensions is found by trials that leave a module as it is."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench import unroll
from rnnbench.adapt.contract import TRIAL_LENGTH
from rnnbench.adapt.order import input_order, left_as_it_was, reads_batch_first
from tests.adapt.layers import BatchFirst, KeepsState, Reversed, of_fixed_batch

GIVEN = [(16, 1), (1, 16), (9, 9), (2, 2), (6, 6), (7, 3)]


class Mean(nn.Module):
    """Gives one row of class scores for each sequence, read (batch, seq, ...)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(6, 3, batch_first=True)

    def forward(self, input: Tensor) -> Tensor:
        outputs: Tensor = self.layer(input)[0]
        return outputs.mean(1)


class Tokens(nn.Module):
    """Reads whole numbers, (batch, seq)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(2, 6)
        self.layer = nn.GRU(6, 6, batch_first=True)

    def forward(self, tokens: Tensor) -> Any:
        return self.layer(self.embed(tokens))


class Normed(nn.Module):
    """In training, each sequence changes the others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(6, 6, batch_first=True)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, input: Tensor) -> Tensor:
        outputs: Tensor = self.layer(input)[0]
        normed: Tensor = self.norm(outputs.flatten(0, 1))
        return normed.view_as(outputs)


class TurnsOutput(nn.Module):
    """Reads (batch, seq, ...) and gives (seq, batch, ...)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(6, 6, batch_first=True)

    def forward(self, input: Tensor) -> Tensor:
        outputs: Tensor = self.layer(input)[0]
        return outputs.transpose(0, 1)


def undeclared() -> nn.Module:
    return nn.Sequential(nn.LSTM(6, 6))


@pytest.mark.parametrize("sizes", GIVEN)
@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: nn.LSTM(6, 6), "steps first"),
        (lambda: nn.LSTM(6, 6, batch_first=True), "batch first"),
        (undeclared, "steps first"),
        (lambda: BatchFirst(nn.LSTM(6, 6)), "batch first"),
        (lambda: unroll(nn.GRUCell(6, 6), batch_first=True), "batch first"),
        (lambda: Reversed(nn.LSTM(6, 6)), "steps first"),
        (lambda: KeepsState(6), "batch first"),
        (Mean, "batch first"),
        (Normed, "batch first"),
        (TurnsOutput, "batch first"),
        (lambda: nn.Linear(6, 6), "either"),
        (lambda: torch.tanh, "unknown"),
    ],
)
def test_the_order_is_known_or_found_by_trial_at_any_size(build: Any, expected: str, sizes: tuple[int, int]) -> None:
    assert input_order(build(), torch.zeros(*sizes, 6)) == expected


@pytest.mark.parametrize("sizes", GIVEN)
def test_whole_numbers_are_tried_as_whole_numbers(sizes: tuple[int, int]) -> None:
    assert reads_batch_first(Tokens(), torch.zeros(*sizes, dtype=torch.long)) is True


@pytest.mark.parametrize("sizes", [(16, 1), (1, 16), (16, 4), (4, 16)])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_module_that_takes_only_its_own_sizes_is_tried_at_these(sizes: tuple[int, int], *, batch_first: bool) -> None:
    module = of_fixed_batch(sizes[0] if batch_first else sizes[1], batch_first=batch_first)
    assert reads_batch_first(module, torch.randn(*sizes, 6)) is batch_first
    convolution = nn.Conv1d(9, 9, 3, padding=1)  # takes 9 channels, in the second place
    assert reads_batch_first(convolution, torch.randn(9, 9, 4)) is True


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_given_state_has_the_batch_of_the_trial(*, batch_first: bool) -> None:
    layer = nn.LSTM(6, 6)
    module = BatchFirst(layer) if batch_first else nn.Sequential()
    if not batch_first:
        module.forward = layer.forward  # type: ignore[method-assign]
    batch = 16 if batch_first else 1
    state = (torch.zeros(1, batch, 6), torch.zeros(1, batch, 6))
    assert reads_batch_first(module, torch.randn(16, 1, 6), state) is batch_first


def test_an_input_of_one_sequence_without_a_batch_has_no_order() -> None:
    assert reads_batch_first(BatchFirst(nn.LSTM(6, 6)), torch.randn(16, 6)) is None
    assert reads_batch_first(BatchFirst(nn.LSTM(6, 6))) is None


@pytest.mark.parametrize("can_be_copied", [True, False])
def test_a_trial_leaves_a_module_and_random_numbers_as_they_were(*, can_be_copied: bool) -> None:
    module = KeepsState(6)
    module(torch.randn(16, 1, 6))
    if not can_be_copied:
        module.lock = threading.Lock()  # type: ignore[assignment]
        with left_as_it_was(module) as trial:
            assert trial is module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    input = torch.randn(16, 1, 6)
    state, plain, random = module.h, module.h.clone(), torch.get_rng_state()
    assert reads_batch_first(module, input) is True
    assert module.h is state
    assert torch.equal(state, plain)
    assert module.calls == 1
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_module_that_draws_its_own_numbers_is_not_judged() -> None:
    class Noisy(nn.Module):
        draws = 0

        def forward(self, input: Tensor) -> Tensor:
            Noisy.draws += 1
            return input + Noisy.draws

    assert input_order(Noisy(), torch.randn(16, 1, 6)) == "unknown"


def test_long_inputs_are_tried_at_small_sizes() -> None:
    class Counts(nn.Module):
        steps = 0

        def forward(self, input: Tensor) -> Tensor:
            Counts.steps = max(Counts.steps, len(input))
            return input.cumsum(0)

    assert input_order(Counts(), torch.randn(10_000, 4, 6)) == "steps first"
    assert Counts.steps == TRIAL_LENGTH
