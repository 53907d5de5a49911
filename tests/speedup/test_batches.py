"""Batch sizes for which no code was compiled: which code serves them, that it is right, and who is refused."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnnbench.speedup.batches import (
    BatchCode,
    are_close,
    most_times,
    relative_error,
    rows_are_apart,
    run_in_batches,
    served_ranges,
    serving_code,
)

UNMEASURED = BatchCode(20, math.nan, math.nan)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (32, 32),
        (31, 32),
        (16, 32),  # half of the time without a compiler may be needed for half of the rows
        (15, None),
        (64, 32),
        (65, None),
        (1, 1),
    ],
)
def test_code_serves_a_batch_size_where_it_is_surely_no_slower_than_a_way_without_a_compiler(
    rows: int, code: int | None
) -> None:
    codes = [BatchCode(1, 1.0, 1.1), BatchCode(32, 10.0, 20.0)]
    found = serving_code(rows, codes)
    assert (None if found is None else found.batch_size) == code


def test_where_nothing_was_measured_5_percent_of_added_rows_are_served() -> None:
    assert [rows for rows in range(1, 60) if serving_code(rows, [UNMEASURED])] == [20]
    code = BatchCode(32, math.nan, math.nan)
    assert [rows for rows in range(1, 60) if serving_code(rows, [code])] == [31, 32]
    assert most_times(31, code, [code]) == 32 / 31
    assert serving_code(5, []) is None
    assert served_ranges([]) == []


def test_ranges_say_what_they_cost_at_most_and_leave_out_what_was_measured() -> None:
    codes = [BatchCode(32, 10.0, 20.0), BatchCode(16, 9.0, 9.1)]
    ranges = [(each.first, each.last, each.batch_size, each.is_cheap) for each in served_ranges(codes)]
    assert ranges == [(15, 15, 16, False), (17, 30, 32, False), (31, 31, 32, True), (33, 64, 32, False)]
    assert served_ranges(codes)[1].most == pytest.approx(10 / 9)
    assert served_ranges(codes)[3].most == 2.0


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(1, 40), st.floats(0.1, 9), st.floats(0.1, 9)), max_size=3),
)
def test_what_serves_is_in_the_ranges_and_its_cost_is_at_least_that_of_its_own(rows: int, times: list[Any]) -> None:
    codes = {batch: BatchCode(batch, *seconds) for batch, *seconds in times}.values()
    code = serving_code(rows, codes)
    ranges = [each for each in served_ranges(codes) if each.first <= rows <= each.last]
    is_measured = rows in {each.batch_size for each in codes}
    assert bool(ranges) == (code is not None and not is_measured)
    if code is not None:
        assert code.adds_little(rows) or code.calls(rows) * code.seconds <= max(each.seconds_without for each in codes)


def parts_of(module: nn.Module) -> Any:
    def run(input: Tensor, state: Any) -> Any:
        outputs, final = module(input, state[0] if len(state) == 1 else state)
        return outputs, final if isinstance(final, tuple) else (final,)

    return run


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("module", [nn.GRU(4, 6), nn.LSTM(4, 6, num_layers=2), nn.LSTM(4, 6, batch_first=True)])
@torch.no_grad()
def test_more_or_fewer_rows_give_what_the_module_gives(module: Any, rows: int) -> None:
    dim = 0 if module.batch_first else 1
    input = torch.randn(rows, 5, 4) if module.batch_first else torch.randn(5, rows, 4)
    state = tuple(torch.randn(module.num_layers, rows, 6) for _ in range(1 + isinstance(module, nn.LSTM)))

    def of_three(input: Tensor, state: Any) -> Any:
        assert input.shape[dim] == 3
        assert input.is_contiguous()
        assert all(part.is_contiguous() and part.shape[1] == 3 for part in state)
        return parts_of(module)(input, state)

    found = run_in_batches(of_three, input, state, 3, dim)
    torch.testing.assert_close(found, parts_of(module)(input, state))
    assert are_close(found, parts_of(module)(input, state))


class Normed(nn.Module):
    """A layer with a normalisation over the batch, which mixes its rows in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(4, 6)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, input: Tensor, state: Tensor) -> Any:
        outputs, final = self.layer(input, state)
        return self.norm(outputs.flatten(0, 1)).view_as(outputs), final


class Counting(nn.Module):
    """Keeps the mean of all that it has seen, which has no effect on this call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(4, 6)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, input: Tensor, state: Tensor) -> Any:
        self.get_buffer("seen").add_(input.mean())
        return self.layer(input, state)


class OfTwo(nn.GRU):
    """Takes two rows alone."""

    def forward(self, input: Tensor, state: Any = None) -> Any:  # type: ignore[override]
        if input.shape[1] != 2:
            raise ValueError("two")
        return super().forward(input, state)


class Dropping(nn.GRU):
    """Draws random numbers in training."""

    def forward(self, input: Tensor, state: Any = None) -> Any:  # type: ignore[override]
        return super().forward(nn.functional.dropout(input, training=self.training), state)


class Summing(nn.GRU):
    """Reads whole numbers, and adds what it reads in the first row to all."""

    def forward(self, input: Tensor, state: Any = None) -> Any:  # type: ignore[override]
        numbers: Tensor = nn.functional.one_hot(input, 4).float()
        return super().forward(numbers + numbers.mean(1, keepdim=True), state)


@pytest.mark.parametrize(
    ("module", "is_apart"),
    [
        (nn.GRU(4, 6), True),
        (Normed().eval(), True),
        (Normed().train(), False),
        (Counting(), False),
        (OfTwo(4, 6), False),
        (Dropping(4, 6).eval(), True),
        (Dropping(4, 6).train(), False),
        (Summing(4, 6), False),
    ],
)
@torch.no_grad()
def test_a_module_whose_rows_have_an_effect_on_each_other_or_on_later_calls_is_found(
    module: nn.Module, is_apart: bool
) -> None:
    input = torch.tensor([[0, 1]] * 5) if isinstance(module, Summing) else torch.randn(5, 2, 4)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert rows_are_apart(module, parts_of, input, (torch.zeros(1, 2, 6),)) == is_apart
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)


def test_an_error_is_a_share_of_the_largest_value() -> None:
    one = torch.tensor([1.0, -4.0])
    assert relative_error(one + torch.tensor([0.0, 0.4]), one) == pytest.approx(0.1)
    assert relative_error(one.double(), one) == relative_error(one[:1], one) == math.inf
    assert math.isnan(relative_error(one * math.nan, one))
    assert relative_error(one[:0], one[:0]) == 0.0
