import re
from collections.abc import Callable

import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.screen import terminal
from rnnbench.report.tables import table_medians
from rnnbench.store import metrics
from rnnbench.store.metrics import Metric
from rnnbench.store.run_info import RunInfo
from tests.report.conftest import (
    Summaries,
    of_an_older_version,
    renamed,
    with_none_measured,
    with_one_replicate,
    with_unknown_metrics,
    without_reference,
)


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("suite", ["quick", "notebook", "cuda", "data", "training"])
def test_no_line_is_wider_than_the_console(made_up: Summaries, info: RunInfo, suite: str, width: int) -> None:
    assert max(map(len, terminal.text(made_up(suite), info, width).splitlines())) <= width


RUNS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "as measured": lambda few: few,
    "cold caches": lambda few: few.assign(caches="cold"),
    "a suspect cell": lambda few: few.assign(suspicion=few["cell"].map({"gru": "torch shows 12%"}).fillna("")),
    "markup and control codes are shown, not obeyed": lambda few: renamed(few, "gru", "[bold]x\x1b[2J:Y"),
    "one replicate": with_one_replicate,
    "none measured": with_none_measured,
    "no reference": without_reference,
    "an older version": of_an_older_version,
    "metrics that are not known": with_unknown_metrics,
    "no case": lambda few: few.head(0),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_on_a_terminal(quick: pd.DataFrame, info: RunInfo, run: str, snapshot: SnapshotAssertion) -> None:
    few = quick[(quick["seq_len"] == 16) & (quick["phase"] == "inference") & (quick["batch_size"] == 1)]
    assert terminal.text(RUNS[run](few), info, 120) == snapshot


def test_axes_become_headings_where_there_is_no_room_for_columns(
    quick: pd.DataFrame, info: RunInfo, snapshot: SnapshotAssertion
) -> None:
    assert terminal.text(quick, info, 80) == snapshot


@pytest.mark.parametrize("width", [80, 100])
def test_each_case_has_one_line_with_time_and_ratio_in_the_same_columns(
    quick: pd.DataFrame, info: RunInfo, width: int
) -> None:
    cases, _, _ = terminal.text(quick, info, width).partition("Over all sizes")
    ends = [match.end() for match in re.finditer(r" [\d.]+ (µs|ms)", cases)]
    columns = {end - cases.rfind("\n", 0, end) for end in ends}
    assert len(ends) == (quick["status"] == "measured").sum()
    assert len(columns) == 1


def test_a_brief_metric_that_is_added_is_a_column(
    quick: pd.DataFrame, info: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = Metric("flips", "bit flips", "count", "", "calls", is_brief=True)
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, added))
    assert "bit flips" not in terminal.text(quick, info, 140)
    assert "bit flips" in terminal.text(quick.assign(flips=3), info, 140)


def test_no_median_is_cut_off_where_names_and_devices_take_the_room(made_up: Summaries, info: RunInfo) -> None:
    mixed = pd.concat([made_up("quick"), made_up("quick").assign(device="cuda"), made_up("quick").assign(dtype="tf32")])
    long = renamed(mixed.reset_index(drop=True), "lstm", "package.of_mine:MyLSTMCellThatIsBest")
    _, _, medians = terminal.text(long, info, 80).partition("Over all sizes")
    table = medians.partition("On cpu and cuda")[0]
    shown = table_medians.render(long).rows
    assert table.count("agrees") == sum(row[-1] == "agrees" for row in shown)
    assert re.findall(r"[\d.]+×", table) == [row[-4] for row in shown if row[-4] != "—"]
