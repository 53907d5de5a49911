import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rnnbench.analysis.scaling.counts import counts
from rnnbench.analysis.scaling.crossing import along, crossing
from rnnbench.analysis.scaling.fit import SizeFit, fits
from rnnbench.analysis.scaling.held_out import MOVING, folds, frame_of
from rnnbench.store.records import Workload

from . import made_up


def pair(slow: made_up.Law, fast: made_up.Law = made_up.layer, noise: float = 0.0) -> tuple[SizeFit, SizeFit]:
    fitted = fits(made_up.summary({("torch.nn.LSTM", "torch.nn"): fast, ("lstm", "loop"): slow}, noise=noise))
    reference, own = fitted.found
    assert fitted.reference_of(own) is reference
    return own, reference


def rising(
    one_at: float, doubt: float = 1.1, *, steps: Sequence[int] = made_up.STEPS, hidden: Sequence[int] = made_up.HIDDEN
) -> tuple[SizeFit, SizeFit]:
    """Fits whose ratio is the length over `one_at`, with an interval from 1 / `doubt` to `doubt` times the ratio."""
    sizes = pd.DataFrame(itertools.product(made_up.BATCHES, steps, [64], hidden), columns=list(MOVING))
    errors = frame_of(sizes, folds(sizes))
    kinds = errors.groupby(["axis", "place"])["axis"].transform("size")
    known = counts(sizes, sizes.prod(axis=1).to_numpy(dtype=float))
    assert known is not None
    own, reference = (
        SizeFit(
            {"phase": "inference", "dtype": "float32"},
            "steps",
            np.array(seconds),
            sizes,
            errors.assign(log_error=math.log(above) / stats.t.ppf(0.975, kinds - 1)),
            {},
            known,
            None,
        )
        for seconds, above in (([0.0, 1.0], doubt), ([one_at, 0.0], 1.0))
    )
    return own, reference


def test_the_length_at_which_cheap_calls_no_longer_pay_for_dear_steps_is_found() -> None:
    held = {"batch_size": 1, "hidden_size": 32, "input_size": 64}
    found = crossing(*pair(made_up.loop), "seq_len", held)

    def gap(steps: int) -> float:
        work = Workload("lstm", "inference", "many_to_many", 1, steps, 64, 32, 10, 1, "float32", "cpu", 1)
        return made_up.loop(work, made_up.macs(work)) - made_up.layer(work, made_up.macs(work))

    assert found.course == "becomes slower"
    assert gap(math.floor(found.value)) <= 0 <= gap(math.ceil(found.value))
    assert found.is_within
    assert found.held == held


def test_a_crossing_has_an_interval_that_noise_makes_wider() -> None:
    noisy = crossing(*pair(made_up.loop, noise=0.03), "seq_len")
    quiet = crossing(*pair(made_up.loop, noise=0.003), "seq_len")
    assert quiet.is_sure
    assert quiet.low < quiet.value < quiet.high
    assert not noisy.is_sure or noisy.high - noisy.low > quiet.high - quiet.low


@pytest.mark.parametrize(("factor", "course"), [(3.0, "slower"), (0.3, "faster")])
def test_what_is_slower_or_faster_everywhere_does_not_cross(factor: float, course: str) -> None:
    found = crossing(*pair(lambda work, macs: factor * made_up.layer(work, macs), noise=0.01), "batch_size")
    assert (found.course, found.is_sure) == (course, True)
    assert math.isnan(found.value)


def test_a_difference_within_the_interval_is_not_sure() -> None:
    found = crossing(*pair(lambda work, macs: 1.001 * made_up.layer(work, macs), noise=0.05), "batch_size")
    assert not found.is_sure


# Lengths of 4, 16 and 64 were measured, so that 2 to 128 are within reach.
@pytest.mark.parametrize(
    ("one_at", "doubt", "low", "high", "is_within"),
    [
        (10.5, 1.0, 10, 11, True),
        (10.5, 1.4, 7, 15, True),
        (9.0, 1.2, 7, 11, True),  # exactly at a whole size
        (40.0, 3.0, 13, 123, True),
        (60.0, 4.0, 14, math.nan, True),
        (5.5, 3.0, math.nan, 17, True),
        (2.8, 1.2, 2, 4, False),
        (100.0, 1.02, 95, 104, False),
        (3.5, 100.0, math.nan, math.nan, False),
    ],
)
def test_a_crossing_lies_between_the_sizes_at_which_the_interval_first_leaves_one_out(
    one_at: float, doubt: float, low: float, high: float, is_within: bool
) -> None:
    own, reference = rising(one_at, doubt)
    for course, found in (
        ("becomes slower", crossing(own, reference, "seq_len")),
        ("becomes faster", crossing(reference, own, "seq_len")),
    ):
        assert (found.axis, found.course, found.is_within) == ("seq_len", course, is_within)
        assert found.held == {"batch_size": 16, "input_size": 64, "hidden_size": 128}
        assert (found.value, found.low, found.high) == pytest.approx((one_at, low, high), nan_ok=True)
        assert found.is_sure == (math.isfinite(low) and math.isfinite(high))


def test_what_crosses_twice_is_said_to_and_has_its_first_crossing() -> None:
    """At the middle batch and length the difference grows with (hidden size - 50) (hidden size - 200)."""

    def bent(work: Workload, macs: float) -> float:
        return (macs / 4 + 16 * 16 * 50 * 200) * 1e-9

    def straight(work: Workload, macs: float) -> float:
        return work.batch_size * work.seq_len * work.hidden_size * (64 + 10 / 4 + 50 + 200) * 1e-9

    found = crossing(*pair(bent, straight), "hidden_size")
    assert (found.axis, found.course, found.is_sure, found.is_within) == ("hidden_size", "crosses again", True, True)
    assert found.value == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize(
    ("lengths", "one_at", "doubt", "is_sure"),
    [
        ([4, 16, 64], 1.0, 3.9, True),  # the interval holds 1 only at lengths below 4, which were not measured
        ([4, 16, 64], 1.0, 4.1, False),
        ([4, 16, 64], 1.0, 6.1, False),
        ([4, 16, 64], 200.0, 3.0, True),  # the interval holds 1 only above 66
        ([4, 16, 64], 200.0, 3.3, False),
        ([4, 6, 8], 20.0, 2.4, True),  # the interval holds 1 only above 8.3
        ([4, 6, 8], 20.0, 2.6, False),
    ],
)
def test_what_is_sure_is_sure_for_all_of_the_measured_range(
    lengths: list[int], one_at: float, doubt: float, is_sure: bool
) -> None:
    own, reference = rising(one_at, doubt, steps=lengths)
    own_course, other_course = ("slower", "faster") if one_at < 2 else ("faster", "slower")
    for course, found in (
        (own_course, crossing(own, reference, "seq_len")),
        (other_course, crossing(reference, own, "seq_len")),
    ):
        assert (found.axis, found.course, found.is_sure) == ("seq_len", course, is_sure)
        assert found.held == {"batch_size": 16, "input_size": 64, "hidden_size": 128}
        assert math.isnan(found.value)


def test_beyond_the_measured_range_only_sizes_with_an_interval_count() -> None:
    own, reference = rising(3.0)
    assert crossing(own, reference, "seq_len").course == "becomes slower"
    untold = own.errors[own.errors["place"] != "below"]
    assert crossing(replace(own, errors=untold), reference, "seq_len").course == "slower"


@pytest.mark.parametrize(("axis", "sizes"), [("seq_len", {"steps": [4, 64]}), ("hidden_size", {"hidden": [1000]})])
def test_between_sizes_that_tell_of_no_other_nothing_is_known(axis: str, sizes: dict[str, Sequence[int]]) -> None:
    found = crossing(*rising(10.5, 1.1, **sizes), axis)
    assert (found.axis, found.course, found.is_sure) == (axis, "not known", False)
    assert axis not in found.held
    assert len(found.held) == 3


def test_one_size_is_moved_as_far_as_predictions_reach() -> None:
    held = {"batch_size": 3, "seq_len": 5, "input_size": 64, "hidden_size": 7}
    measured = {"batch_size": (1, 2, 4), "seq_len": (4, 16, 64), "input_size": (64,), "hidden_size": (8, 12, 16)}
    lengths = along("seq_len", held, measured, 7)
    pd.testing.assert_frame_equal(lengths, pd.DataFrame({**held, "seq_len": [2, 4, 8, 16, 32, 64, 128]}))
    assert along("batch_size", held, measured, 4)["batch_size"].tolist() == [1, 2, 4, 8]
