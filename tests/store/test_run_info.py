"""The notes of a run: a kind that code asks for, and words for the reader."""

from rnnbench.store.run_info import SHORTFALLS, Note, of_kinds, without_kinds


def test_a_note_is_found_by_its_kind_and_others_stay() -> None:
    unreached = Note("1 of 2: not reached", "budget")
    lost = Note("a worker was lost at cell=gru: killed")
    resumed = Note("rnnbench", "resumed by")
    assert of_kinds([unreached, lost, resumed], ["budget"]) == [unreached]
    assert without_kinds([unreached, lost, resumed], SHORTFALLS) == [lost, resumed]
    assert str(unreached) == "budget: 1 of 2: not reached"
