"""The validation program's own arithmetic, on data whose answer is known."""

import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from rnnbench import suites
from tests import workload as small
from tests.validation import __main__ as program
from tests.validation import cases, real, simulation


def test_simulated_intervals_cover_the_truth_for_arms_of_very_different_length() -> None:
    table = simulation.coverage(runs=150, replicates=(6,), ratios=(1.0, 4.0))
    # 150 runs at 95%: fewer than 130 would happen once in 10,000 tries.
    assert (table["used covers"] > 130 / 150).all()
    assert (table["bias"].abs() < 0.004).all()


def test_the_truth_of_a_repeated_cell_takes_its_overhead_into_account() -> None:
    step, overhead = 5e-6, 1e-4
    seconds = {"Steps0": overhead} | {
        name: steps * step + overhead for name, steps in {"Steps200": 200, **real.HEADS}.items()
    }
    rng = np.random.default_rng(0)
    rows = [
        {**asdict(small.workload()), "replicate": replicate, "cell": name, "log_seconds": math.log(value) + noise}
        for replicate in range(6)
        for name, value in seconds.items()
        for noise in [rng.normal(0, 1e-4)]
    ]
    found = real.intervals(pd.DataFrame(rows))
    assert (found["error"].abs() < 5e-4).all()
    assert len(found) == len(real.HEADS)


def test_the_repeated_cells_are_a_valid_suite_with_one_group_for_each_size() -> None:
    groups = suites.read(str(real.SUITE)).groups({}, None, most=None)
    assert [len(group.cases) for group in groups] == [7] * 6


def test_twelve_cases_and_four_pairs_are_chosen_from_quick() -> None:
    assert len(cases.chosen()) == 12
    assert all(own.workload == reference.workload for own, reference in cases.pairs())
    assert len(cases.pairs()) == 4


def test_a_table_is_written_in_markdown() -> None:
    table = pd.DataFrame({"a": [1.23456], "b": ["x"]})
    assert program.markdown(table) == "| a | b |\n| --- | --- |\n| 1.235 | x |\n"


def test_an_unknown_table_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match="no table 'luck'; there are bias, "):
        program.main(["luck"])
