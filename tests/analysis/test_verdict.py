"""The verdict for given ratios and errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rnnbench.analysis import verdict as verdict_module
from rnnbench.analysis.estimate import Location
from rnnbench.analysis.verdict import FAMILY_SHARE, LOOK_CONFIDENCE, Q, Trial, Verdict, located, share_of_look

MARGIN = 0.025


def at(percent: float, error: float = 0.2) -> Location:
    """A log-ratio of `percent` with a standard error in percent and many degrees of freedom."""
    return Location(math.log1p(percent / 100), error / 100, 30.0)


def verdict(low: Location, mean: Location, others: int = 0) -> Verdict:
    trial = Trial(dict.fromkeys(["case", *map(str, range(others))], MARGIN))
    trial.look("case", low, mean)
    for number in range(others):
        trial.look(str(number), at(0), at(0))
    return trial.verdicts()["case"].verdict


@pytest.mark.parametrize(
    ("low", "mean", "expected"),
    [
        (at(5), at(5), "regressed"),
        (at(0), at(5), "regressed"),  # some calls are slower
        (at(5), at(0), "regressed"),
        (at(-5), at(-5), "improved"),
        (at(-5), at(5), "regressed"),  # the worse of the two counts
        (at(0), at(0), "unchanged"),
        (at(1.5), at(-1.5), "unchanged"),
        (at(0), at(0, error=2), "unchanged"),  # the mean is an alarm: its value counts, and not its interval
        (at(0, error=2), at(0), "undecided"),
        (at(2.4), at(0), "undecided"),  # too close to the margin
        (at(3), at(3), "undecided"),
    ],
)
def test_the_tests_decide_a_change_and_the_intervals_that_there_is_none(
    low: Location, mean: Location, expected: Verdict
) -> None:
    assert verdict(low, mean) == expected


def test_a_margin_of_its_own_decides_for_a_case() -> None:
    trial = Trial({"strict": 0.025, "lenient": 0.10})
    for case in trial.margins:
        trial.look(case, at(5), at(5))
    assert {case: judged.verdict for case, judged in trial.verdicts().items()} == {
        "strict": "regressed",
        "lenient": "unchanged",
    }


def test_among_many_cases_it_takes_more_to_call_one_regressed() -> None:
    doubtful = Location(math.log1p(MARGIN) + 3 * 0.002, 0.002, 30.0)  # p = 0.0027
    assert verdict(doubtful, doubtful, others=0) == "regressed"
    assert verdict(doubtful, doubtful, others=23) == "undecided"


def test_an_early_look_spends_little_and_so_asks_for_more() -> None:
    trial = Trial({"case": MARGIN})
    doubtful = Location(math.log1p(MARGIN) + 3 * 0.002, 0.002, 30.0)
    trial.look("case", doubtful, doubtful, spent=0.1)
    assert trial.decided() == set()
    trial.look("case", doubtful, doubtful, spent=0.9)
    assert trial.decided() == {"case"}


def test_all_looks_together_spend_the_error_rate_once_and_a_late_one_has_enough_of_it_to_decide() -> None:
    shares = [share_of_look(number) for number in range(1, 1000)]
    assert 0.99 < sum(shares) < 1
    assert shares[0] == pytest.approx(1 / 2)
    assert shares[9] > 1 / 200  # shares that halve from look to look would leave a thousandth
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(("side", "decided"), [(1, "regressed"), (-1, "improved")])
@pytest.mark.parametrize("spent", [1.0, 0.25])
def test_each_of_the_two_ratios_has_half_of_a_looks_share_of_the_error_rate(
    side: int, decided: Verdict, spent: float
) -> None:
    def verdict_at(p: float) -> Verdict:
        far = math.log1p(MARGIN) + 0.002 * float(stats.t.isf(p, 30))  # at this log-ratio the one-sided test has this p
        trial = Trial({"case": MARGIN})
        nothing = Location(0.0, 0.1, 30.0)
        at_the_edge = Location(side * far, 0.002, 30.0)
        trial.look("case", at_the_edge, nothing, spent)
        return trial.verdicts()["case"].verdict

    share = Q / 2 * spent
    assert verdict_at(0.99 * share) == decided
    assert verdict_at(1.01 * share) == "undecided"


def test_intervals_are_values_with_the_confidence_of_their_look() -> None:
    wide, narrow = Trial({"case": MARGIN}), Trial({"case": MARGIN})
    wide.look("case", at(5), at(5), confidence=LOOK_CONFIDENCE)
    narrow.look("case", at(5), at(5))
    first, second = wide.verdicts()["case"].low, narrow.verdicts()["case"].low
    assert first.value == second.value == pytest.approx(1.05)
    assert first.lower < second.lower < 1.05 < second.upper < first.upper


@pytest.mark.parametrize(("confidence", "expected"), [(0.95, "unchanged"), (0.99, "undecided")])
def test_unchanged_rests_on_the_intervals_of_the_look_whatever_it_spends(confidence: float, expected: Verdict) -> None:
    for spent in (1.0, 0.01):
        trial = Trial({"case": MARGIN})
        trial.look("case", at(2.0), at(0), spent, confidence=confidence)  # 2.5 errors from the margin
        assert trial.verdicts()["case"].verdict == expected


def test_a_case_of_few_pairs_may_not_be_unchanged() -> None:
    trial = Trial({"case": MARGIN})
    trial.look("case", at(0), at(0), may_be_unchanged=False)
    assert trial.verdicts()["case"].verdict == "undecided"


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        (at(0, error=0.9), "unchanged"),
        (at(0, error=3), "unchanged"),  # its interval is wider than the margin, and its value inside
        (at(-3, error=0.5), "undecided"),  # the mean itself is beyond the margin
        (at(3, error=3), "undecided"),
        (at(9), "regressed"),  # some calls are much slower
    ],
)
def test_unchanged_needs_the_interval_of_the_typical_call_and_the_value_of_the_mean(
    mean: Location, expected: Verdict
) -> None:
    trial = Trial({"case": MARGIN})
    trial.look("case", at(0), mean)
    assert trial.verdicts()["case"].verdict == expected


def test_suites_in_which_nothing_differs_have_no_more_false_alarms_than_their_error_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is 20% here, so that 200 suites show it: 40 alarms at most are expected, and were it 30%, 60."""
    monkeypatch.setattr(verdict_module, "Q", 0.2)
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(200):
        # At the margin itself, where an alarm is most likely.
        low, mean = (
            located({str(n): list(math.log1p(MARGIN) + rng.normal(0, 0.01, 12)) for n in range(24)}) for _ in range(2)
        )
        trial = Trial(dict.fromkeys(low, MARGIN))
        for case, where in low.items():
            trial.look(case, where, mean[case])
        alarms += any(judged.verdict == "regressed" for judged in trial.verdicts().values())
    assert alarms <= 52  # more come about once in 40 tests at 20%, and in nine of ten at 30%


def test_a_verdict_from_an_early_look_keeps_the_interval_of_that_look() -> None:
    trial = Trial(dict.fromkeys(["case", *map(str, range(9))], MARGIN))
    early = Location(math.log1p(MARGIN) + 3.6 * 0.002, 0.002, 30.0)
    for case in trial.margins:
        trial.look(case, early if case == "case" else at(0, error=9), at(0, error=9), spent=0.5)
    assert trial.decided() == set()  # not sure enough among ten
    for case in trial.margins:
        trial.look(case, at(2.4, error=1) if case == "case" else at(50), at(0), spent=0.5)
    judged = trial.verdicts()["case"]
    assert (judged.verdict, judged.decided_by) == ("regressed", "low")
    assert judged.low.lower > 1 + MARGIN


@pytest.mark.parametrize(
    ("low", "mean", "by"),
    [
        (at(5), at(5), "low"),
        (at(5), at(8), "mean"),  # surely more
        (at(5), at(5.5), "low"),  # perhaps more
        (at(5), at(8, error=2), "low"),  # it may be more, and does not reject
        (at(0), at(5), "mean"),
        (at(8), at(5), "low"),
        (at(-5), at(5), "mean"),  # slower, though the typical call is faster
        (at(107, error=45), at(150, error=13), "mean"),  # only the mean is sure
    ],
)
def test_the_typical_call_decides_unless_the_mean_alone_rejects_or_is_surely_farther(
    low: Location, mean: Location, by: str
) -> None:
    for side, word in ((1, "regressed"), (-1, "improved"))[: 1 if low.value < 0 else 2]:
        trial = Trial({"case": MARGIN, "other": MARGIN})
        less_sure = Location(side * (math.log1p(MARGIN) + 4 * 0.002), 0.002, 30.0)
        trial.look("other", less_sure, at(0))
        trial.look("case", replace(low, value=side * low.value), replace(mean, value=side * mean.value))
        judged = trial.verdicts()["case"]
        assert (judged.verdict, judged.decided_by) == (word, by)
        assert judged.deciding == (judged.mean if by == "mean" else judged.low)
    assert Trial({}).verdicts() == {}


CASES_OF_FAMILY = ("one", "two", "three")


def family_trial(
    whole: Location,
    members: dict[str, Location] | None = None,
    families: Mapping[str, Sequence[str]] | None = None,
    margins: dict[str, float] | None = None,
) -> Trial:
    """A trial of three cases whose own tests say nothing, after one look at their family."""
    families = families or {"cells.py:Mine": CASES_OF_FAMILY}
    trial = Trial(margins or dict.fromkeys([*CASES_OF_FAMILY, "other"], MARGIN), families=families)
    for case in trial.margins:
        trial.look(case, at(0, error=5), at(0, error=5))
    members = members or dict.fromkeys(CASES_OF_FAMILY, whole)
    trial.look_at_family("cells.py:Mine", whole, whole, {case: (where, where) for case, where in members.items()})
    return trial


@pytest.mark.parametrize(("side", "word"), [(1, "regressed"), (-1, "improved")])
def test_cases_that_are_slower_together_regress_with_their_family_as_the_reason(side: int, word: Verdict) -> None:
    judged = family_trial(replace(at(5), value=side * at(5).value)).verdicts()
    assert [judged[case].verdict for case in CASES_OF_FAMILY] == [word] * 3
    assert judged["other"].verdict == "undecided"
    family = judged["one"].family
    assert family is not None
    assert (family.name, family.cases, judged["one"].decided_by) == ("cells.py:Mine", 3, "low")
    assert family.ratio.value == pytest.approx(1.05**side)


@pytest.mark.parametrize(
    ("odd_one", "expected"),
    [
        (at(5, error=1), "regressed"),
        (at(2), "undecided"),  # slower, and within the margin
        (at(8, error=4), "undecided"),  # perhaps not slower at all
        (at(-5), "undecided"),
    ],
)
def test_a_case_that_does_not_agree_with_its_family_is_left_to_its_own_test(odd_one: Location, expected: str) -> None:
    judged = family_trial(at(5), {"one": at(6), "two": at(6), "three": odd_one}).verdicts()
    assert [judged[case].verdict for case in CASES_OF_FAMILY] == ["regressed", "regressed", expected]
    assert (judged["three"].family is None) == (expected == "undecided")


@pytest.mark.parametrize(("p", "expected"), [(0.0045, "regressed"), (0.0055, "undecided")])
def test_a_case_changes_with_its_family_if_one_that_did_not_would_show_as_much_once_in_a_hundred_times(
    p: float, expected: str
) -> None:
    """Half of that is for each of the two ratios."""
    doubtful = Location(0.02 * float(stats.t.isf(p, 30)), 0.02, 30.0)
    judged = family_trial(at(5), {"one": at(6), "two": at(6), "three": doubtful}).verdicts()
    assert judged["three"].verdict == expected


def test_one_slow_case_is_no_matter_of_its_family() -> None:
    judged = family_trial(at(5), {"one": at(15), "two": at(0), "three": at(0)}).verdicts()
    assert {each.verdict for each in judged.values()} == {"undecided"}


def test_a_family_whose_mean_is_not_surely_beyond_the_margin_says_nothing_of_its_cases() -> None:
    judged = family_trial(at(2.4), dict.fromkeys(CASES_OF_FAMILY, at(5))).verdicts()
    assert {each.verdict for each in judged.values()} == {"undecided"}


def test_the_largest_margin_of_the_cases_is_that_of_their_family() -> None:
    margins = {"one": 0.01, "two": 0.01, "three": 0.10, "other": 0.01}
    assert {each.verdict for each in family_trial(at(5), margins=margins).verdicts().values()} == {"undecided"}


def test_the_own_verdict_of_a_case_is_not_overruled_by_its_family() -> None:
    trial = family_trial(at(5))
    trial.look("one", at(0), at(0))
    trial.look("two", at(-9), at(-9))
    judged = trial.verdicts()
    assert [judged[case].verdict for case in CASES_OF_FAMILY] == ["unchanged", "improved", "regressed"]
    assert [judged[case].family is None for case in CASES_OF_FAMILY] == [True, True, False]


@pytest.mark.parametrize(("share", "is_rejected"), [(0.9, True), (1.1, False)])
def test_families_and_cases_divide_the_error_rate_and_cases_have_all_of_it_if_there_is_no_family(
    share: float, is_rejected: bool
) -> None:
    def doubtful(error: float) -> Location:
        """Where a test of one of two ratios has a p-value of a share of this error."""
        distance = -float(stats.t.ppf(share * error / 2, 30.0))
        return Location(math.log1p(MARGIN) + distance * 0.002, 0.002, 30.0)

    nothing, name = Location(0.0, 0.002, 30.0), "cells.py:Mine"
    of_family = Trial(dict.fromkeys(CASES_OF_FAMILY, MARGIN), families={name: CASES_OF_FAMILY})
    where = doubtful(FAMILY_SHARE * Q)
    of_family.look_at_family(name, where, nothing, dict.fromkeys(CASES_OF_FAMILY, (where, nothing)))
    of_family.looks = {case: [] for case in CASES_OF_FAMILY}
    beside, alone = Trial({"one": MARGIN}, families={name: CASES_OF_FAMILY}), Trial({"one": MARGIN})
    beside.look("one", doubtful((1 - FAMILY_SHARE) * Q), nothing)
    alone.look("one", doubtful(Q), nothing)
    words = {trial.verdicts()["one"].verdict == "regressed" for trial in (of_family, beside, alone)}
    assert words == {is_rejected}


def test_among_many_families_it_takes_more_to_reject_one() -> None:
    doubtful = Location(math.log1p(MARGIN) + 4 * 0.002, 0.002, 30.0)
    others = {f"other {number}": CASES_OF_FAMILY for number in range(9)}
    few, many = (family_trial(doubtful, families={"cells.py:Mine": CASES_OF_FAMILY} | more) for more in ({}, others))
    assert (few.verdicts()["one"].verdict, many.verdicts()["one"].verdict) == ("regressed", "undecided")


def test_the_state_of_the_core_is_that_of_the_look_that_decided() -> None:
    trial = Trial(dict.fromkeys(["slow", "open"], MARGIN))
    for where, state in ((at(9), "undisturbed"), (at(5, error=9), "on a shared core")):
        trial.look("slow", where, where, 0.5, state=state)
        trial.look("open", at(0, error=9), at(0, error=9), 0.5, state=state)
    judged = trial.verdicts()
    assert (judged["slow"].state, judged["open"].state) == ("undisturbed", "on a shared core")
