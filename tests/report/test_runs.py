"""What is said, shown and written of several runs."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.history import History, history
from rnnbench.analysis.stored import StoredRun, together
from rnnbench.check.compare_files import read_saved
from rnnbench.report.page.page import files, folder_of, page_of_several, put
from rnnbench.report.runs import (
    MAX_PANELS,
    draw_over_time,
    named_lines,
    of_files,
    over_time,
    side_by_side,
    summarize,
)
from rnnbench.report.table import Lines, Section, Table
from rnnbench.report.words.names import named
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.pages import Page, shown
from tests.doubles.saved_files import benchmark, side, write
from tests.doubles.stored import PROCESSOR
from tests.validation.history_simulated import simulated, stored_run

HOSTILE = 'x.py:<script>alert("1")</script>|_%\\'
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
    assert named(runs) == names
    assert named([(name, runs[0][1]) for name in "ABC"]) == ["A", "B", "C"]  # only their folders differ


# Over time


@pytest.fixture(scope="module")
def changed() -> History:
    true = np.zeros((20, 16))
    true[3, 9:] += 0.1
    true[7, 5:] -= 0.08
    return simulated(np.random.default_rng(5), true)


@pytest.fixture(scope="module")
def changed_section(changed: History) -> Section:
    return over_time(changed)


def test_a_history_counts_what_changed_and_names_the_largest(
    changed_section: Section, snapshot: SnapshotAssertion
) -> None:
    assert shown(changed_section) == snapshot
    changes, lines = changed_section.of(Table)
    assert changes.frame[["from_run", "to_run"]].iloc[0].tolist() == ["simulated-08", "simulated-09"]
    assert len(lines.frame) == 20 * 16


def drawn(found: History) -> Figure:
    return draw_over_time(found, *named_lines(found))


def test_the_cases_that_changed_are_drawn_first_and_no_more_than_fit(changed: History) -> None:
    figure = drawn(changed)
    titles = [title for axes in figure.axes if (title := axes.get_title(loc="left"))]
    assert [title.rpartition(" ")[2] for title in titles[:2]] == ["4", "8"]
    assert len(titles) == MAX_PANELS


def unchanged(count: int, **worker: list[str]) -> list[StoredRun]:
    """Runs of six cases in which nothing changes; `worker`: a fact of each run."""
    cases = [small.case("gru", batch_size=size) for size in range(1, 7)]
    logs = np.random.default_rng(1).normal(0, 0.01, (count, 6, 6))
    return [
        stored_run(index, cases, logs[index], **{name: facts[index] for name, facts in worker.items()})
        for index in range(count)
    ]


def of_unknown_machines(count: int) -> list[StoredRun]:
    runs = unchanged(5)
    for run in runs[:count]:
        del run.info.environment["machine"]
    return runs


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param(unchanged(6), id="nothing changed"),
        pytest.param(unchanged(8, torch=["2.13"] * 4 + ["2.14"] * 4), id="another torch"),
        pytest.param(unchanged(2, torch=["2.13", "2.14"]), id="no two runs of one environment"),
        pytest.param(of_unknown_machines(3), id="three unknown machines"),
        pytest.param(unchanged(2), id="two runs"),
    ],
)
def test_what_can_not_be_said_is_said(runs: list[StoredRun], snapshot: SnapshotAssertion) -> None:
    of_runs = over_time(history(runs))
    warnings = [line for part in of_runs.of(Lines) for line in part.lines]
    assert [of_runs.of(str), warnings] == snapshot


def test_an_interval_that_tells_nothing_pushes_no_marks_together(changed: History) -> None:
    points = changed.points[changed.points["line"] == 0].copy()
    points.loc[points.index[0], ["ratio_to_reference_low", "ratio_to_reference_high"]] = 1e-6, 1e6
    hopeless = replace(changed, points=points, changes=changed.changes[changed.changes["line"] == 0])
    figure = drawn(hopeless)
    low, high = figure.axes[0].get_ylim()
    assert high / low < 4


# All


def test_hostile_names_are_text_and_every_link_leads_to_a_file() -> None:
    cases = [Case(HOSTILE, "loop", small.workload(batch_size=size)) for size in range(1, 4)]
    logs = np.random.default_rng(1).normal(0, 0.01, (4, 3, 6))
    runs = [stored_run(index, cases, logs[index]) for index in range(4)]
    facts = {"git": {"commit": "<b>", "dirty": True}, "<i>": "<u>"}
    runs[1] = replace(runs[1], info=replace(runs[1].info, environment=facts))
    sections = [over_time(history(runs)), side_by_side(together(runs, 0.025))]
    written = files(page_of_several("<h1>&", sections))
    html = written["index.html"].decode()
    page = Page(html)
    assert not {"b", "i", "u", "iframe"} & set(page.tags)
    assert page.tags.count("script") == 1  # the page's own
    assert HOSTILE in page.text
    assert "Not the same in these runs:" in page.text
    links = [link for link in page.all("href") if link.startswith(("figures/", "tables/"))]
    assert sorted(links) == sorted(name for name in written if name != "index.html")
    assert not re.search(r"@import|url\((?!#)|\bsrc=", html)
    assert b"<script>" not in b"".join(content for name, content in written.items() if name.endswith((".md", ".svg")))


# Files of pytest-benchmark


def page_of(path: Path, out: Path, reference: str | None = None) -> Page:
    saved = read_saved(path, reference)
    file = put(*folder_of("test", [path], out), files(page_of_several(saved.name, [of_files(saved)])))
    return Page(file.read_text(encoding="utf-8"))


def test_one_file_has_no_interval_and_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [benchmark("test_a", [1.0, 1.1, 1.3]), benchmark("test_b", [2.0, 2.1, 2.3])])
    report = page_of(file, tmp_path / "out")
    assert "Time only: no benchmark is a reference." in report.text
    assert "a single file has none" in (tmp_path / "out" / "tables" / "benchmarks.md").read_text(encoding="utf-8")
    assert summarize(read_saved(file))[["seconds_low", "ratio"]].isna().all(axis=None)


def test_several_files_have_intervals_over_processes_and_ratios_to_the_reference(tmp_path: Path) -> None:
    path = side(tmp_path / "before", {"test_a": [2.0, 2.2, 2.5], "test_b": [1.0, 1.1, 1.25]})
    report = page_of(path, tmp_path / "out", "test_b")
    assert "1 benchmark takes 2.00 (test_a) times as long as the reference of the group." in report.text
    assert "before (3 files, commit 0123456)" in report.text
    rows = summarize(read_saved(path, "test_b")).set_index("name")
    assert rows["seconds_low"].notna().all()
    assert rows["is_reference"].to_dict() == {"test_b": True, "test_a": False}
