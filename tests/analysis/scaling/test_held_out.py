import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.scaling.held_out import MAX_FOLDS, MOVING, folds, frame_of, half_widths, levels, places, refusal

from . import made_up

MEASURED = {"batch_size": (1, 4, 16), "seq_len": (8, 32), "input_size": (64,), "hidden_size": (32, 64, 128, 256)}
INSIDE = {"batch_size": 4, "seq_len": 8, "input_size": 64, "hidden_size": 128}


@pytest.mark.parametrize(("lengths", "largest"), [([1, 2, 4], 1), ([1, 2, 4, 8, 16, 32, 64, 128], 3)])
def test_each_point_is_held_out_once_among_others_whatever_their_number(lengths: list[int], largest: int) -> None:
    sizes = made_up.summary({("lstm", "loop"): made_up.loop}, steps=lengths)
    points = [fold.out for fold in folds(pd.DataFrame(sizes)) if fold.place == "point"]
    assert len(points) == min(len(sizes), MAX_FOLDS)
    assert (np.sum(points, axis=0) == 1).all()
    assert max(out.sum() for out in points) == largest
    again = [fold.out for fold in folds(pd.DataFrame(sizes)) if fold.place == "point"]
    np.testing.assert_array_equal(points, again)


def test_each_value_of_a_size_with_three_or_more_is_held_out_with_all_of_its_points() -> None:
    rows = [(1, 8, 64, 32), (4, 8, 64, 32), (16, 8, 64, 32), (4, 32, 64, 32), (16, 32, 64, 32)]
    sizes = pd.DataFrame(rows, columns=list(MOVING), index=[7, 7, 3, 2, 1]).assign(seconds=1.0)
    all_folds = folds(sizes)
    assert all((fold.axis, fold.place, int(fold.out.sum())) == ("", "point", 1) for fold in all_folds[:5])
    assert [(fold.axis, fold.place, np.flatnonzero(fold.out).tolist()) for fold in all_folds[5:]] == [
        ("batch_size", "below", [0]),
        ("batch_size", "inside", [1, 3]),
        ("batch_size", "above", [2, 4]),
    ]
    out = [rows[np.flatnonzero(fold.out)[0]] for fold in all_folds[:5]] + [rows[index] for index in (0, 1, 3, 2, 4)]
    kinds = [("", "point")] * 5 + [("batch_size", place) for place in ("below", "inside", "inside", "above", "above")]
    expected = [(*size, *kind) for size, kind in zip(out, kinds, strict=True)]
    pd.testing.assert_frame_equal(
        frame_of(sizes, all_folds), pd.DataFrame(expected, columns=[*MOVING, "axis", "place"]), check_dtype=False
    )


def test_the_measured_values_of_each_size_rise() -> None:
    sizes = pd.DataFrame([(4, 8, 64, 256), (1, 8, 64, 32), (1, 8, 64, 128)], columns=list(MOVING))
    assert levels(sizes) == {
        "batch_size": (1, 4), "seq_len": (8,), "input_size": (64,), "hidden_size": (32, 128, 256),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("new", "kinds"),
    [
        ({}, []),
        ({"batch_size": 3}, [("batch_size", "inside")]),
        ({"hidden_size": 31}, [("hidden_size", "below")]),
        ({"hidden_size": 257}, [("hidden_size", "above")]),
        ({"batch_size": 17, "seq_len": 9}, [("batch_size", "above"), ("seq_len", "inside")]),
    ],
)
def test_a_prediction_is_as_good_as_those_of_sizes_held_out_where_its_own_are_new(
    new: dict[str, int], kinds: list[tuple[str, str]]
) -> None:
    assert places(INSIDE | new, MEASURED) == [("", "point"), *kinds]


@pytest.mark.parametrize(
    "new",
    [
        {"hidden_size": 16},
        {"hidden_size": 15},
        {"hidden_size": 512},
        {"hidden_size": 513},
        {"input_size": 65},
    ],
)
def test_nothing_is_predicted_beyond_twice_the_measured_sizes_nor_where_one_stood_still(
    new: dict[str, int], snapshot: SnapshotAssertion
) -> None:
    assert refusal(INSIDE | new, MEASURED) == snapshot


@pytest.mark.parametrize(
    ("errors", "half"),
    [
        ([0.1], math.nan),
        ([0.1, -0.1], stats.t.ppf(0.975, 1) * 0.1),
        ([0.0, 0.1, -0.2], stats.t.ppf(0.975, 2) * math.sqrt(0.05 / 3)),
        ([0.0] * 17 + [-1.0], stats.t.ppf(0.975, 17) / math.sqrt(18)),
        ([0.0] * 18 + [-1.0], 1.0),  # of 19 or more, the largest bounds 95% of new values
        ([0.0] * 37 + [0.5, -1.0], 0.5),  # the 38th of 39 values
        ([0.1, -0.1] * 20, stats.t.ppf(0.975, 39) * 0.1),
    ],
)
def test_the_interval_is_student_s_or_holds_95_of_100_errors_whatever_is_wider(
    errors: list[float], half: float
) -> None:
    held_out = pd.DataFrame({"axis": "", "place": "point", "log_error": errors})
    assert half_widths(held_out, [INSIDE], MEASURED) == pytest.approx([half], nan_ok=True)


def test_the_widest_of_the_kinds_that_a_prediction_belongs_to_counts_and_none_where_one_is_not_known() -> None:
    kinds = [("", "point", 0.1), ("batch_size", "inside", 0.3), ("hidden_size", "above", 0.01)]
    held_out = pd.DataFrame(
        [(axis, place, sign * size) for axis, place, size in kinds for sign in (1, -1)],
        columns=["axis", "place", "log_error"],
    )
    requests = [{}, {"batch_size": 3}, {"hidden_size": 300}, {"batch_size": 3, "hidden_size": 300}, {"hidden_size": 16}]
    widths = half_widths(held_out, [INSIDE | new for new in requests], MEASURED)
    assert widths / stats.t.ppf(0.975, 1) == pytest.approx([0.1, 0.3, 0.1, 0.3, math.nan], nan_ok=True)
