"""What a bisection keeps, and how the next part finds it."""

import math
from pathlib import Path

import pytest

from rnnbench.analysis.bisection import CaseChange
from rnnbench.analysis.estimate import Estimate
from rnnbench.errors import UserError
from rnnbench.harness.bisect.journal import FILE, Journal

QUESTION = {"suite": "mine", "good": "a", "bad": "b", "cases": ["x"]}


def test_results_are_there_in_the_next_part(tmp_path: Path) -> None:
    first = Journal(tmp_path, QUESTION)
    assert "counts a" not in first
    first.add("counts a", {"x": {"operators": 1}}, 3.21)
    unknown = CaseChange("undecided", Estimate(1.0, -math.inf, math.inf))
    first.add("compare a b", {"x": unknown.to_json()}, 3.21)
    assert first["counts a"] == {"x": {"operators": 1}}
    first.close()
    again = Journal(tmp_path, QUESTION)
    assert "counts a" in again
    assert again["counts a"] == {"x": {"operators": 1}}
    assert again.seconds == 3.2
    assert CaseChange.from_json(again["compare a b"]["x"]) == unknown
    again.add("counts b", "it does not run", 5.0)
    again.close()
    assert Journal(tmp_path, QUESTION)["counts b"] == "it does not run"


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    first = Journal(tmp_path, QUESTION)
    first.add("counts a", 1, 1.0)
    first.add("counts b", 2, 2.0)
    first.close()
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-5])
    again = Journal(tmp_path, QUESTION)
    assert "counts a" in again
    assert "counts b" not in again
    again.add("counts b", 2, 2.0)
    again.close()
    assert (tmp_path / FILE).read_bytes() == whole


def test_another_question_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path, QUESTION).close()
    with pytest.raises(UserError, match=r"it holds another bisection \(good a\); give the same revisions"):
        Journal(tmp_path, QUESTION | {"good": "c"})
    with pytest.raises(UserError, match=r"it holds another bisection \(other cases\)"):
        Journal(tmp_path, QUESTION | {"cases": ["y"]})
    (tmp_path / FILE).write_text('{"unlike": 1}\n')
    with pytest.raises(UserError, match="it holds no bisection"):
        Journal(tmp_path, QUESTION)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"measured": "a", "seconds": 1.0}', "line 2: result: missing"),
        ('{"measured": "a", "seconds": "long", "result": 1}', "line 2: seconds: expected a number of 0 or more, found"),
    ],
)
def test_a_line_that_is_no_result_is_refused_with_its_place(tmp_path: Path, line: str, words: str) -> None:
    Journal(tmp_path, QUESTION).close()
    with (tmp_path / FILE).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=rf"bisect\.jsonl, {words}"):
        Journal(tmp_path, QUESTION)


def test_one_process_at_a_time_goes_on_with_a_bisection(tmp_path: Path) -> None:
    first = Journal(tmp_path, QUESTION)
    with pytest.raises(UserError, match="another rnnbench is writing to this run"):
        Journal(tmp_path, QUESTION)
    first.close()
    Journal(tmp_path, QUESTION).close()
