"""Which commit made cases slower: the answer, and the search by noisy times."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, NoisySearch, SlowCommit
from rnnbench.analysis.changes import Change
from rnnbench.analysis.estimate import Estimate
from rnnbench.store.metrics import METRICS

METRIC = {metric.name: metric for metric in METRICS}
GOOD, BAD = Commit("a" * 40, "good"), Commit("b" * 40, "bad")
MORE = Change(METRIC["operators"], 10, 12)


def test_a_change_of_a_case_is_read_as_it_was_kept() -> None:
    for change in (
        CaseChange("regressed", Estimate(1.1, 1.05, 1.15), (MORE,)),
        CaseChange(None, None, (), "skipped"),
        CaseChange("undecided", Estimate(1.1, -math.inf, math.inf)),
    ):
        assert CaseChange.from_json(json.loads(json.dumps(change.to_json()))) == change


def test_more_work_is_more_of_what_takes_time() -> None:
    assert CaseChange(None, None, (MORE,)).does_more
    assert not CaseChange(None, None, (Change(METRIC["operators"], 12, 10),)).does_more
    assert not CaseChange(None, None, (Change(METRIC["parameters"], 10, 12),)).does_more
    assert not CaseChange(None).does_more


def test_an_answer_is_complete_if_every_cause_is_confirmed_and_nothing_is_left() -> None:
    cause = SlowCommit(BAD, GOOD, {}, True, "time")
    assert Bisection("s", GOOD, BAD, 1, {}, causes=(cause,)).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(cause,), is_finished=False).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(SlowCommit(BAD, GOOD, {}, False, "counts"),)).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(cause,), unexplained=("cell=gru",)).is_complete
    assert Bisection("s", GOOD, BAD, 1, {}).with_notes("a", "b").notes == ("a", "b")


QUIET = [0.98, 1.02, 1.0, 1.0]


def search_to_the_end(search: NoisySearch, truth: int, rng: np.random.Generator, spread: float) -> int:
    """The number of places that were measured."""
    for number in range(200):
        place = search.next_place()
        if place is None:
            return number
        search.add(place, list((place >= truth) + spread * rng.standard_t(3, 4) / np.sqrt(3)))
    raise AssertionError("it never ends")


@given(st.integers(1, 200), st.data())
def test_without_noise_it_is_a_bisection(count: int, data: st.DataObject) -> None:
    truth = data.draw(st.integers(1, count))
    search = NoisySearch(count, QUIET)
    measured = search_to_the_end(search, truth, np.random.default_rng(1), 0.0)
    assert search.neighbours() == (truth - 1, truth)
    assert measured <= 2 * int(np.ceil(np.log2(count + 1))) + 2


def test_with_heavy_noise_the_answer_is_right_as_often_as_it_says() -> None:
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(100):
        truth = int(rng.integers(1, 65))
        search = NoisySearch(64, list(1 + 0.4 * rng.standard_t(3, 4) / np.sqrt(3)))
        search_to_the_end(search, truth, rng, 0.4)
        wrong += search.neighbours()[1] != truth
    assert wrong <= 8


def test_places_that_can_not_be_measured_are_one_answer_with_the_next_that_can() -> None:
    search = NoisySearch(8, QUIET, left_out={4, 5})
    search_to_the_end(search, 4, np.random.default_rng(1), 0.0)
    assert search.neighbours() == (3, 6)


def test_a_place_without_a_rise_loses_its_probability() -> None:
    search = NoisySearch(4, [0.7, 1.3, 1.0])
    search.add(2, [0.7, 1.3])
    search.add(1, [0.3, -0.3])
    assert search.neighbours() == (1, 2)
    search.refuted.add(2)
    assert search.probabilities[1] < 0.5
    assert search.probabilities.sum() == pytest.approx(1.0)


def test_a_score_between_two_rises_is_seen() -> None:
    search = NoisySearch(8, QUIET)
    search.add(4, [0.5, 0.52, 0.48, 0.5])
    assert not search.is_mixed(4)  # too few
    search.add(4, [0.5, 0.51, 0.49, 0.5])
    assert search.is_mixed(4)
    search.add(3, [0.0] * 8)
    assert not search.is_mixed(3)


def test_where_nothing_can_be_measured_between_there_is_nothing_to_ask() -> None:
    assert NoisySearch(1, QUIET).next_place() is None
    assert NoisySearch(1, QUIET).neighbours() == (0, 1)
    assert NoisySearch(3, [], left_out={1, 2}).neighbours() == (0, 3)


def test_the_likely_places_are_the_fewest_that_are_sure_together() -> None:
    search = NoisySearch(10, QUIET)
    assert sorted(search.likely) == list(range(1, 11))
    search.add(5, [1.0] * 8)
    assert set(search.likely) <= {1, 2, 3, 4, 5}
