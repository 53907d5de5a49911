"""How often intervals of two runs hold each other's ratios, counted on simulated runs whose intervals are right."""

import numpy as np
import pandas as pd

from rnnbench.analysis.summary import SHARED
from tests.validation.runs_apart import KEYS, held, rates

CASES = 4000
ERROR = 0.02  # standard error of a log-ratio
HALF_WIDTH = 1.96 * ERROR


def a_run(seed: int, state: str = "undisturbed") -> pd.DataFrame:
    """Cases whose log-ratio is 0.5, each with a normal error and the 95% interval of such an error."""
    logs = 0.5 + ERROR * np.random.default_rng(seed).standard_normal(CASES)
    ends = {"ratio_low": np.exp(logs - HALF_WIDTH), "ratio_high": np.exp(logs + HALF_WIDTH)}
    keys = dict.fromkeys(KEYS, "any") | {"cell": np.arange(CASES), "phase": "inference"}
    return pd.DataFrame({**keys, "ratio": np.exp(logs), **ends, "state": state, "quiet_share": 0.5})


def test_right_intervals_hold_the_ratio_of_another_run_in_83_percent_and_the_difference_in_95() -> None:
    rows = held(a_run(1), a_run(2))
    assert abs(rows["first holds second"].mean() - 0.834) < 0.02
    assert abs(rows["second holds first"].mean() - 0.834) < 0.02
    assert abs(rows["within both"].mean() - 0.95) < 0.015


def test_cases_without_an_interval_do_not_count_and_each_state_has_a_row() -> None:
    first, second = a_run(1), a_run(2, SHARED)
    first.loc[:9, "ratio_low"] = np.nan
    second.loc[20:29, "state"] = "undisturbed"
    table = rates(held(first, second).assign(part="now"))
    assert dict(zip(table["on a shared core"], table["comparisons"], strict=True)) == {
        "one": CASES - 20,
        "none": 10,
        "": CASES - 10,
    }
