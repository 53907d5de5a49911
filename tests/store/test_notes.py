"""The notes of a run that code asks for: a line is its kind and its words."""

from rnnbench.store.notes import SHORTFALLS, kind_of, note, of_kinds, without_kinds, words_of


def test_a_note_is_found_by_its_kind_and_others_stay() -> None:
    lines = [
        note("budget", "1 of 2: not reached"),
        "a worker was lost at cell=gru: killed",
        note("resumed by", "rnnbench"),
    ]
    assert of_kinds(lines, ["budget"]) == ["budget: 1 of 2: not reached"]
    assert without_kinds(lines, SHORTFALLS) == lines[1:]
    assert (kind_of(lines[0]), words_of(lines[0])) == ("budget", "1 of 2: not reached")
