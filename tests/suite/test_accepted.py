"""The file of accepted regressions: what is read, and what is refused with its place and what would be right."""

from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.suite.accepted import pairs_in, read_accepted
from rnnbench.suite.places import shipped
from tests.doubles import workload as small

CASES = [small.case("gru", phase=phase) for phase in ("training", "inference")]
ENTRY = """
[[accepted]]
case = "cell=gru phase=training"
commit = "1a2b3c4"
reason = "the gates are clipped now"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "accepted.toml"
    file.write_text(text)
    return file


def test_an_entry_selects_cases_as_only_does(tmp_path: Path) -> None:
    [entry] = read_accepted(written(tmp_path, ENTRY), CASES)
    assert [entry.selects(case) for case in CASES] == [True, False]
    assert (entry.place, entry.commit, entry.reason) == ("accepted[0]", "1a2b3c4", "the gates are clipped now")
    whole = ENTRY.replace("cell=gru phase=training", CASES[1].key.replace('"', '\\"'))
    [entry] = read_accepted(written(tmp_path, whole), CASES)  # a case as every output names it
    assert [entry.selects(case) for case in CASES] == [False, True]


@pytest.mark.parametrize("text", ["up_to = '12%'", "up_to = 0.12"])
def test_a_change_that_is_surely_larger_than_the_entry_allows_is_not_accepted(tmp_path: Path, text: str) -> None:
    [bounded] = read_accepted(written(tmp_path, ENTRY + text), CASES)
    assert [bounded.allows(lower) for lower in (None, 1.1, 1.13)] == [True, True, False]
    [free] = read_accepted(written(tmp_path, ENTRY), CASES)
    assert free.allows(9.0)


def test_without_a_file_nothing_is_accepted(tmp_path: Path) -> None:
    assert read_accepted(tmp_path / "accepted.toml", CASES) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[accepted", "can't be read as TOML: "),
        ("", "no table; expected tables, each below a line [[accepted]]"),
        ("[accepted]\ncase = 'cell=gru'", "accepted: expected tables, each below a line [[accepted]]"),
        (f"accept = 1\n{ENTRY}", "accept: unknown key; expected tables, each below a line [[accepted]]"),
        (ENTRY + "comit = 'a'", "accepted[0].comit: unknown key (did you mean 'commit'?)"),
        (ENTRY + ENTRY.replace("reason", "#"), "accepted[1].reason: missing; an entry has case, commit and reason"),
        (ENTRY.replace("the gates are clipped now", " "), "accepted[0].reason: ' ': expected a text"),
        (ENTRY.replace('"1a2b3c4"', "1234567"), "accepted[0].commit: expected text, found 1234567"),
        (ENTRY.replace("phase=training", "fase=training"), "accepted[0].case: fase=training: no axis 'fase'"),
        (ENTRY.replace("phase=training", "phase"), "accepted[0].case: phase: expected phase=VALUE"),
        (ENTRY + "up_to = 12", "accepted[0].up_to: 12: 12 must be between 0% and 100%, such as 2% or 0.02"),
    ],
)
def test_a_fault_is_told_by_file_key_and_value_with_what_would_be_right(tmp_path: Path, text: str, words: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UserError) as refused:
        read_accepted(file, CASES)
    assert str(refused.value).startswith(f"{file}: {words}")


def test_of_an_older_version_the_case_and_the_commit_are_read_and_faults_pass() -> None:
    assert pairs_in(ENTRY) == {("cell=gru phase=training", "1a2b3c4")}
    for text in ("", "[[accepted", "accepted = 1", "[[accepted]]\ncase = 'a'"):
        assert pairs_in(text) == set()


def test_the_file_is_no_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suites").mkdir()
    written(tmp_path / "suites", ENTRY)
    (tmp_path / "suites" / "mine.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert "mine" in shipped()
    assert "accepted" not in shipped()
