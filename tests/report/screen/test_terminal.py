import re
from collections.abc import Callable

import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.harness.turns.schedule import Progress
from rnnbench.report.screen.progress import shown_progress
from rnnbench.store.run_info import RunInfo
from tests.doubles import screens
from tests.report.conftest import (
    Summaries,
    renamed,
    with_none_measured,
    with_one_replicate,
    without_any_reference,
)

SUITES = ["quick", "notebook", "cuda", "data", "training"]


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("width", [60, 140])
@pytest.mark.parametrize("suite", SUITES)
def test_no_line_is_wider_than_the_console(
    made_up: Summaries, info: RunInfo, suite: str, width: int, is_full: bool
) -> None:
    assert max(map(len, screens.of_run(made_up(suite), info, width, is_full=is_full).splitlines())) <= width


RUNS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "as measured": lambda few: few,
    "markup and control codes are shown, not obeyed": lambda few: renamed(few, "gru", "[bold]x\x1b[2J:Y"),
    "one replicate": with_one_replicate,
    "no reference": without_any_reference,
    "none measured": with_none_measured,
    "no case": lambda few: few.head(0),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_on_a_terminal(quick: pd.DataFrame, info: RunInfo, run: str, snapshot: SnapshotAssertion) -> None:
    few = quick[(quick["seq_len"] == 16) & (quick["phase"] == "inference") & (quick["batch_size"] == 1)]
    assert screens.of_run(RUNS[run](few), info, 120) == snapshot


def test_a_run_of_many_cases_has_its_medians_and_with_full_every_case(
    quick: pd.DataFrame, info: RunInfo, snapshot: SnapshotAssertion
) -> None:
    text = screens.of_run(quick, info, 80)
    assert text == snapshot
    assert len(text.splitlines()) <= 60
    every = screens.of_run(quick, info, 200, is_full=True)
    assert len(re.findall(r"\d (µs|ms) ", every)) >= (quick["status"] == "measured").sum()


def test_a_run_in_which_nothing_was_measured_has_one_line(quick: pd.DataFrame, info: RunInfo) -> None:
    text = screens.of_run(with_none_measured(quick), info, 1000)
    assert text.count("\n") == 1
    assert "186 skipped; " in text
    assert "no device" in text


@pytest.mark.parametrize("suite", SUITES)
def test_the_answer_comes_last_and_no_column_vanishes_silently(made_up: Summaries, info: RunInfo, suite: str) -> None:
    wide, narrow = (screens.of_run(made_up(suite), info, width) for width in (400, 60))
    assert " times as long as " in wide.splitlines()[-2]
    named = re.findall(r"No room in 60 columns for: ([^.]*)\.", " ".join(narrow.split()))
    assert "No room" not in wide
    if suite == "quick":
        assert named == ["cases, peak memory, times the limit"]


def test_without_a_terminal_counting_says_at_each_quarter_how_long_it_still_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shown_progress() as show:
        for done in range(9):
            show(Progress(4, done, 8, (8.0 - done) if done else None, is_counting=True))
    assert capsys.readouterr().err.splitlines() == [
        "counting instructions: 8 counts",
        "counting instructions: 2 of 8, about 10 s left",
        "counting instructions: 4 of 8, about 10 s left",
        "counting instructions: 6 of 8, about 10 s left",
    ]
