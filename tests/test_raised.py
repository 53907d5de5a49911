"""What a cell has raised, told apart from what a signal has raised."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from rnnbench.raised import ending, is_interrupt


def raised(call: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        call()
    return caught.value


def raises() -> None:
    raise KeyboardInterrupt


def raises_again() -> None:
    try:
        waits()
    except KeyboardInterrupt:
        time.sleep(0)
        raise


def waits() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)


def works() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        pass


def exits() -> None:
    sys.exit(0)


@pytest.fixture(params=["of Python", "own"])
def _handler(request: pytest.FixtureRequest) -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handler = signal.default_int_handler if request.param == "of Python" else interrupt
    before = signal.signal(signal.SIGINT, handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_handler")
@pytest.mark.parametrize("call", [waits, works, raises_again])
def test_a_signal_interrupts(call: Callable[[], None]) -> None:
    assert is_interrupt(raised(call))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (raises, "the cell raised KeyboardInterrupt (test_raised.py:"),
        (exits, "the cell called sys.exit(0) (test_raised.py:"),
    ],
)
def test_what_a_cell_raises_by_itself_is_no_interrupt(call: Callable[[], None], words: str) -> None:
    error = raised(call)
    assert not is_interrupt(error)
    assert ending(error).startswith(words)
