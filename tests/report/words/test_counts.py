"""Numbers of cases agree wherever they are shown."""

import re

import numpy as np
import pandas as pd
import pytest

from rnnbench.report.tables import table_fastest
from rnnbench.report.words.counts import compared, tally
from rnnbench.report.words.headline import answer, counts, significance
from rnnbench.store.run_info import RunInfo


def numbers(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"(?<![\d.%])\d[\d,]*(?![\d.]|%)", text)]


def test_the_measured_cases_are_references_counted_or_left_out_for_a_reason(quick: pd.DataFrame) -> None:
    own = quick.index[(quick["cell"] == "gru") & (quick["implementation"] == "hoisted")]
    quick.loc[own[:1], "suspicion"] = "torch shows 12%"
    quick.loc[own[1:3], ["ratio", "ratio_low", "ratio_high"]] = np.nan
    quick.loc[quick["cell"] == "combined", "implementation"] = "torch.nn-cell"
    found = compared(quick)
    assert dict(found.left_out) == {
        "of torch's own cells": int(((quick["cell"] == "combined") & (quick["status"] == "measured")).sum()),
        "suspect": 1,
        "not checked to do the same work": 2,
        "without a ratio": 2,
    }
    assert found.references + len(found.counted) + sum(found.left_out.values()) == found.measured
    total, of_all, *others = numbers(significance(quick).partition(" slower")[0])[:-1]
    assert total + sum(others) == of_all == numbers(counts(quick))[0]


@pytest.mark.parametrize(("low", "high"), [(0.95, 1.02), (0.97, 0.99), (1.01, 1.02)])
def test_no_table_contradicts_the_answer(quick: pd.DataFrame, info: RunInfo, low: float, high: float) -> None:
    rows = quick.index[(quick["cell"] == "lstm") & (quick["implementation"] == "hoisted")][:3]
    quick.loc[rows, ["ratio_low", "ratio", "ratio_high"]] = low, (low + high) / 2, high
    known = tally(compared(quick).counted)
    said, more = answer(quick, info), significance(quick)
    table = table_fastest.render(quick)
    faster = sum(table.frame["faster"])
    assert faster == known.faster == (3 if high < 1 else 0)
    assert ("3 faster" in said) == ("3 faster" in more) == (high < 1)
    assert ("none faster" in more) == (high >= 1)
    is_open = low < 1 < high
    for text in (said, more):
        assert ("3 undecided" in text) == is_open
        assert ("3 of them with a ratio below 1" in text) == is_open
    assert f"{known.cases:,} of" in more
    if high < 1 or is_open:
        assert f"Of {known.cases} comparisons" in said
