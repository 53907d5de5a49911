from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnbench.report.words.headline import answer, counts, limit, sentences, significance, where
from rnnbench.store.run_info import RunInfo
from tests.doubles import streams
from tests.report.conftest import (
    info_with,
    of_an_older_version,
    with_none_measured,
    with_one_replicate,
    without_reference,
)


def with_ratios(summary: pd.DataFrame, low: float, value: float, high: float) -> pd.DataFrame:
    own = summary["implementation"] != "torch.nn"
    summary.loc[own & (summary["status"] == "measured"), ["ratio_low", "ratio", "ratio_high"]] = low, value, high
    return summary


def test_the_answer_names_machine_range_and_both_ends(quick: pd.DataFrame, info: RunInfo) -> None:
    ratios = quick.loc[quick["parity"] == "agrees", "ratio"]
    text = answer(quick, info)
    assert text.startswith(
        f"On this CPU (AMD EPYC 7B13, 1 thread) hand-written cells take {ratios.min():.2f} to "
        f"{ratios.max():.2f} times as long as torch.nn."
    )
    assert "The closest is vanilla hoisted in training" in text
    assert "the farthest lstm loop in inference" in text


def test_a_suspect_cell_is_named_and_not_counted(quick: pd.DataFrame, info: RunInfo) -> None:
    quick.loc[quick["cell"] == "lstm", "suspicion"] = "torch shows 12%"
    quick.loc[quick["cell"] == "lstm", "ratio"] = 0.01
    text = answer(quick, info)
    assert "0.01" not in text
    assert "Suspect, with the reason beside the time, and not counted if others are not: lstm." in text
    assert "Suspect" not in answer(quick.assign(suspicion=""), info)


def test_flushed_caches_are_named_with_the_machine(quick: pd.DataFrame, info: RunInfo) -> None:
    words = "On this CPU (AMD EPYC 7B13, 1 thread), caches flushed before every call, hand-written cells take"
    assert answer(quick.assign(caches="cold"), info).startswith(words)
    assert "caches" not in answer(quick, info)


def test_where_some_are_faster_the_ends_are_called_fastest_and_slowest(quick: pd.DataFrame, info: RunInfo) -> None:
    quick.loc[(quick["cell"] == "gru") & (quick["implementation"] == "loop"), "ratio"] = 0.5
    assert "The fastest against it is gru loop in inference (median 0.500×), the slowest lstm" in answer(quick, info)


def test_a_cell_without_a_parity_check_is_named_apart(quick: pd.DataFrame, info: RunInfo) -> None:
    quick.loc[(quick["cell"] == "deep-notebook") & (quick["status"] == "measured"), "ratio"] = 99.0
    text = answer(quick, info)
    assert text.endswith("Not counted, since not checked to do the same work: deep-notebook (99.0×).")
    assert text.count("99.0") == 1
    assert "same work" not in answer(quick[quick["cell"] != "deep-notebook"], info)


def test_cells_without_a_parity_check_count_where_there_are_no_others(quick: pd.DataFrame, info: RunInfo) -> None:
    text = answer(quick[quick["cell"] == "deep-notebook"], info)
    assert "hand-written cells take 3.10 to 5.39 times" in text
    assert text.endswith("Not checked to do the same work: deep-notebook.")


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((0.8, 0.85, 0.9), "166 comparisons, 166 cases are faster"),
        ((0.9, 1.01, 1.1), "166 comparisons, 166 cases show no difference"),
    ],
)
def test_faster_and_undecided_cases_are_counted(
    quick: pd.DataFrame, info: RunInfo, ends: tuple[float, float, float], words: str
) -> None:
    own = int((with_ratios(quick, *ends)["parity"] == "agrees").sum())
    assert words.replace("166", str(own)) in answer(quick, info)


def test_a_clear_slowdown_is_not_called_undecided(quick: pd.DataFrame, info: RunInfo) -> None:
    text = answer(with_ratios(quick, 1.1, 1.2, 1.3), info)
    assert "no difference" not in text
    assert "faster" not in text


def test_one_replicate_is_said_to_have_no_intervals(quick: pd.DataFrame, info: RunInfo) -> None:
    first, *more = sentences(with_one_replicate(quick), info)
    assert first.endswith("7.30 times as long as torch.nn, from one replicate: no interval.")
    assert "interval" not in " ".join(more)
    assert "no interval" not in answer(quick, info)


def test_comparisons_without_an_interval_are_counted_beside_others(quick: pd.DataFrame, info: RunInfo) -> None:
    measured = quick.index[quick["parity"] == "agrees"]
    total = len(measured)
    quick.loc[measured[:1], ["ratio_low", "ratio_high"]] = np.nan
    assert f"1 of {total} comparisons has no interval." in answer(quick, info)
    quick.loc[measured[:3], ["ratio_low", "ratio_high"]] = np.nan
    assert f"3 of {total} comparisons have no interval." in answer(quick, info)


def test_without_reference_no_distance_is_claimed(quick: pd.DataFrame, info: RunInfo) -> None:
    text = answer(without_reference(quick), info)
    assert "can't be said" in text
    assert "times as long" not in text


def test_torch_alone_has_nothing_to_be_compared_with(quick: pd.DataFrame, info: RunInfo) -> None:
    assert "nothing to compare" in answer(quick[quick["implementation"] == "torch.nn"], info)


@pytest.mark.parametrize("status", ["skipped", "failed"])
def test_a_run_without_measured_cases_says_so(quick: pd.DataFrame, info: RunInfo, status: str) -> None:
    missing = with_none_measured(quick, status)
    assert answer(missing, info).startswith("No case was measured")
    assert counts(missing).startswith("none measured")
    assert f"{len(quick)} {status}" in counts(missing)


def test_a_single_case_is_named(quick: pd.DataFrame, info: RunInfo) -> None:
    single = quick[(quick["cell"] == "gru") & (quick["implementation"] == "loop")].head(1)
    assert "gru loop takes 6.70 times as long as torch.nn in inference." in answer(single, info)


def test_counts_add_up_to_all_cases(quick: pd.DataFrame) -> None:
    numbers = quick["status"].value_counts()
    assert counts(quick) == f"{numbers['measured']} cases measured, {numbers['skipped']} skipped, none failed"


def test_another_device_is_named_with_its_processor_where_that_is_known(quick: pd.DataFrame, info: RunInfo) -> None:
    quick["device"] = "cuda"
    assert where(quick, info) == "cuda"
    for cards, words in ((1, "cuda (NVIDIA H100)"), (2, "cuda (2 x NVIDIA H100)")):
        devices = {"devices": {"cuda": [{"name": "NVIDIA H100", "uuid": str(card)} for card in range(cards)]}}
        assert where(quick, info_with(info, environment={"worker": {"cuda": "13.0"} | devices})) == words
    quick["device"] = np.where(quick["phase"] == "training", "cuda", "cpu")
    assert where(quick, info) == "cpu and cuda"


def test_the_nearest_and_the_farthest_from_the_limit_are_named(quick: pd.DataFrame) -> None:
    quick["times_limit"] = np.where(quick["implementation"] == "torch.nn", 1.4, 10.0)
    loops = (quick["cell"] == "lstm") & (quick["implementation"] == "loop") & (quick["phase"] == "training")
    quick.loc[loops, "times_limit"] = 79.0
    text = limit(quick)
    assert text.startswith("The nearest to the machine's limit is torch.nn.")
    assert text.endswith("in inference (median 1.40×), the farthest lstm loop in training (median 79.0×).")


@pytest.mark.parametrize("change", [of_an_older_version, with_none_measured, lambda summary: summary.head(0)])
def test_where_no_limit_is_known_none_is_claimed(quick: pd.DataFrame, change: type) -> None:
    assert limit(change(quick)) == ""


def test_one_series_alone_is_neither_nearest_nor_farthest(quick: pd.DataFrame) -> None:
    single = quick[quick["times_limit"].notna()].head(1).assign(times_limit=7.25)
    assert limit(single).endswith("is known only for vanilla loop in inference (median 7.25×).")


def test_torchs_own_cells_are_not_called_hand_written(quick: pd.DataFrame, info: RunInfo) -> None:
    before = answer(quick, info)
    rung = quick[(quick["cell"] == "lstm") & (quick["implementation"] == "loop")].copy()
    rung["cell"], rung["implementation"], rung["ratio"] = "torch.nn.LSTMCell", "torch.nn-cell", 99.0
    assert answer(pd.concat([quick, rung], ignore_index=True), info) == before


def test_significance_counts_both_sides_and_names_the_few_that_are_open(quick: pd.DataFrame) -> None:
    with_ratios(quick, 1.1, 1.2, 1.3)
    own = quick.index[(quick["implementation"] != "torch.nn") & (quick["parity"] == "agrees")]
    total = len(own)
    others = "the others are 50 references and 2 not checked to do the same work"
    counted = f"Counted are {total} of 166 measured cases; {others}."
    assert significance(quick) == (
        f"{counted} {total} are slower than torch.nn, none faster: no 95% interval contains 1."
    )
    quick.loc[own[0], ["ratio_low", "ratio", "ratio_high"]] = [0.98, 1.01, 1.04]
    quick.loc[own[1], ["ratio_low", "ratio", "ratio_high"]] = [0.9, 0.92, 0.94]
    assert significance(quick) == (
        f"{counted} {total - 2} are slower than torch.nn, 1 faster; 1 shows no difference, since the 95% interval "
        "contains 1: vanilla loop (inference, batch 1, length 16, hidden 64, 1 layer)."
    )
    quick.loc[own[:9], ["ratio_low", "ratio", "ratio_high"]] = [0.98, 1.01, 1.04]
    assert significance(quick).endswith("9 show no difference, since the 95% interval contains 1.")
    assert significance(with_one_replicate(quick)) == ""


def test_late_steps_come_first_in_the_answer_about_streams(tmp_path: Path, info: RunInfo) -> None:
    text = answer(streams.summary(tmp_path / "some"), info)
    assert text.startswith("2 of 6 streams had steps longer than 1.00 ms; lstm loop (")
    assert "caches) had the largest share of them, 1.0%. On this CPU" in text
    text = answer(streams.summary(tmp_path / "none", period=1.0), info)
    assert text.startswith("No step of 6 streams took longer than 1.00 s. On this CPU")
    assert "stream" not in answer(streams.summary(tmp_path / "without", period=None), info)
