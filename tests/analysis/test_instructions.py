"""When a change of instructions counts, and where it is."""

from dataclasses import replace

import pytest

from rnnbench.analysis.instructions import (
    MARGIN,
    InstructionChange,
    InstructionCounts,
    Part,
    part_of,
)


@pytest.mark.parametrize(
    ("file", "function", "part"),
    [
        ("libpython3.11.so.1.0", "_PyEval_EvalFrameDefault", "python"),
        ("libtorch_cpu.so", "mkl_blas_sgemm", "kernels"),
        ("???", "???", "kernels"),
        ("libc.so.6", "__memcpy_avx_unaligned", "kernels"),
        ("libtorch_cpu.so", "at::TensorIteratorBase::build(at::TensorIteratorConfig&)", "dispatch"),
        ("libc.so.6", "malloc", None),  # what it takes is up to the state of the heap
    ],
)
def test_a_function_belongs_to_a_part_of_the_call(file: str, function: str, part: Part | None) -> None:
    assert part_of(file, function) == part


def counts(total: int, *more: int, **operators: int) -> InstructionCounts:
    parts: dict[Part, int] = {"kernels": total // 2, "python": total - total // 2}
    return InstructionCounts("callgrind", (total, *more), parts, operators)


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


def test_operators_and_parts_that_changed_are_listed_the_largest_first() -> None:
    base, head = counts(1000, add=15, mm=3, tanh=2), counts(1000, add=16, mm=3, mul=5)
    change = InstructionChange(base, replace(head, parts={"kernels": 490, "python": 540}))
    assert change.operators() == [
        ("mul", 0, 5),
        ("tanh", 2, 0),
        ("add", 15, 16),
    ]
    assert change.parts()["python"] == pytest.approx(0.04)


def test_a_number_alone_has_no_parts() -> None:
    change = InstructionChange(InstructionCounts("perf_event", (100,)), InstructionCounts("perf_event", (110,)))
    assert change.is_more
    assert change.parts() == {}


def test_counts_of_processes_are_pooled() -> None:
    one = InstructionCounts("callgrind", (20, 12), {"python": 4}, between=1)
    other = InstructionCounts("callgrind", (15, 17, 16), {"python": 1})
    assert one.pooled(other) == replace(one, rounds=(20, 12, 15, 17, 16), between=3)
    assert other.pooled(one) == replace(one, rounds=(15, 17, 16, 20, 12), between=3)
    assert (one.spread, other.spread, one.pooled(other).spread) == (4, 1, 4)
