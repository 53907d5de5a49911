"""Lines over a chain of checks: which checks follow on each other, levels, creeps, and drift against a baseline."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis import check_history as check_history_module
from rnnbench.analysis.check_history import CheckHistory, check_history, longest_chain

HALF = 0.016  # of the 95% interval of a step, in logarithms


def rows(
    logs: dict[str, list[float | None]], *, half: float = HALF, called: float = math.inf, base: str = "c0"
) -> pd.DataFrame:
    """A check for each number of a case: its change in logarithms, None where there is none, "same" code for 0."""
    found = []
    for case, steps in logs.items():
        for place, log in enumerate(steps):
            ends = [math.nan] * 3 if log is None else [math.exp(log + side * half) for side in (0, -1, 1)]
            found.append(
                {
                    "place": place,
                    "check": f"check-{place}",
                    "checked": f"2026-01-{place + 1:02} 00:00",
                    "base_commit": base if place == 0 else f"c{place}",
                    "head_commit": f"c{place + 1}",
                    "case": case,
                    "verdict": "undecided" if log is None else "regressed" if log > called else "unchanged",
                    "decided_by": "code" if log == 0 else None,
                    "margin": 0.025,
                    **dict(zip(["change", "change_low", "change_high"], ends, strict=True)),
                }
            )
    return pd.DataFrame(found)


def case_of(history: CheckHistory, case: str) -> dict[str, float]:
    [found] = history.cases[history.cases["case"] == case].to_dict("records")
    return {str(name): value for name, value in found.items()}


@pytest.mark.parametrize(
    ("checks", "chain"),
    [
        ([], []),
        ([("a", "b")], [0]),
        ([("a", "b"), ("b", "c"), ("c", "d")], [0, 1, 2]),
        ([("a", "b"), ("b", "x"), ("b", "c"), ("c", "d")], [0, 2, 3]),  # x: a pull request
        ([("a", "b"), ("a", "b"), ("b", "c")], [1, 2]),  # the same checked again: the later one counts
        ([("a", "b"), ("c", "d")], [1]),
        ([("a", None), (None, "b")], [1]),  # a working tree with changes is no commit
        ([("b", "c"), ("a", "b")], [1]),  # never back in time
        ([("a", "a"), ("a", "b")], [0, 1]),
    ],
)
def test_the_chain_is_of_checks_of_which_each_begins_where_the_one_before_ended(
    checks: list[tuple[str | None, str | None]], chain: list[int]
) -> None:
    assert longest_chain(checks) == chain


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")), max_size=12))
def test_a_chain_is_connected_in_the_order_of_time(checks: list[tuple[str, str]]) -> None:
    chain = longest_chain(list(checks))
    assert chain == sorted(chain)
    assert bool(chain) == bool(checks)
    for one, other in pairwise(chain):
        assert checks[one][1] == checks[other][0]


def test_changes_multiply_and_equal_code_adds_no_uncertainty() -> None:
    found = case_of(check_history(rows({"a": [0.1, 0.0, -0.03, 0.0]})), "a")
    assert found["level"] == pytest.approx(math.exp(0.07))
    once = math.hypot(HALF, 0.004 * 1.96)
    assert math.log(found["level_high"] / found["level"]) == pytest.approx(once * math.sqrt(2), rel=1e-3)
    same = case_of(check_history(rows({"a": [0.0, 0.0]})), "a")
    assert (same["level_low"], same["level"], same["level_high"]) == (1, 1, 1)


def test_a_step_without_a_change_counts_as_none_and_is_counted() -> None:
    found = case_of(check_history(rows({"a": [0.1, None, 0.1]})), "a")
    assert found["unknown"] == 1
    assert found["level"] == pytest.approx(math.exp(0.2))


def test_a_creep_of_ten_times_two_percent_is_named_with_its_stretch() -> None:
    rng = np.random.default_rng(1)
    logs = {f"same {index}": list(rng.normal(0, HALF / 2, 14)) for index in range(49)}
    logs["creeps"] = [*rng.normal(0, HALF / 2, 4), *(0.02 + rng.normal(0, HALF / 2, 10))]
    cases = check_history(rows(logs)).cases
    [case] = cases[cases["creep"].notna()].to_dict("records")
    assert case["case"] == "creeps"
    assert case["creep_low"] < 1.22 < case["creep_high"]
    assert case["creep_start"] in range(2, 7)
    assert case["creep_end"] in range(11, 14)


def test_a_step_that_has_a_verdict_of_its_own_is_no_part_of_a_creep() -> None:
    logs: dict[str, list[float | None]] = {"a": [0.001, 0.15, 0.001, -0.001], "b": [0.001, 0.001, -0.002, 0.001]}
    assert check_history(rows(logs, called=0.1)).cases["creep"].isna().all()


def test_no_creep_goes_on_over_a_step_of_which_nothing_is_known() -> None:
    logs: dict[str, list[float | None]] = {"a": [0.02, 0.02, 0.02, None, 0.02, 0.02, 0.02]}
    assert check_history(rows(logs, half=0.02)).cases["creep"].isna().all()
    logs["a"][3] = 0.02
    assert check_history(rows(logs, half=0.02)).cases["creep"].notna().all()


def test_unchanged_cases_hardly_ever_seem_to_creep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that the method does not assume: heavy tails, cases of unlike noise, steps that move together.

    At an error rate of 20% in place of 1%, so that 50 histories show whether it is kept.
    """
    monkeypatch.setattr(check_history_module, "Q", 0.2)
    rng = np.random.default_rng(7)
    histories, wrong = 50, 0
    for _ in range(histories):
        scale = HALF / 2 * rng.uniform(0.6, 1.1, (20, 1))
        noise = scale * rng.standard_t(5, (20, 30)) / math.sqrt(5 / 3) + rng.normal(0, 0.002, (1, 30))
        logs = {f"case {index}": list(line) for index, line in enumerate(noise)}
        wrong += bool(check_history(rows(logs)).cases["creep"].notna().any())
    assert wrong <= 1  # a chance of 10% gives so few in one of 30 tries


def test_drift_is_the_newest_change_against_a_base_that_several_checks_share() -> None:
    chain = rows({"a": [0.0, 0.0, 0.0]})
    tags = pd.concat(
        rows({"a": [log]}, base="v1").assign(place=3 + number, head_commit=f"c{1 + number}", check=f"tag-{number}")
        for number, log in enumerate((0.01, 0.05))
    )
    history = check_history(pd.concat([chain, tags]))
    assert history.baseline == "v1"
    assert case_of(history, "a")["drift"] == pytest.approx(math.exp(0.05))
    assert check_history(pd.concat([chain, tags[tags["place"] == 3]])).baseline is None
    pulls = tags.assign(head_commit=["x", "y"])  # two states of a pull request
    assert check_history(pd.concat([chain, pulls])).baseline is None
