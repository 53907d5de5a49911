"""The notes of a run: a kind that code asks for, words for the reader, and lines that older versions wrote."""

from typing import get_args

import pytest

from rnnbench.store.notes import SHORTFALLS, Note, NoteKind, of_kinds, without_kinds


def test_a_note_is_found_by_its_kind_and_others_stay() -> None:
    unreached = Note("1 of 2: not reached", "budget")
    lost = Note("a worker was lost at cell=gru: killed")
    resumed = Note("rnnbench", "resumed by")
    assert of_kinds([unreached, lost, resumed], ["budget"]) == [unreached]
    assert without_kinds([unreached, lost, resumed], SHORTFALLS) == [lost, resumed]
    assert str(unreached) == "budget: 1 of 2: not reached"


@pytest.mark.parametrize("kind", [*get_args(NoteKind), None])
def test_a_line_of_an_older_version_is_read_as_the_note_that_it_was_made_from(kind: NoteKind | None) -> None:
    note = Note("3 of 4: not reached", kind)
    assert Note.read(str(note)) == note
