"""The clock that pytest-benchmark reads."""

from collections.abc import Iterator

import pytest

from rnnbench.pytest_plugin.clock import BenchmarkBlocks, BlockClock


def rounds(blocks: BenchmarkBlocks, clock: BlockClock, number: int, batch: int) -> list[float]:
    """Seconds per call of each round, as pytest-benchmark measures them."""
    seconds = []
    for _ in range(number):
        start = clock()
        for _ in range(batch):
            blocks()
        seconds.append((clock() - start) / batch)
    return seconds


def windows(*blocks: list[float]) -> Iterator[list[float]]:
    yield from blocks


@pytest.mark.parametrize("batch", [1, 4])
def test_each_round_lasts_as_long_as_its_block_did(batch: int) -> None:
    clock, calls = BlockClock(), []
    upcoming = windows([4.0, 8.0], [12.0, 16.0])
    blocks = BenchmarkBlocks(clock, lambda: next(upcoming), 4, batch, lambda: calls.append(1))
    seconds = rounds(blocks, clock, 4, batch)
    assert seconds == pytest.approx([4 / batch, 8 / batch, 12 / batch, 16 / batch])
    assert blocks.taken == [4.0, 8.0, 12.0, 16.0]
    assert not calls


def test_a_window_is_clocked_only_when_its_first_block_is_wanted_and_never_one_too_many() -> None:
    clock, requested_at = BlockClock(), []

    def window() -> list[float]:
        requested_at.append(clock())
        return [1.0, 1.0, 1.0]

    rounds(BenchmarkBlocks(clock, window, 6, 2, lambda: None), clock, 6, 2)
    assert requested_at == [0.0, 3.0]


def test_when_all_rounds_are_taken_the_case_itself_is_called_and_no_time_passes() -> None:
    clock = BlockClock()
    blocks = BenchmarkBlocks(clock, lambda: [1.0], 1, 1, lambda: "its result")
    assert blocks() is None
    assert [blocks(), blocks()] == ["its result"] * 2
    assert clock() == 1.0


def test_files_name_the_timer() -> None:
    from pytest_benchmark.utils import funcname

    assert funcname(BlockClock()) == "rnnbench"
