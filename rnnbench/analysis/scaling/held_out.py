"""The errors of fits where they were not fitted: at each point left out, and at each size left out with all its points.

A point among others is easy to guess; only sizes that were left out as a whole show what a prediction at a new size is
worth. Those inside the measured range and those at its ends are kept apart, since the second kind is harder.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import t_quantile
from rnnbench.analysis.scaling.terms import Array

MOVING = ("batch_size", "seq_len", "input_size", "hidden_size")  # the sizes that a fit is over
MIN_VALUES = 3  # of a size; with fewer, none can be held out between others
REACH = 2.0  # times the measured range, at either end: nothing is predicted beyond
MAX_FOLDS = 50  # of points; of more, several are left out at once, since each fold costs a fit of each form
HeldOutPlace = Literal["point", "inside", "below", "above"]  # of the left-out points, among those that were kept
Levels = Mapping[str, tuple[int, ...]]  # the measured values of each size, rising


@dataclass(frozen=True)
class Fold:
    """The points that are left out at once."""

    axis: str  # the size, one value of which is left out; empty for points among others
    place: HeldOutPlace
    out: "np.ndarray[tuple[int], np.dtype[np.bool_]]"  # which points: (points)


def levels(sizes: pd.DataFrame) -> Levels:
    """The measured values of each size."""
    return {axis: tuple(sorted(int(value) for value in sizes[axis].unique())) for axis in MOVING}


def folds(sizes: pd.DataFrame) -> list[Fold]:
    """Each point, or a random fiftieth of very many; and each value of the sizes with three values or more."""
    dealt = np.random.default_rng(0).permutation(len(sizes)) % MAX_FOLDS
    result = [Fold("", "point", dealt == number) for number in range(min(len(sizes), MAX_FOLDS))]
    for axis, values in levels(sizes).items():
        if len(values) < MIN_VALUES:
            continue
        for number, value in enumerate(values):
            place: HeldOutPlace = "below" if number == 0 else "above" if number == len(values) - 1 else "inside"
            result.append(Fold(axis, place, (sizes[axis] == value).to_numpy()))
    return result


def frame_of(sizes: pd.DataFrame, left_out: Sequence[Fold]) -> pd.DataFrame:
    """The held-out points of each fold, one fold after another: `MOVING`, `axis`, `place`."""
    rows = np.concatenate([np.flatnonzero(fold.out) for fold in left_out])
    counts = [int(fold.out.sum()) for fold in left_out]
    points = sizes[list(MOVING)].iloc[rows].reset_index(drop=True)
    points["axis"] = np.repeat([fold.axis for fold in left_out], counts)
    points["place"] = np.repeat([fold.place for fold in left_out], counts)
    return points


def places(sizes: Mapping[str, int], measured: Levels) -> list[tuple[str, HeldOutPlace]]:
    """The kinds of held-out points that show how good a prediction at some sizes is: one for each new size."""
    kinds: list[tuple[str, HeldOutPlace]] = [("", "point")]
    for axis, values in measured.items():
        if sizes[axis] not in values:
            side: HeldOutPlace = (
                "below" if sizes[axis] < values[0] else "above" if sizes[axis] > values[-1] else "inside"
            )
            kinds.append((axis, side))
    return kinds


def refusal(sizes: Mapping[str, int], measured: Levels) -> str:
    """Why nothing is predicted at some sizes; empty if something is."""
    for axis, values in measured.items():
        if sizes[axis] != values[0] and len(values) == 1:
            return f"{axis} was measured at {values[0]} only"
        if not values[0] / REACH <= sizes[axis] <= values[-1] * REACH:
            return f"{axis} was measured from {values[0]} to {values[-1]}; {sizes[axis]} is beyond {REACH:g} times that"
    return ""


def half_widths(errors: pd.DataFrame, at: Sequence[Mapping[str, int]], measured: Levels) -> Array:
    """Half-widths of 95% intervals for the logarithm of a prediction at some sizes; NaN if the errors do not show it.

    `errors`: `axis`, `place` and `log_error` of held-out points, which include both the misfit and a point's noise. Of
    the kinds of points that a prediction belongs to, the widest counts.
    """
    known = {key: _half_width(kind.to_numpy()) for key, kind in errors.groupby(["axis", "place"])["log_error"]}
    return np.array([_largest([known.get(kind, np.nan) for kind in places(sizes, measured)]) for sizes in at])


def _largest(values: Sequence[float]) -> float:
    """The largest; NaN if one is not known."""
    return float(np.max(values))


def _half_width(errors: Array) -> float:
    """Student's quantile times the root mean square, or the error that 95% of the next ones stay below, if larger.

    The second assumes no distribution, but needs 19 errors (Barber et al. 2021, doi:10.1214/20-AOS1965: the jackknife).
    """
    count = len(errors)
    if count < 2:
        return np.nan
    student = t_quantile(0.975, count - 1) * float(np.sqrt(np.mean(errors**2)))
    rank = math.ceil(0.95 * (count + 1))
    return max(student, float(np.sort(np.abs(errors))[rank - 1])) if rank <= count else student
