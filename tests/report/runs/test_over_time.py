"""What is said, shown and written of runs over time."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.history import History, history
from rnnbench.analysis.stored import StoredRun, together
from rnnbench.report.page.page import files, page_of_several
from rnnbench.report.runs.over_time import MAX_CASE_PANELS, draw_over_time, named_lines, over_time
from rnnbench.report.runs.side_by_side import side_by_side
from rnnbench.report.table import Lines, Section, Table
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.pages import Page, shown
from tests.validation.history_simulated import simulated, stored_run

HOSTILE = 'x.py:<script>alert("1")</script>|_%\\'


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
    first = drawn(changed)
    panels = [first, *getattr(first, "others", ())]
    titles = [title for panel in panels for axes in panel.axes if (title := axes.get_title(loc="left"))]
    assert [title.rpartition(" ")[2] for title in titles[:2]] == ["4", "8"]
    assert len(titles) == MAX_CASE_PANELS


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
