"""Threads that a case leaves running are refused."""

import threading
from collections.abc import Iterator

import pytest

from rnnbench.cells import CellError
from rnnbench.harness.worker.threads import none_left
from tests.doubles import workload as small


@pytest.fixture
def thread() -> Iterator[threading.Thread]:
    """A thread, not yet started, that runs until the end of the test."""
    ended = threading.Event()
    made = threading.Thread(target=ended.wait, name="mine")
    yield made
    ended.set()
    made.join()


def test_a_thread_that_is_left_is_named(thread: threading.Thread) -> None:
    with pytest.raises(CellError, match="it leaves threads running: mine; end"), none_left(small.case("gru")):
        thread.start()


def test_of_many_threads_three_are_named() -> None:
    end = threading.Event()
    made = [threading.Thread(target=end.wait, name=f"mine {number}") for number in range(50)]

    def start_all() -> None:
        with none_left(small.case("gru")):
            for thread in made:
                thread.start()

    try:
        with pytest.raises(CellError, match="running: mine 0, mine 1, mine 10 and 47 more; end"):
            start_all()
    finally:
        end.set()
        for thread in made:
            thread.join()


def test_a_thread_that_ran_before_or_has_ended_is_none_of_the_cases(thread: threading.Thread) -> None:
    ran = []
    thread.start()
    with none_left(small.case("gru")):
        other = threading.Thread(target=lambda: ran.append(True))
        other.start()
        other.join()
    assert ran
    assert thread.is_alive()


def test_a_case_whose_data_processes_load_may_leave_the_threads_that_feed_them(thread: threading.Thread) -> None:
    with none_left(small.case("gru", phase="epoch", samples=8, workers=1)):
        thread.start()
    assert thread.is_alive()
