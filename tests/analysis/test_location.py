"""Trimmed means and moderated variances: values computed by hand, calibration by simulation, and edge cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rnnbench.analysis.location import Location, locations, shift

TEN = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 5.0]


def test_one_spoilt_value_of_ten_does_not_move_the_centre() -> None:
    (centre,) = locations([TEN])
    assert centre.value == pytest.approx(np.mean([0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09]))
    winsorized = [0.02, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.09]
    assert centre.error == pytest.approx(math.sqrt(np.var(winsorized, ddof=1) * 9 / (8 * 7)))
    assert centre.freedom == 7


def test_up_to_four_values_are_not_trimmed_and_one_has_no_error() -> None:
    (four,) = locations([[1.0, 2.0, 3.0, 6.0]])
    assert (four.value, four.freedom) == (3.0, 3)
    assert four.error == pytest.approx(np.std([1, 2, 3, 6], ddof=1) / 2)
    (single,) = locations([[0.3]])
    assert single.freedom == 0
    assert math.isnan(single.error)
    assert math.isnan(single.interval().lower)
    assert single.p_above(0.0) == single.p_below(0.0) == 1.0


def test_samples_below_the_given_size_are_not_trimmed() -> None:
    seven = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.7]
    assert [locations([seven], min_to_trim)[0].value for min_to_trim in (7, 8)] == pytest.approx([0.0, 0.1])
    assert [locations([seven], min_to_trim)[0].freedom for min_to_trim in (7, 8)] == [4, 6]


@pytest.mark.parametrize(("number", "cut"), [(5, 1), (9, 1), (20, 2), (31, 3)])
def test_a_tenth_is_trimmed_at_each_end_but_one_value_at_least(number: int, cut: int) -> None:
    sample = np.random.default_rng(number).normal(size=number) ** 3
    (centre,) = locations([sample])
    assert centre.value == pytest.approx(np.sort(sample)[cut:-cut].mean())
    assert centre.freedom == number - 2 * cut - 1


def test_an_exact_centre_is_not_above_itself() -> None:
    assert Location(0.05, 0.0, 3.0).p_above(0.05) == 1.0
    assert Location(0.05, 0.0, 3.0).p_below(0.05) == 1.0


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        locations([[]])


def test_equal_values_beside_noisy_ones_are_equal_by_chance() -> None:
    noise = [[0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08], [0.0, 0.1] * 4, [0.0, 0.02, 0.05, 0.06, 0.1, 0, 0, 0.1]]
    equal, *others = locations([[0.05] * 8, *noise])
    assert 0.3 * others[0].error < equal.error <= others[0].error
    assert equal.p_above(0.04) > 0.01
    assert others == locations(noise)


def test_equal_values_alone_leave_no_doubt() -> None:
    exact, _ = locations([[0.05] * 8, [0.1] * 8])
    assert exact.error == 0
    assert exact.p_above(0.04) == 0.0
    assert exact.p_above(0.05) == exact.p_above(0.06) == 1.0


def test_samples_of_like_spread_are_drawn_up_to_the_typical_one() -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(0, 0.01, (24, 8))
    alone, together = [locations([sample])[0] for sample in samples], locations(list(samples))
    assert {centre.freedom for centre in alone} == {5}
    assert {centre.freedom for centre in together} == {10}
    least, typical = min(centre.error for centre in together), np.median([centre.error for centre in alone])
    assert min(centre.error for centre in alone) < 0.7 * typical < least


def test_a_sample_that_is_noisier_than_the_others_keeps_its_error() -> None:
    rng = np.random.default_rng(2)
    samples = [*rng.normal(0, 0.01, (23, 15)), rng.normal(0, 0.10, 15)]
    assert locations(samples)[-1].error == locations(samples[-1:])[0].error


@pytest.mark.parametrize("replicates", [8, 15, 30])
@pytest.mark.parametrize("spread", ["equal", "unlike"])
def test_p_values_of_true_hypotheses_are_near_uniform_far_out_in_the_tail(replicates: int, spread: str) -> None:
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(400):
        sizes = np.full(24, 0.01) if spread == "equal" else 0.01 * np.exp(0.35 * rng.standard_normal(24))
        samples = rng.standard_normal((24, replicates)) * sizes[:, None]
        p_values += [centre.p_above(0.0) for centre in locations(list(samples))]
    # 9,600 p-values: 48 below 0.005 and 10 below 0.001 are expected at most.
    assert sum(p < 0.005 for p in p_values) <= 70
    assert sum(p < 0.001 for p in p_values) <= 20
    assert np.mean([p < 0.5 for p in p_values]) == pytest.approx(0.5, abs=0.03)


def test_intervals_cover_the_truth_as_often_as_they_say_or_more() -> None:
    rng = np.random.default_rng(4)
    intervals = [centre.interval() for _ in range(200) for centre in locations(list(rng.normal(0.02, 0.01, (24, 10))))]
    assert 0.94 < np.mean([interval.lower <= 0.02 <= interval.upper for interval in intervals]) < 0.98


@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=12), min_size=1, max_size=6), st.floats(-1, 1))
def test_any_samples_give_p_values_between_0_and_1_that_mirror_each_other(
    samples: list[list[float]], edge: float
) -> None:
    mirrored = locations([[-value for value in sample] for sample in samples])
    for centre, mirror in zip(locations(samples), mirrored, strict=True):
        assert 0 <= centre.p_above(edge) <= 1
        assert centre.p_below(edge) == pytest.approx(mirror.p_above(-edge), rel=1e-6, abs=1e-12)


def test_the_shift_between_two_samples_is_welchs() -> None:
    rng = np.random.default_rng(5)
    base, head = rng.normal(0, 0.01, 4), rng.normal(0.03, 0.03, 3)  # too few to be trimmed
    moved = shift(locations([base.tolist()])[0], locations([head.tolist()])[0])
    expected = stats.ttest_ind(head, base, equal_var=False, alternative="greater")
    assert moved.value == pytest.approx(head.mean() - base.mean())
    assert moved.p_above(0.0) == pytest.approx(expected.pvalue)


def test_a_variance_that_is_given_makes_an_error_larger_and_surer() -> None:
    wider = Location(0.1, 0.03, 4.0).plus(0.04**2)
    assert wider.value == 0.1
    assert wider.error == pytest.approx(0.05)
    assert wider.freedom == pytest.approx(4.0 * (0.05 / 0.03) ** 4)
    assert Location(0.1, 0.0, 4.0).plus(0.04**2) == Location(0.1, 0.04, math.inf)
    assert Location(0.1, 0.03, 4.0).plus(0.04**2, 0.0).p_above(-9.0) == 1.0


def test_a_shift_from_a_single_value_is_not_known() -> None:
    moved = shift(Location(0.0, math.nan, 0.0), Location(0.1, 0.01, 5.0))
    assert (moved.value, moved.freedom, moved.p_above(0.0)) == (0.1, 0.0, 1.0)
    assert math.isnan(moved.error)


def test_a_shift_between_exact_values_is_exact() -> None:
    assert shift(Location(0.0, 0.0, 3.0), Location(0.1, 0.0, 3.0)).p_above(0.05) == 0.0
