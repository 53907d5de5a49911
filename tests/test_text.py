import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.text import ending, error_in_words, first_few, last_line, printable, writable

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANY_TEXT)
def test_every_text_can_be_written_and_what_could_be_before_stays(text: str) -> None:
    assert writable(text).encode("utf-8").decode("utf-8") == writable(text)
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert writable(text) == text


@given(ANY_TEXT)
def test_what_is_printable_is_one_line(text: str) -> None:
    assert len(printable(text).splitlines()) <= 1
    assert "\x1b" not in printable(text)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no str")


def test_every_error_can_be_told() -> None:
    assert error_in_words(ValueError(" no size\nmore")) == "ValueError: no size"
    assert error_in_words(NotImplementedError()) == "NotImplementedError"
    assert error_in_words(Mute()) == "Mute: its message can't be shown, since its __str__ raises ValueError"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: {"x": 1}["h"], "the cell raised KeyError: 'h' (test_text.py:"),
        (sys.exit, "the cell called sys.exit("),
    ],
)
def test_an_exception_is_named_with_its_line_and_an_exit_as_such(call: Callable[[], object], words: str) -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        call()
    assert ending(caught.value).startswith(words)


def test_the_last_line_is_not_an_empty_one() -> None:
    assert last_line("first\nlast\n\n") == "last"
    assert last_line(" \n") == ""


def test_of_many_words_the_first_few_stand_and_a_count() -> None:
    assert first_few(["a", "b"], 2) == "a and b"
    assert first_few(["a", "b", "c", "d"], 2) == "a, b and 2 more"
