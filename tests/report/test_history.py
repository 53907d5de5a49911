"""What a history says, shows and writes."""

from dataclasses import replace

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.history import History, history
from rnnbench.analysis.stored import StoredRun
from rnnbench.report.history import MAX_PANELS, draw, section
from rnnbench.report.table import Section, Warnings
from rnnbench.report.words.names import names
from tests.doubles import workload as small
from tests.doubles.pages import shown
from tests.validation.history_simulated import simulated, stored_run


@pytest.fixture(scope="module")
def changed() -> History:
    true = np.zeros((20, 16))
    true[3, 9:] += 0.1
    true[7, 5:] -= 0.08
    return simulated(np.random.default_rng(5), true)


@pytest.fixture(scope="module")
def changed_section(changed: History) -> Section:
    return section(changed)


def test_a_history_counts_what_changed_and_names_the_largest(
    changed_section: Section, snapshot: SnapshotAssertion
) -> None:
    assert shown(changed_section) == snapshot
    changes, lines = changed_section.tables
    assert changes.frame[["from_run", "to_run"]].iloc[0].tolist() == ["simulated-08", "simulated-09"]
    assert len(lines.frame) == 20 * 16


def test_the_cases_that_changed_are_drawn_first_and_no_more_than_fit(changed: History) -> None:
    figure = draw(changed, names([line.case for line in changed.lines]))
    assert figure is not None
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
    of_runs = section(history(runs))
    warnings = [line for part in of_runs.parts if isinstance(part, Warnings) for line in part.lines]
    assert [of_runs.paragraphs, warnings] == snapshot


def test_an_interval_that_tells_nothing_pushes_no_marks_together(changed: History) -> None:
    line = changed.lines[0]
    first = replace(line.points[0], ratio=Estimate(line.points[0].ratio.value, 1e-6, 1e6))
    hopeless = replace(changed, lines=(replace(line, points=(first, *line.points[1:])),))
    figure = draw(hopeless, names([line.case]))
    assert figure is not None
    low, high = figure.axes[0].get_ylim()
    assert high / low < 4
