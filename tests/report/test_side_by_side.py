"""What is said, shown and written of runs side by side."""

from dataclasses import replace

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.stored import StoredRun, together
from rnnbench.report.page.page import files, page_of_several
from rnnbench.report.side_by_side import side_by_side
from rnnbench.report.table import Section, Table
from rnnbench.report.words.names import run_labels
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.pages import Page, shown
from tests.doubles.stored import PROCESSOR, stored_run

HOSTILE = "x.py:<script>alert(1)</script>"
CASES = [small.case(cell, batch_size=size) for cell in ("gru", "lstm") for size in range(1, 5)]


def run(index: int, slower: float = 0.0, **worker: str) -> StoredRun:
    logs = np.random.default_rng(index).normal(0.5, 0.002, (len(CASES), 12))
    logs[:4] += slower
    return stored_run(index, CASES, logs, **worker)


@pytest.fixture(scope="module")
def compared() -> Section:
    return side_by_side(together([run(0, torch="2.13"), run(1, 0.1, torch="2.14"), run(2, torch="2.13")], 0.025))


def elsewhere(index: int) -> StoredRun:
    """A run of another machine."""
    stored = run(index)
    stored.info.environment["machine"] = {"processor": replace(PROCESSOR, stepping="2").to_json()}
    return stored


def test_each_case_has_its_ratio_in_each_run_and_the_change_with_its_verdict(
    compared: Section, snapshot: SnapshotAssertion
) -> None:
    assert shown(compared) == snapshot
    assert len(compared.of(Table)[0].frame) == 3 * len(CASES)


def test_hostile_names_are_text_on_the_page() -> None:
    hostile = [Case(HOSTILE, "loop", small.workload(batch_size=size)) for size in range(1, 4)]
    runs = [stored_run(index, hostile, np.full((3, 6), 0.1)) for index in range(2)]
    written = files(page_of_several("<h1>&", [side_by_side(together(runs, 0.025))]))
    page = Page(written["index.html"].decode())
    assert page.tags.count("script") == 1  # the page's own
    assert page.tags.count("h1") == 1
    assert HOSTILE in page.text


def test_a_fact_that_differs_between_runs_is_a_line_and_so_is_a_processor() -> None:
    other = elsewhere(1)
    other.info.environment.update({"worker": {"torch": "2"}, "load": {"load_average": 3}})
    differ = side_by_side(together([run(0), other], 0.025)).of(Table)[1].frame
    assert differ["what"].tolist() == ["git: commit", "machine: processor", "worker: torch"]
    assert differ["simulated-01"].str.contains("stepping 2").tolist() == [False, True, False]


@pytest.mark.parametrize("later", [1, 2])
def test_runs_of_another_machine_are_not_compared(later: int, snapshot: SnapshotAssertion) -> None:
    compared = side_by_side(together([run(0), *map(elsewhere, range(1, later + 1))], 0.025))
    assert compared.of(str) == snapshot
    assert set(compared.of(Table)[0].frame["verdict"].dropna()) == {"incomparable"}


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        ([{"torch": "2.13"}, {"torch": "2.14"}], ["torch 2.13, 2026-01-01 00:00", "torch 2.14, 2026-01-01 01:00"]),
        ([{"torch": "2.13", "cpu": "a"}, {"torch": "2.13"}], ["a, 2026-01-01 00:00", "2026-01-01 01:00"]),
        (
            [{"commit": "abcdef012"}, {"commit": "1234567890"}],
            ["abcdef0, 2026-01-01 00:00", "1234567, 2026-01-01 01:00"],
        ),
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
    assert run_labels(runs) == names
    assert run_labels([(name, runs[0][1]) for name in "ABC"]) == ["A", "B", "C"]  # only their folders differ
