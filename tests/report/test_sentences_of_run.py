"""What stands above all on the page of a run, and what is said of live modules."""

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.summary import SHARED, UNDISTURBED
from rnnbench.report.facts import headline
from rnnbench.report.page.page import linked
from rnnbench.report.sentences import of_page, of_run
from rnnbench.store.run_info import RunInfo
from tests.report.conftest import info_with, with_none_measured, without_any_reference


@pytest.fixture
def known(quick: pd.DataFrame) -> pd.DataFrame:
    """The GRU of `quick` in inference: seven cases slower by 10 to 70%, one that may be as fast."""
    own = quick[quick["reference"].eq("gru") & quick["phase"].eq("inference") & quick["implementation"].ne("hoisted")]
    own = own.copy()
    cell = own.index[own["cell"] == "gru"]
    assert len(cell) == 8
    ratios = np.array([1.7, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.0])
    own.loc[cell, "ratio"] = ratios
    own.loc[cell, "ratio_low"] = ratios * 0.98
    own.loc[cell, "ratio_high"] = ratios * 1.02
    return own


def told_on_page(summary: pd.DataFrame, info: RunInfo) -> list[str]:
    return of_page(summary, headline(summary), info)


def test_it_says_who_how_far_where_and_how_sure_and_leads_to_the_worst_case(known: pd.DataFrame, info: RunInfo) -> None:
    facts = headline(known)
    first, worst, *_, precision = of_page(known, facts, info_with(info, seconds_needed=350.0))
    assert first.startswith("gru loop takes 1.35 times as long as torch.nn.GRU in the median, on ")
    assert first.endswith(", 1 thread, float32: slower in 7 of 8 comparisons, faster in 0, unclear in 1.")
    assert facts.worst is not None
    assert known.loc[facts.worst.row, "ratio"] == 1.7
    assert worst == f"Worst: {facts.worst.name}: 1.70× (1.67–1.73)."
    assert facts.worst.name.startswith("gru loop, inference, batch ")
    assert precision.startswith("A typical interval is ±2.0%; about 6 min more would reach the precision")


def test_several_cells_are_told_together_and_unknown_intervals_are_no_count_of_slower_cases(
    quick: pd.DataFrame, known: pd.DataFrame, info: RunInfo
) -> None:
    assert told_on_page(quick, info)[0].startswith("Hand-written cells take ")
    ends = ["ratio_low", "ratio_high"]
    unknown = known.assign(**dict.fromkeys(ends, np.nan))
    assert told_on_page(unknown, info)[0].endswith(", 1 thread, float32: 8 comparisons, all without an interval.")


def test_no_median_is_of_a_shared_core_and_a_quiet_one(known: pd.DataFrame, info: RunInfo) -> None:
    known["state"] = np.where(known["ratio"] > 1.45, SHARED, UNDISTURBED)
    told = " ".join(told_on_page(known, info))
    assert told.startswith("gru loop takes 1.20 times as long")
    assert f"3 comparisons were made {SHARED} and are not in the median: 1.50 to 1.70 times." in told
    assert f"1 thread, float32, {SHARED}: slower" in told_on_page(known.assign(state=SHARED), info)[0]


def test_without_comparisons_it_is_the_answer_of_the_terminal(quick: pd.DataFrame, info: RunInfo) -> None:
    single = quick[(quick["cell"] == "gru") & (quick["implementation"] == "loop")].head(1)
    for summary in (without_any_reference(quick), with_none_measured(quick), quick.head(0), single):
        assert told_on_page(summary, info) == of_run(headline(summary))


def test_words_that_lead_somewhere_are_links_and_nothing_in_them_is_markup() -> None:
    name = "<b>x loop, batch 1"
    assert linked(f"Worst: {name}: 2×.", {name: "#case=3"}) == (
        'Worst: <a href="#case=3">&lt;b&gt;x loop, batch 1</a>: 2×.'
    )
