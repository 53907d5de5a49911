import json
import math

import numpy as np
import pandas as pd
import pytest

from rnnbench.report.export import FORMATS, cases, notes

from .conftest import LOOP, REFERENCE, WIDE, Run


def test_cases_without_a_time_are_counted_with_their_reasons(run: Run) -> None:
    assert cases.left_out(run.summary) == (
        "2 cases left out, without a time (1 skipped: nothing to hoist; 1 failed: =1+1 is no reason)"
    )
    assert cases.left_out(run.summary[run.summary["seconds"].notna()]) == ""


def test_many_reasons_are_cut_short(run: Run) -> None:
    rows = pd.concat([run.summary.head(1).assign(seconds=np.nan, status="failed", reason=f"{n}") for n in range(5)])
    assert cases.left_out(rows).endswith("1 failed: 2; 2 otherwise)")


def test_a_case_that_was_cut_off_is_not_called_measured(run: Run) -> None:
    assert "1 measured without a complete replicate" in cases.left_out(run.summary.head(1).assign(seconds=np.nan))


@pytest.mark.parametrize("to", FORMATS)
def test_only_a_format_that_keeps_all_cases_leaves_none_out(run: Run, to: str) -> None:
    assert bool(list(notes(to, run.summary))) != FORMATS[to].keeps_all


def test_a_workload_in_words_is_that_of_its_whole_group_and_of_no_other(run: Run) -> None:
    words = {case: cases.workload(run.row(case)) for case in (LOOP, REFERENCE, WIDE)}
    assert words[LOOP] == words[REFERENCE] != words[WIDE]
    assert words[LOOP] == (
        "torch.nn.RNN: inference, many_to_many, cpu, float64, 1 thread, batch 3, length 4, input 5, hidden 6, "
        "output 2, 1 layer"
    )


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(3.0), 3),
        (2.5, 2.5),
        (float("nan"), None),
        (float("inf"), None),
        (np.int64(7), 7),
        (np.bool_(True), True),
    ],
)
def test_values_are_such_as_json_has(value: object, plain: object) -> None:
    assert cases.plain(value) == plain
    assert type(cases.plain(value)) is type(plain)


def test_lines_have_all_digits_of_a_number_however_small() -> None:
    rows = [{"case": "a\u2028b", "seconds": 1.23456789012e-7, "parity_error": 3.1e-13, "count": 7, "ratio": math.nan}]
    text = cases.lines(pd.DataFrame([*rows, {**rows[0], "ratio": math.inf}]))
    assert [json.loads(line) for line in text.splitlines()] == [{**rows[0], "ratio": None}] * 2
