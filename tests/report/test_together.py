"""The section that compares several runs."""

from dataclasses import replace

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.stored import StoredRun, together
from rnnbench.report.table import Section
from rnnbench.report.together import section
from rnnbench.report.words.names import named, short
from tests.doubles import workload as small
from tests.doubles.pages import shown
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


def elsewhere(index: int) -> StoredRun:
    """A run of another machine."""
    stored = run(index)
    stored.info.environment["machine"] = {"processor": replace(PROCESSOR, stepping="2").to_json()}
    return stored


def test_each_case_has_its_ratio_in_each_run_and_the_change_with_its_verdict(
    compared: Section, snapshot: SnapshotAssertion
) -> None:
    assert shown(compared) == snapshot
    assert len(compared.tables[0].frame) == 3 * len(CASES)


@pytest.mark.parametrize("later", [1, 2])
def test_runs_of_another_machine_are_not_compared(later: int, snapshot: SnapshotAssertion) -> None:
    compared = section(together([run(0), *map(elsewhere, range(1, later + 1))], 0.025))
    assert compared.paragraphs == snapshot
    assert set(compared.tables[0].frame["verdict"].dropna()) == {"incomparable"}


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
