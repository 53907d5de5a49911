import re

import pandas as pd
import pytest

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


@pytest.mark.parametrize("width", [80, 100])
def test_each_case_has_one_line_with_time_and_ratio_in_the_same_columns(
    quick: pd.DataFrame, info: RunInfo, width: int
) -> None:
    cases, _, _ = terminal.text(quick, info, width).partition("Over all sizes")
    ends = [match.end() for match in re.finditer(r" [\d.]+ (µs|ms)", cases)]
    columns = {end - cases.rfind("\n", 0, end) for end in ends}
    assert len(ends) == (quick["status"] == "measured").sum()
    assert len(columns) == 1


def test_constant_axes_stand_once_and_varying_ones_are_columns(quick: pd.DataFrame, info: RunInfo) -> None:
    text = terminal.text(quick, info, 120)
    assert text.count("float32") == 1
    assert re.search(r"batch +length +hidden +layers +cell +time", text)


def test_flushed_caches_are_told_above_the_cases_and_in_the_answer(quick: pd.DataFrame, info: RunInfo) -> None:
    cold = terminal.text(quick.assign(caches="cold"), info, 200)
    assert "cold caches. Ratios" in cold
    assert cold.count("caches flushed before every call") == 1
    assert "caches" not in terminal.text(quick, info, 200)


def test_axes_become_headings_where_there_is_no_room_for_columns(quick: pd.DataFrame, info: RunInfo) -> None:
    assert "\ninference, batch 1, length 16\n" in terminal.text(quick, info, 80)
    assert "\ninference, batch 1, length 16\n" not in terminal.text(quick, info, 120)


def test_metrics_that_are_brief_are_columns_and_the_first_to_go(quick: pd.DataFrame, info: RunInfo) -> None:
    assert re.search(r"interval +memory +limit +note", terminal.text(quick, info, 120))
    assert "memory" not in terminal.text(quick, info, 80)
    assert "95%" in terminal.text(quick, info, 80)


def test_a_brief_metric_that_is_added_is_a_column(
    quick: pd.DataFrame, info: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = Metric("flips", "bit flips", "count", "", "calls", is_brief=True)
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, added))
    assert "bit flips" not in terminal.text(quick, info, 140)
    assert "bit flips" in terminal.text(quick.assign(flips=3), info, 140)


def test_repeated_sizes_are_blank(quick: pd.DataFrame, info: RunInfo) -> None:
    lines = terminal.text(quick, info, 120).splitlines()
    first = next(index for index, line in enumerate(lines) if "torch.nn.RNN " in line)
    assert lines[first].split()[:4] == ["1", "16", "64", "1"]
    assert lines[first + 1].split()[:2] == ["vanilla", "loop"]


def test_a_skipped_case_keeps_its_line_and_its_reason_stands_once(quick: pd.DataFrame, info: RunInfo) -> None:
    text = terminal.text(quick, info, 100)
    assert text.count("skipped   ") == (quick["status"] == "skipped").sum()
    assert text.count("(1) combined has one product over input and state") == 1


def test_a_cell_that_was_not_compared_is_marked(quick: pd.DataFrame, info: RunInfo) -> None:
    text = terminal.text(quick, info, 140)
    assert text.count("no parity check (2)") == 2
    assert "(2) not compared: layer l reads layer l-1's state" in text


def test_no_median_is_cut_off_where_names_and_devices_take_the_room(made_up: Summaries, info: RunInfo) -> None:
    mixed = pd.concat([made_up("quick"), made_up("quick").assign(device="cuda"), made_up("quick").assign(dtype="tf32")])
    long = renamed(mixed.reset_index(drop=True), "lstm", "package.of_mine:MyLSTMCellThatIsBest")
    _, _, medians = terminal.text(long, info, 80).partition("Over all sizes")
    table = medians.partition("On cpu and cuda")[0]
    shown = table_medians.render(long).rows
    assert table.count("agrees") == sum(row[-1] == "agrees" for row in shown)
    assert re.findall(r"[\d.]+×", table) == [row[-4] for row in shown if row[-4] != "—"]


def test_the_answer_and_the_counts_come_last(quick: pd.DataFrame, info: RunInfo) -> None:
    last = terminal.text(quick, info, 100).splitlines()[-1]
    assert last == "166 cases measured, 20 skipped, none failed"


def test_markup_and_control_codes_in_names_are_shown_not_obeyed(quick: pd.DataFrame, info: RunInfo) -> None:
    text = terminal.text(renamed(quick, "gru", "[bold]x\x1b[2J:Y"), info, 120)
    assert "[bold]x�[2J:Y loop" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "change",
    [
        with_one_replicate,
        with_none_measured,
        without_reference,
        of_an_older_version,
        with_unknown_metrics,
        lambda summary: summary.head(0),
    ],
)
def test_poor_runs_are_printed_too(quick: pd.DataFrame, info: RunInfo, change: type) -> None:
    changed = change(quick)
    text = terminal.text(changed, info, 100)
    assert "nan" not in text
    assert text.count("vanilla loop ") >= min(len(changed), 16)


def test_a_suspect_case_keeps_its_time_and_has_a_note(quick: pd.DataFrame, info: RunInfo) -> None:
    suspicion = "torch shows 12% of the multiply-accumulates that the reference needs"
    quick.loc[quick["implementation"] != "torch.nn", "suspicion"] = suspicion
    told = " ".join(terminal.text(quick, info, 200).split())
    assert f") suspect: {suspicion}" in told
    assert "none failed" in told
