"""When a change of instructions counts, and where it is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.instructions import MARGIN, CountDifference, InstructionChange
from rnnbench.store.instructions import FunctionName, InstructionCounts

MM, PYTHON = FunctionName("libtorch_cpu.so", "mkl_x"), FunctionName("libpython3.11.so", "eval")
MALLOC = FunctionName("libc.so.6", "malloc")


def counts(total: int, *more: int, allocator: int = 0, calls: int = 0, **operators: int) -> InstructionCounts:
    functions = {MM: total // 2, PYTHON: total - total // 2, MALLOC: allocator}
    return InstructionCounts("callgrind", (total, *more), functions, operators, calls)


def test_a_change_is_the_ratio_of_the_rounds_with_the_fewest() -> None:
    change = InstructionChange(counts(1000, 1005, 1003), counts(1010, 1020, 1030))
    assert change.ratio == pytest.approx(1.01)


@pytest.mark.parametrize(
    ("head", "spread", "is_beyond"),
    [
        (100_000, 0, False),
        (100_299, 0, False),
        (100_301, 0, True),
        (99_690, 0, True),
        (100_500, 240, True),
        (100_500, 260, False),  # less than twice the spread
    ],
)
def test_a_change_counts_beyond_the_margin_and_twice_the_spread(head: int, spread: int, is_beyond: bool) -> None:
    change = InstructionChange(counts(100_000, 100_000 + spread, 100_000 + spread), counts(head))
    assert pytest.approx(0.003) == MARGIN
    assert change.is_beyond is is_beyond
    assert change.is_more is (is_beyond and head > 100_000)


def test_what_a_call_of_the_allocator_takes_is_the_same_on_both_sides() -> None:
    """The state of the heap decides it, and says nothing about the code."""
    same = InstructionChange(counts(1000, allocator=200, calls=10), counts(1000, allocator=400, calls=10))
    assert same.ratio == pytest.approx(1.0)
    more = InstructionChange(counts(1000, allocator=200, calls=10), counts(1000, allocator=220, calls=11))
    assert more.ratio == pytest.approx((1000 + 220) / (1000 + 200))
    assert more.parts()["allocator"] == pytest.approx(20 / 1200)


def test_operators_and_functions_that_changed_are_listed_the_largest_first() -> None:
    base, head = counts(1000, add=15, mm=3, tanh=2), counts(1000, add=16, mm=3, mul=5)
    change = InstructionChange(base, replace(head, functions={MM: 490, PYTHON: 540}))
    assert change.operators() == [
        CountDifference("mul", 0, 5),
        CountDifference("tanh", 2, 0),
        CountDifference("add", 15, 16),
    ]
    assert change.functions() == [CountDifference("eval", 500, 540), CountDifference("mkl_x", 500, 490)]
    assert change.functions("kernels") == [CountDifference("mkl_x", 500, 490)]
    assert change.parts()["python"] == pytest.approx(0.04)


def test_a_number_without_functions_has_no_parts() -> None:
    change = InstructionChange(InstructionCounts("perf_event", (100,)), InstructionCounts("perf_event", (110,)))
    assert change.is_more
    assert change.parts() == {}
    assert change.functions() == []


@given(st.integers(1000, 10**9), st.integers(0, 10**6), st.integers(1, 10**5))
def test_equal_code_never_counts_as_changed(total: int, allocator: int, calls: int) -> None:
    same = counts(total, allocator=allocator, calls=calls)
    assert not InstructionChange(same, same).is_beyond
