"""The section that compares several runs."""

from dataclasses import replace

import numpy as np
import pytest

from rnnbench.analysis.stored import StoredRun
from rnnbench.analysis.together import together
from rnnbench.report.page.section import Section
from rnnbench.report.page.together import section
from rnnbench.report.words.run_names import named, short
from rnnbench.report.words.units import MISSING
from tests.doubles import workload as small
from tests.doubles.stored import PROCESSOR
from tests.validation.history_simulated import stored_run

CASES = [small.case(cell, batch_size=size) for cell in ("gru", "lstm") for size in range(1, 5)]


def run(index: int, slower: float = 0.0, **worker: str) -> StoredRun:
    logs = np.random.default_rng(index).normal(0.5, 0.002, (len(CASES), 12))
    logs[:4] += slower
    return stored_run(index, CASES, logs, **worker)


@pytest.fixture(scope="module")
def compared() -> Section:
    return section(together([run(0, torch="2.13"), run(1, 0.1, torch="2.14"), run(2, torch="2.13")], 0.025))


def test_the_words_count_the_verdicts_of_each_run_against_the_first(compared: Section) -> None:
    assert compared.paragraphs[0] == (
        "2026-01-01 01:00 (0000000) against 2026-01-01 00:00 (0000000), by the ratios to the reference in each: of 8 "
        "cases 4 slower, 4 same (margin 2.5%)."
    )
    assert "The largest difference: gru loop inference, batch " in compared.paragraphs[1]
    assert "8 same" in compared.paragraphs[2]


def test_only_the_keys_that_differ_are_noted(compared: Section) -> None:
    assert any(note.startswith("worker: torch: 2.13") for note in compared.warnings)
    assert not any("machine" in note for note in compared.warnings)


def test_each_case_has_its_ratio_in_each_run_and_the_change_with_its_verdict(compared: Section) -> None:
    cases, environment = compared.tables
    assert len(cases.rows) == len(CASES)
    assert cases.title == "The same cases in the runs"  # not in all: two are enough
    assert {row[5] for row in cases.rows[:4]} == {"slower"}  # the largest differences first
    assert len(cases.frame) == 3 * len(CASES)
    assert len(environment.headers) == 4
    assert [picture.name for picture in compared.pictures] == ["together"]


def test_a_run_of_another_machine_says_so_in_words_and_in_each_row() -> None:
    other = run(1)
    other.info.environment["machine"] = {"processor": replace(PROCESSOR, stepping="2").to_json()}
    compared = section(together([run(0), other], 0.025))
    assert compared.paragraphs[0] == (
        "2026-01-01 01:00 (0000000) can't be compared with 2026-01-01 00:00 (0000000): processor stepping was 1 and "
        "is 2."
    )
    cases, environment = compared.tables
    assert {row[3:] for row in map(tuple, cases.rows)} == {(MISSING, "incomparable")}
    assert set(cases.frame["verdict"].dropna()) == {"incomparable"}
    [identity] = [row for row in environment.rows if "processor" in row[0]]
    assert [words.partition(";")[0] for words in identity[1:]] == [
        "A Maker family 25 model 17 stepping 1",
        "A Maker family 25 model 17 stepping 2",
    ]


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        ([{"torch": "2.13"}, {"torch": "2.14"}], ["torch 2.13", "torch 2.14"]),
        ([{"torch": "2.13", "cpu": "a"}, {"torch": "2.13", "cpu": "b"}], ["a", "b"]),
        ([{"commit": "abcdef012"}, {"commit": "1234567890"}], ["abcdef0", "1234567"]),
        ([{}, {}], ["2026-01-01 00:00", "2026-01-01 01:00"]),
    ],
)
def test_runs_are_called_by_what_tells_them_apart(facts: list[dict[str, str]], names: list[str]) -> None:
    runs = []
    for index, fact in enumerate(facts):
        stored = run(index)
        stored.info.environment.clear()
        stored.info.environment.update(
            {
                "software": {"packages": {"torch": fact.get("torch")}},
                "machine": {"cpu": fact.get("cpu")},
                "git": {"commit": fact.get("commit")},
            }
        )
        runs.append((stored.name, stored.info))
    assert short(runs) == names


def test_every_run_is_named_with_its_commit_and_date() -> None:
    stored = [run(index) for index in range(3)]
    runs = [(name, stored[0].info) for name in "ABC"]  # of one commit and minute: only their folders differ
    assert named(runs) == [f"{name} (0000000, 2026-01-01 00:00)" for name in "ABC"]
    compared = section(together(stored, 0.025))
    texts = [*compared.paragraphs, *(head for table in compared.tables for head in table.headers[1:4])]
    assert all("(0000000)" in text for text in texts if "2026" in text)


def test_runs_that_cannot_be_compared_for_one_reason_are_named_in_one_sentence() -> None:
    others = [run(index) for index in (1, 2)]
    for other in others:
        other.info.environment["machine"] = {"processor": replace(PROCESSOR, stepping="2").to_json()}
    paragraphs = section(together([run(0), *others], 0.025)).paragraphs
    assert paragraphs[0].startswith("2026-01-01 01:00 (0000000) and 2026-01-01 02:00 (0000000) can't be compared with")
    assert "can't be compared" not in " ".join(paragraphs[1:])
    many = [run(0), *others, run(3)]
    many[3].info.environment["machine"] = others[0].info.environment["machine"]
    (first, *_) = section(together(many, 0.025)).paragraphs
    assert first.startswith("None of the 3 later runs can be compared with 2026-01-01 00:00 (0000000): processor")
