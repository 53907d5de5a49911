"""What a history says, shows and writes."""

from dataclasses import replace

import numpy as np
import pytest

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.history import History, history
from rnnbench.report.figures.several_runs import figure_history
from rnnbench.report.figures.several_runs.panels import MAX_PANELS
from rnnbench.report.page.history import section
from rnnbench.report.page.section import Section
from rnnbench.report.words.case_names import names
from tests.doubles import workload as small
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


def test_the_words_count_what_changed_and_name_the_largest(changed_section: Section) -> None:
    words = " ".join(changed_section.paragraphs)
    assert "Of 20 cases over 16 runs on 2026-01-01, 1 became slower and 1 became faster" in words
    assert "The largest slowdown: gru loop inference, batch 4, 1" in words
    assert "since 2026-01-01 09:00 0000000" in words
    assert "The ratios of an unchanged case in two runs in a row differ by 1." in words
    assert "% (standard deviation) more than their own intervals say." in words
    assert "drifted" not in words
    assert changed_section.warnings == []


def test_the_first_rows_are_the_significant_changes_and_say_between_which_runs(changed_section: Section) -> None:
    changes, lines, runs = changed_section.tables
    assert changes.rows[0][0] == "gru loop inference, batch 4"
    assert [row[4] for row in changes.rows[:2]] == ["yes", "yes"]
    assert "yes" not in [row[4] for row in changes.rows[2:]]
    assert changes.frame.loc[0, "from_run"] == "simulated-08"
    assert changes.frame.loc[0, "to_run"] == "simulated-09"
    assert len(lines.rows) == 20
    assert len(lines.frame) == 20 * 16
    assert runs.rows[9] == ("simulated-09", "2026-01-01 09:00", "0000000", "20")


def test_a_drift_is_told_without_a_run_and_drawn_as_a_slope() -> None:
    true = np.zeros((6, 40))
    true[2] = np.linspace(0, np.log(1.05), 40)
    drifting = simulated(np.random.default_rng(3), true)
    page_section = section(drifting)
    words = " ".join(page_section.paragraphs)
    assert "1 became slower against their reference" in words
    assert "gradually over 40 runs, at no single run." in words
    assert "1 case drifted: a straight line over the runs fits at least as well as steps" in words
    changes, lines, _ = page_section.tables
    assert changes.rows[0][3] == "2026-01-01 00:00 0000000 → 2026-01-02 15:00 0000000, gradually"
    assert changes.frame.loc[0, "is_gradual"]
    assert any(row[-1].endswith("gradually") for row in lines.rows)
    [line] = [line for line in drifting.lines if line.significant]
    figure = figure_history.render(drifting, names([line.case for line in drifting.lines]))
    assert figure is not None
    panel = figure.axes[0]
    assert panel.texts[0].get_text().endswith("gradually")
    slope = [level.value for level in line.levels]
    assert any(np.array_equal(np.asarray(drawn.get_ydata()), slope) for drawn in panel.lines)


def test_the_cases_that_changed_are_drawn_first_and_no_more_than_fit(changed: History) -> None:
    drawn = [case.workload.batch_size for case in figure_history.telling(changed)]
    assert drawn[:2] == [4, 8]
    assert len(drawn) == MAX_PANELS


def test_nothing_that_changed_is_said_too() -> None:
    quiet = section(simulated(np.random.default_rng(5), np.zeros((6, 6))))
    assert "none changed for good" in quiet.paragraphs[0]
    assert "yes" not in [row[4] for row in quiet.tables[0].rows]


def test_an_environment_that_changes_is_noted_and_not_compared() -> None:
    cases = [small.case("gru", batch_size=size) for size in range(1, 7)]
    logs = np.random.default_rng(1).normal(0, 0.01, (8, 6, 6))
    runs = [stored_run(index, cases, logs[index], torch=f"2.{13 + index // 4}") for index in range(8)]
    page_section = section(history(runs))
    assert page_section.warnings == [
        "Environment 2, 4 runs since 2026-01-01 04:00: torch was '2.13' and is '2.14'. "
        "Its runs are not compared with those before."
    ]
    assert "environment" in page_section.tables[1].headers


def test_without_two_runs_of_one_environment_nothing_is_claimed() -> None:
    cases = [small.case("gru")]
    runs = [stored_run(index, cases, np.zeros((1, 6)), torch=str(index)) for index in range(2)]
    page_section = section(history(runs))
    assert page_section.paragraphs == [
        "No case was measured beside its reference in two runs of the same environment, so nothing can be said."
    ]
    assert page_section.pictures == []


@pytest.mark.parametrize(("count", "words"), [(1, ("1 run was", "is")), (3, ("3 runs were", "are"))])
def test_runs_of_an_unknown_machine_are_noted(count: int, words: tuple[str, str]) -> None:
    runs = [stored_run(index, [small.case("gru")], np.zeros((1, 6))) for index in range(5)]
    for run in runs[:count]:
        del run.info.environment["machine"]
    page_section = section(history(runs))
    assert page_section.warnings == [
        f"{words[0]} made by an rnnbench that did not record the machine's identity, and {words[1]} left out."
    ]


@pytest.mark.parametrize("runs", [2, 3])
def test_of_too_few_runs_nothing_is_said_to_have_lasted_or_not(runs: int) -> None:
    true = np.zeros((6, runs))
    true[:, -1] = 0.4  # half as slow again, which one run alone can't show to last
    paragraphs = section(simulated(np.random.default_rng(5), true)).paragraphs
    assert paragraphs == [
        f"6 cases over {runs} runs on 2026-01-01: too few for a lasting change, which takes two before and two after."
    ]


def test_an_interval_that_tells_nothing_pushes_no_marks_together(changed: History) -> None:
    line = changed.lines[0]
    first = replace(line.points[0], ratio=Estimate(line.points[0].ratio.value, 1e-6, 1e6))
    hopeless = replace(changed, lines=(replace(line, points=(first, *line.points[1:])),))
    figure = figure_history.render(hopeless, names([line.case]))
    assert figure is not None
    low, high = figure.axes[0].get_ylim()
    assert high / low < 4
