"""The smallest forms of tables of real times, and their arithmetic on rows with known answers."""

import math

import pandas as pd
import pytest

from tests.validation import asserted, real, record
from tests.validation.record import Question

pytestmark = [pytest.mark.slow, pytest.mark.weekly]


def unlike_row(run: int, ratio: float, state: str = "undisturbed", half: float = 0.01) -> dict[str, object]:
    """A case of one run, with an interval of this half-width."""
    return {
        "case": "gru, hidden 64",
        "state": state,
        "ratio": ratio,
        "low": ratio * math.exp(-half),
        "high": ratio * math.exp(half),
        "quiet pulses of the case": 0.9,
        "run": run,
        "beside": real.ALONE,
    }


def test_the_truth_of_unlike_modules_is_what_the_other_undisturbed_runs_give() -> None:
    rows = [unlike_row(0, 2.0), unlike_row(1, 2.0), unlike_row(2, 2.1), unlike_row(3, 2.6, "on a shared core")]
    found = real.with_truths(pd.DataFrame(rows))
    assert found["ratio of the others"].tolist() == pytest.approx(
        [math.sqrt(2 * 2.1), math.sqrt(2 * 2.1), 2.0, (2 * 2 * 2.1) ** (1 / 3)]
    )
    assert found["covers"].tolist() == [False, False, False, False]
    assert real.with_truths(pd.DataFrame(rows[:2]))["covers"].isna().all()  # one other run is no truth


def test_unlike_modules_are_summarized_by_what_ran_beside_them_and_by_their_state() -> None:
    rows = [unlike_row(number, 2.0) for number in range(3)] + [unlike_row(3, 2.6, "on a shared core")]
    rows += [unlike_row(4, 2.0) | {"low": math.nan, "high": math.nan}]
    quiet, shared = real.of_states(real.with_truths(pd.DataFrame(rows))).to_dict("records")
    assert (quiet["state"], quiet["cases"], quiet["intervals"], quiet["covered"]) == ("undisturbed", 4, 3, 1.0)
    assert (shared["state"], shared["cases"], shared["intervals"], shared["covered"]) == ("on a shared core", 1, 1, 0.0)
    assert shared["largest_error"] == pytest.approx(math.log(1.3))


def test_two_short_runs_of_unlike_modules_alone_and_beside_a_busy_process_have_ratios() -> None:
    rows = real.unlike(1, 2, ["cell=vanilla hidden_size=64 batch_size=1"])
    assert rows["beside"].tolist() == [real.ALONE, real.BESIDE]
    assert rows["ratio"].gt(1).all()  # a loop of 16 steps, each of several operators
    assert len(real.of_states(rows)) in (1, 2)


def record_row(check: int, change: float, verdict: str, *, is_slower: bool = True) -> dict[str, object]:
    """A case of one check."""
    about = {"beside": real.ALONE, "margin": 0.025, "seconds per case": 5.0, "change": change, "check": check}
    return about | {"is slower": is_slower, "verdict": verdict, "state": "undisturbed", "seconds": 6.0}


def test_the_record_is_the_smallest_change_that_nine_of_ten_cases_show_and_alarms_are_counted_by_check() -> None:
    rows = [record_row(number, 0.03, "regressed" if number < 8 else "undecided") for number in range(10)]
    rows += [record_row(number, 0.05, "regressed") for number in range(10)]
    rows += [record_row(number, 0.0, "unchanged", is_slower=False) for number in range(9)]
    rows += [record_row(9, 0.0, "regressed", is_slower=False) for _ in range(2)]
    [row] = record.record(pd.DataFrame(rows)).to_dict("records")
    assert row["smallest change found in 90%"] == "5%"
    assert row["found"] == "3%: 80%, 5%: 100%"
    assert row["checks with a false alarm"] == "1 of 30"
    assert row["equal: decided"] == 1.0


def test_a_short_check_of_the_record_times_cases_whose_code_differs_alone_and_beside_a_busy_process() -> None:
    rows = record.tries(0.01, [Question(0.025, 0.5, 0.05)])
    assert rows.groupby("beside", sort=False).size().to_dict() == {real.ALONE: 4, real.BESIDE: 4}
    assert rows["is slower"].sum() == 4
    assert len(record.record(rows)) == 2


def test_assertions_of_modules_against_themselves_are_counted_by_their_answer_and_do_not_count_their_waits() -> None:
    rows = asserted.runs(0.1, only="linear", budget=1.0)
    assert len(rows) == 2
    [found] = asserted.summary(rows).to_dict("records")
    assert (found["runs"], found["assertions"]) == (1, 2)
    assert found["passed"] + found["undecided"] + found["called slower"] == 2
    assert (rows["seconds"] < rows["seconds of the run"]).all()
