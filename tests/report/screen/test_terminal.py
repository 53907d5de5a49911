import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import SHARED, UNDISTURBED, summarize
from rnnbench.harness.turns.schedule import Progress
from rnnbench.report.screen.medians import ScreenColumn, grid
from rnnbench.report.screen.progress import shown_progress
from rnnbench.store.folder import read_info
from rnnbench.store.run_info import RunInfo
from tests.doubles import screens, streams
from tests.doubles.every_page import QUICK
from tests.report.conftest import (
    Summaries,
    renamed,
    with_none_measured,
    with_one_replicate,
    without_any_reference,
)

SUITES = ["quick", "notebook", "cuda", "data", "training"]


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("width", [40, 60, 80, 140])
@pytest.mark.parametrize("suite", SUITES)
def test_no_line_is_wider_than_the_console(
    made_up: Summaries, info: RunInfo, suite: str, width: int, is_full: bool
) -> None:
    assert max(map(len, screens.of_run(made_up(suite), info, width, is_full=is_full).splitlines())) <= width


def noisy(quick: pd.DataFrame) -> pd.DataFrame:
    own = ~quick["implementation"].eq("torch.nn")
    return quick.assign(
        ratio_low=quick["ratio_low"].where(~own, quick["ratio"] * 0.71),
        ratio_high=quick["ratio_high"].where(~own, quick["ratio"] * 1.41),
    )


def few(quick: pd.DataFrame) -> pd.DataFrame:
    return quick[(quick["seq_len"] == 16) & (quick["phase"] == "inference") & (quick["batch_size"] == 1)]


def of_gru(quick: pd.DataFrame) -> pd.DataFrame:
    return quick[quick["reference"].eq("gru") & quick["implementation"].isin(["loop", "torch.nn"])]


RUNS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "many cases": lambda quick: quick,
    "noisy": noisy,
    "some on a shared core": lambda quick: quick.assign(state=np.where(quick["hidden_size"] > 64, SHARED, UNDISTURBED)),
    "few cases have a row each": few,
    "one case": lambda quick: of_gru(few(quick)).head(2),
    "a cell of a file": lambda quick: renamed(of_gru(quick), "gru", "cells/my_gru.py:MyGRU"),
    "markup and control codes are shown, not obeyed": lambda quick: renamed(few(quick), "gru", "[bold]x\x1b[2J:Y"),
    "one replicate": with_one_replicate,
    "no reference": without_any_reference,
    "none measured": lambda quick: with_none_measured(few(quick)),
    "many failed": lambda quick: pd.concat([quick.head(90), with_none_measured(quick.tail(96), "failed", "boom")]),
    "no case": lambda quick: quick.head(0),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_on_a_terminal(quick: pd.DataFrame, info: RunInfo, run: str, snapshot: SnapshotAssertion) -> None:
    assert screens.of_run(RUNS[run](quick), info, 80) == snapshot


def test_streams_have_a_table_of_their_own(tmp_path: Path, info: RunInfo, snapshot: SnapshotAssertion) -> None:
    assert screens.of_run(streams.summary(tmp_path, period=1e-3, steps=400), info, 80) == snapshot


@pytest.mark.parametrize(("change", "most"), [(lambda quick: quick, 22), (noisy, 24)])
def test_a_run_of_many_cases_fits_one_screen(
    quick: pd.DataFrame, info: RunInfo, change: Callable[[pd.DataFrame], pd.DataFrame], most: int
) -> None:
    lines = screens.of_run(change(quick), info, 80).splitlines()
    assert len(lines) + 2 <= most  # the command adds how to go on, and how to make the page
    assert not [line for line in lines if line.startswith("No room")]


def test_the_reference_run_fits_one_screen() -> None:
    lines = screens.of_run(summarize(read_run_times(QUICK)), read_info(QUICK), 80).splitlines()
    assert len(lines) + 2 <= 24
    assert not [line for line in lines if line.startswith("No room")]


def test_with_full_every_case_has_a_row_with_its_costs_and_the_answer_is_the_same(
    quick: pd.DataFrame, info: RunInfo
) -> None:
    brief = screens.of_run(quick, info, 200)
    every = screens.of_run(quick, info, 200, is_full=True)
    assert len(re.findall(r"\d (µs|ms) ", every)) >= (quick["status"] == "measured").sum()
    assert "peak" in every
    assert "peak" not in brief
    assert brief.partition("\n\ntime over")[0] in every


@pytest.mark.parametrize("width", [40, 80])
def test_with_full_no_size_that_tells_rows_apart_has_no_room_and_the_file_of_the_cells_is_told_once(
    quick: pd.DataFrame, info: RunInfo, width: int
) -> None:
    cells = renamed(quick, "gru", "models/of_a_long_name/recurrent_cells.py:MyRecurrentCell")
    text = screens.of_run(cells, info, width, is_full=True)
    left_out = " ".join(text.split()).partition("No room in")[2]
    table = text.partition("Everywhere")[2]
    assert "MyRecurrentCell loop" in text
    assert table.count("recurrent_cells.py") <= 1
    for axis in ("phase", "batch", "length", "hidden"):
        assert axis not in left_out
    for axis in ("batch", "length", "hidden"):
        assert axis in table


def test_a_noisy_run_says_so_first_and_counts_in_place_of_ranges(quick: pd.DataFrame, info: RunInfo) -> None:
    text = " ".join(screens.of_run(noisy(quick), info, 80).split())
    assert text.index("NOISY: ") < text.index("Slower than ")
    assert "NOISY: a typical interval reaches from 0.710 to 1.41 times its ratio. Trust the counts" in text
    assert " 8 of 8 " in text
    assert "range" not in text


@pytest.mark.parametrize("suite", SUITES)
def test_the_answer_comes_first_and_no_column_vanishes_silently(made_up: Summaries, info: RunInfo, suite: str) -> None:
    wide, narrow = (screens.of_run(made_up(suite), info, width) for width in (400, 60))
    assert " comparisons, " in wide.splitlines()[2]
    headers = {word for line in wide.splitlines() for word in ("range", "unclear", "outputs") if word in line.split()}
    named = re.findall(r"No room in 60 columns for: ([^.]*)\.", " ".join(narrow.split()))
    assert "No room" not in wide
    for header in headers:
        assert header in narrow.split() or any(header in names for names in named)


def test_a_name_that_has_no_room_is_folded() -> None:
    columns = [ScreenColumn("inference", "median", ("1.00×",))]
    [table] = grid("time over\ntorch.nn's", ["a_very_long_name_of_a_cell hoisted"], columns, 30)
    assert screens.text(table, 30).splitlines()[2:] == ["a_very_long_name_of      1.00×", "_a_cell hoisted"]


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
