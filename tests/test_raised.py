"""What a cell has raised, in words."""

import sys

import pytest

from rnnbench.raised import ending


def raises() -> None:
    raise KeyError("h")


def test_an_exception_is_named_with_its_line_and_an_exit_as_such() -> None:
    for call, words in (
        (raises, "the cell raised KeyError: 'h' (test_raised.py:"),
        (sys.exit, "the cell called sys.exit("),
    ):
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
            call()
        assert ending(caught.value).startswith(words)
