"""What a run says first, as values and in words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.summary import SHARED, UNDISTURBED
from rnnbench.report.environment import machine
from rnnbench.report.facts import headline
from rnnbench.report.screen.terminal import head_line, quietness
from rnnbench.report.sentences import answer, effect_sentence, of_run, warning
from rnnbench.report.words.names import short_cells
from rnnbench.store.parity import AGREES
from rnnbench.store.run_info import RunInfo
from tests.doubles import streams
from tests.report.conftest import (
    info_with,
    with_none_measured,
    with_one_replicate,
    without_any_reference,
)

Change = Callable[[pd.DataFrame], pd.DataFrame]


def with_ratios(low: float, value: float, high: float, cases: slice = slice(None)) -> Change:
    """Give cells that were checked these ratios with their interval."""

    def change(summary: pd.DataFrame) -> pd.DataFrame:
        own = summary.index[summary["parity"] == AGREES][cases]
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
    "flushed caches are named with the machine": lambda quick: quick.assign(caches="cold"),
    "a cell that was not verified is named apart": of("deep-notebook", ratio=99.0),
    "cells that were not verified count where there are no others": (
        lambda quick: quick[quick["cell"] == "deep-notebook"]
    ),
    "some are of a shared core": lambda quick: quick.assign(
        state=np.where(quick["hidden_size"] > 64, SHARED, UNDISTURBED)
    ),
    "all are of a shared core": lambda quick: quick.assign(state=SHARED),
    "some have slow calls": lambda quick: quick.assign(
        has_slow_calls=quick["cell"].eq("gru") & quick["parity"].map(str).eq("agrees")
    ),
    "all are faster": with_ratios(0.8, 0.85, 0.9),
    "none is decided": with_ratios(0.9, 1.01, 1.1),
    "none is known": with_ratios(0.117, 6.25, 333),
    "nine are not decided": with_ratios(0.98, 1.01, 1.04, slice(9)),
    "one is faster": with_ratios(0.9, 0.92, 0.94, slice(1, 2)),
    "one replicate": with_one_replicate,
    "three have no interval": with_ratios(np.nan, 1.2, np.nan, slice(3)),
    "without a reference": without_any_reference,
    "one cell without a reference": lambda quick: pd.concat(
        [quick[quick["cell"] != "gru"], without_any_reference(quick[quick["cell"] == "gru"])]
    ),
    "torch alone": lambda quick: quick[quick["implementation"] == "torch.nn"],
    "all failed": lambda quick: with_none_measured(quick, "failed"),
    "a single case": lambda quick: quick[(quick["cell"] == "gru") & (quick["implementation"] == "loop")].head(1),
    "no case": lambda quick: quick.head(0),
}


@pytest.mark.parametrize("run", RUNS)
def test_what_is_said_of_a_run(run: str, quick: pd.DataFrame, info: RunInfo, snapshot: SnapshotAssertion) -> None:
    summary = RUNS[run](quick)
    found = headline(summary)
    assert [head_line(summary, info, found), warning(found), *of_run(found)] == snapshot


def test_another_device_is_named_with_its_processor_where_that_is_known(quick: pd.DataFrame, info: RunInfo) -> None:
    quick["device"] = "cuda"
    assert machine(quick, info) == "cuda, float32"
    devices = {"cuda": [{"name": "NVIDIA H100", "uuid": "0"}]}
    known = info_with(info, environment={"worker": {"cuda": "13.0", "devices": devices}})
    assert machine(quick, known) == "cuda (NVIDIA H100), float32"
    quick["device"] = np.where(quick["phase"] == "training", "cuda", "cpu")
    assert "cpu and cuda" in machine(quick, info)


@pytest.mark.parametrize(("period", "told"), [(1e-3, "some late"), (1.0, "none late"), (None, "no period")])
def test_late_steps_come_first_in_the_answer_about_streams(
    tmp_path: Path, period: float | None, told: str, snapshot: SnapshotAssertion
) -> None:
    assert of_run(headline(streams.summary(tmp_path, period=period, steps=400)))[0] == snapshot(name=told)


def test_its_facts_are_values_that_the_sentences_are_made_from(quick: pd.DataFrame) -> None:
    found = headline(with_ratios(0.98, 1.01, 1.04, slice(9))(quick))
    assert found.counts == {"slower": 105, "unclear": 9}
    assert (found.total, found.shared, found.reference, found.subject) == (114, 0, "torch.nn", "")
    counted = quick[quick["parity"].map(str).eq("agrees")]
    assert found.highest == found.worst.ratio == counted["ratio"].max()
    assert found.best is None


def test_a_run_whose_typical_ratio_is_a_guess_says_so(quick: pd.DataFrame, info: RunInfo) -> None:
    known = headline(with_ratios(0.95, 1.0, 1.05)(quick))
    assert (known.is_noisy, warning(known)) == (False, "")
    found = headline(with_ratios(0.71, 1.0, 1.41)(quick))
    assert warning(found) == "NOISY: a typical interval reaches from 0.710 to 1.41 times its ratio."
    assert quietness(quick, found) == ""
    assert quietness(quick.assign(quiet_share=0.3), found) == "30% quiet"


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.97, "quiet (±2.5%)"), (0.74, "74% quiet (±2.5%)"), (np.nan, "intervals ±2.5%")],
)
def test_how_quiet_the_core_was_stands_beside_how_wide_the_typical_interval_is(
    quick: pd.DataFrame, share: float, words: str
) -> None:
    assert quietness(quick.assign(quiet_share=share), headline(quick)) == words


def test_of_the_slower_cases_the_worst_is_one_that_is_known_well(quick: pd.DataFrame) -> None:
    roughly = with_ratios(2.0, 90.0, 900.0, slice(1))(quick)
    assert headline(roughly).worst == headline(quick).worst
    all_roughly = headline(with_ratios(2.0, 90.0, 900.0)(quick)).worst
    assert all_roughly is not None
    assert all_roughly.ratio == 90.0


def planted(quick: pd.DataFrame, factors: dict[int, float], axis: str = "batch_size") -> pd.DataFrame:
    """Give all comparisons a ratio of 1.5 times the factor of their size."""
    noise = np.random.default_rng(1).uniform(0.99, 1.01, len(quick))
    ratio = np.where(
        quick["parity"].map(str).eq("agrees"), 1.5 * quick[axis].map(factors).fillna(1.0) * noise, quick["ratio"]
    )
    own = quick["status"].eq("measured") & ~quick["implementation"].eq("torch.nn")
    quick.loc[own, "ratio"] = ratio[own]
    return quick


def test_the_size_that_matters_most_is_named_with_its_medians_over_equal_other_sizes(quick: pd.DataFrame) -> None:
    sizes = sorted(quick["batch_size"].unique())
    effect = headline(planted(quick, {sizes[0]: 2.0})).effect
    assert effect is not None
    assert effect.axis == "batch_size"
    assert effect.medians == pytest.approx({sizes[0]: 3.0, sizes[-1]: 1.5}, rel=0.01)
    assert effect_sentence(effect).startswith("Batch matters most: median 3.0")


def test_no_size_matters_where_medians_differ_by_less_than_a_tenth_or_only_one_case_has_each(
    quick: pd.DataFrame,
) -> None:
    assert headline(planted(quick, {})).effect is None
    assert headline(planted(quick, {1: 1.05})).effect is None
    assert (
        headline(quick[quick["batch_size"].eq(1) & quick["seq_len"].eq(16) & quick["hidden_size"].eq(64)]).effect
        is None
    )


def test_values_that_differ_by_phase_are_told_of_the_phase_with_more_cases(quick: pd.DataFrame) -> None:
    short = quick[(quick["phase"] == "inference") | (quick["seq_len"] == 16)]
    effect = headline(planted(short.copy(), {16: 3.0}, "seq_len")).effect
    assert effect is not None
    assert (effect.axis, effect.phase) == ("seq_len", "inference")
    assert " in inference: median " in effect_sentence(effect)


def test_one_comparison_is_told_with_its_sizes_and_one_time_so_that_all_numbers_agree(quick: pd.DataFrame) -> None:
    where = (
        quick["batch_size"].eq(1)
        & quick["seq_len"].eq(16)
        & quick["hidden_size"].eq(64)
        & quick["phase"].eq("training")
    )
    gru = quick["reference"].eq("gru") & quick["implementation"].isin(["loop", "torch.nn"])
    found = headline(quick[where & gru])
    assert of_run(found) == [answer(found)]
    assert answer(found).startswith("gru loop, training, batch 1, length 16, hidden 64: ")
    assert " the time of torch.nn.GRU: slower; " in answer(found)
    assert answer(found).endswith(" µs a call.")
    assert answer(found).count(" µs") == 1


def test_cells_of_files_are_called_by_their_class_unless_two_are_called_so() -> None:
    assert short_cells(["lstm", "my.py:Mine", "a.py:Same", "b.py:Same"]) == {
        "lstm": "lstm", "my.py:Mine": "Mine", "a.py:Same": "a.py:Same", "b.py:Same": "b.py:Same",
    }  # fmt: skip
