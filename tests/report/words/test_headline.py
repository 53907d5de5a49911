from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.tables import table_medians
from rnnbench.report.words.headline import answer, counts, limit, significance, where
from rnnbench.store.run_info import RunInfo
from tests.doubles import streams
from tests.report.conftest import (
    info_with,
    of_an_older_version,
    with_none_measured,
    with_one_replicate,
    without_reference,
)

Change = Callable[[pd.DataFrame], pd.DataFrame]


def with_ratios(low: float, value: float, high: float, cases: slice = slice(None)) -> Change:
    """Give cells that were checked these ratios with their interval."""

    def change(summary: pd.DataFrame) -> pd.DataFrame:
        own = summary.index[summary["parity"] == "agrees"][cases]
        summary.loc[own, ["ratio_low", "ratio", "ratio_high"]] = low, value, high
        return summary

    return change


def of(cell: str, **columns: object) -> Change:
    """Give measured cases of a cell these values."""

    def change(summary: pd.DataFrame) -> pd.DataFrame:
        rows = (summary["cell"] == cell) & (summary["status"] == "measured")
        values: Any = list(columns.values())
        summary.loc[rows, list(columns)] = values
        return summary

    return change


def with_torchs_own_cell(summary: pd.DataFrame) -> pd.DataFrame:
    rung = summary[(summary["cell"] == "lstm") & (summary["implementation"] == "loop")]
    rung = rung.assign(cell="torch.nn.LSTMCell", implementation="torch.nn-cell", ratio=99.0)
    return pd.concat([summary, rung], ignore_index=True)


RUNS: dict[str, Change] = {
    "as measured": lambda quick: quick,
    "torch's own cells are not called hand-written": with_torchs_own_cell,
    "a suspect cell is named and not counted": of("lstm", suspicion="torch shows 12%", ratio=0.01),
    "flushed caches are named with the machine": lambda quick: quick.assign(caches="cold"),
    "where some are faster the ends are the fastest and the slowest": of("gru", ratio=0.5),
    "a cell without a parity check is named apart": of("deep-notebook", ratio=99.0),
    "cells without a parity check count where there are no others": (
        lambda quick: quick[quick["cell"] == "deep-notebook"]
    ),
    "all are faster": with_ratios(0.8, 0.85, 0.9),
    "all are slower": with_ratios(1.1, 1.2, 1.3),
    "none is decided": with_ratios(0.9, 1.01, 1.1),
    "one is not decided": with_ratios(0.98, 1.01, 1.04, slice(1)),
    "many are not decided": with_ratios(0.98, 1.01, 1.04, slice(9)),
    "one is faster": with_ratios(0.9, 0.92, 0.94, slice(1, 2)),
    "one replicate": with_one_replicate,
    "one has no interval": with_ratios(np.nan, 1.2, np.nan, slice(1)),
    "three have no interval": with_ratios(np.nan, 1.2, np.nan, slice(3)),
    "without a reference": without_reference,
    "torch alone": lambda quick: quick[quick["implementation"] == "torch.nn"],
    "all skipped": with_none_measured,
    "all failed": lambda quick: with_none_measured(quick, "failed"),
    "a single case": lambda quick: quick[(quick["cell"] == "gru") & (quick["implementation"] == "loop")].head(1),
    "an older version": of_an_older_version,
    "no case": lambda quick: quick.head(0),
}


@pytest.mark.parametrize("run", RUNS)
def test_what_is_said_of_a_run(run: str, quick: pd.DataFrame, info: RunInfo, snapshot: SnapshotAssertion) -> None:
    summary = RUNS[run](quick)
    assert [answer(summary, info), significance(summary), counts(summary)] == snapshot


def test_torchs_own_cells_change_nothing(quick: pd.DataFrame, info: RunInfo) -> None:
    assert answer(with_torchs_own_cell(quick), info) == answer(quick, info)


def test_another_device_is_named_with_its_processor_where_that_is_known(quick: pd.DataFrame, info: RunInfo) -> None:
    quick["device"] = "cuda"
    assert where(quick, info) == "cuda"
    for cards, words in ((1, "cuda (NVIDIA H100)"), (2, "cuda (2 x NVIDIA H100)")):
        devices = {"devices": {"cuda": [{"name": "NVIDIA H100", "uuid": str(card)} for card in range(cards)]}}
        assert where(quick, info_with(info, environment={"worker": {"cuda": "13.0"} | devices})) == words
    quick["device"] = np.where(quick["phase"] == "training", "cuda", "cpu")
    assert "cpu and cuda" in where(quick, info)


@pytest.mark.parametrize(("period", "told"), [(1e-3, "some late"), (1.0, "none late"), (None, "no period")])
def test_late_steps_come_first_in_the_answer_about_streams(
    tmp_path: Path, info: RunInfo, period: float | None, told: str, snapshot: SnapshotAssertion
) -> None:
    assert answer(streams.summary(tmp_path, period=period), info).partition("hand-written")[0] == snapshot(name=told)


def test_how_far_the_machines_limit_is(quick: pd.DataFrame, snapshot: SnapshotAssertion) -> None:
    alone = quick[quick["times_limit"].notna()].head(1)
    assert {"of many series": limit(quick), "of one series": limit(alone)} == snapshot
    assert [limit(change(quick)) for change in (of_an_older_version, with_none_measured)] == ["", ""]


def test_a_range_leaves_out_ratios_that_are_not_known(quick: pd.DataFrame, info: RunInfo) -> None:
    summary = with_ratios(1.9, 2.0, 2.1)(quick)
    with_ratios(3.9, 4.0, 4.1, slice(1))(summary)
    with_ratios(0.117, 6.25, 333, slice(1, 2))(summary)
    with_ratios(1.1, 6.0, 33, slice(2, 3))(summary)
    own = (quick["parity"] == "agrees").sum()
    text = answer(summary, info)
    assert "hand-written cells take 2.00 to 4.00 times as long as torch.nn." in text
    assert f"Of {own} comparisons: {own - 2} slower, 2 undecided." in text
    assert not any("6.2" in text or "6.0" in text for row in table_medians.render(summary).rows for text in row)
    unknown = with_ratios(0.117, 6.25, 333)(quick)
    assert "hand-written cells take 0.117 to 333 times as long as torch.nn: undecided." in answer(unknown, info)
