"""Times and ratios at sizes that were not measured, each with its interval or the reason why it has none."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import from_logs
from rnnbench.analysis.size_fit import (
    FITTED_PHASES,
    MOVING,
    SERIES_AXES,
    TIME_CAUSES,
    Array,
    SizeFit,
    fits,
    place_of,
    reference_of,
)
from rnnbench.analysis.variances import t_quantile
from rnnbench.errors import UserError
from rnnbench.store.implementations import REFERENCES
from rnnbench.store.stored_record import Size, adapter, valid

MAX_EXTRAPOLATION = 2.0  # times the measured range, at either end: nothing is predicted beyond
UNTOLD = "no interval: three values of a size must be measured to tell how good a prediction at another is"
UNCOUNTED_HERE = "its MACs at this size don't follow from the recorded ones"
Levels = Mapping[str, tuple[int, ...]]  # the measured values of each size, rising


def predict(summary: pd.DataFrame, asked: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Predict the time and the ratio to torch.nn of each fitted series of a summary at the requested sizes.

    `asked`: values by axis. Arguments, columns and errors are those of `rnnbench.predict`, which describes them. The
    result also has the references of the matching series.
    """
    every_fit, reasons = fits(summary)
    if not every_fit:
        why = sorted(set(reasons)) or [f"it has no {', '.join(FITTED_PHASES)}"]
        raise UserError(f"nothing can be predicted from this run: {'; '.join(why)}")
    values_by_axis = {axis: {str(value).lower() for value in asked[axis]} for axis in asked if axis in SERIES_AXES}
    matches = [
        fit for fit in every_fit if all(str(fit.axes[axis]).lower() in values_by_axis[axis] for axis in values_by_axis)
    ]
    if not matches:
        values_of = {axis: dict.fromkeys(str(fit.axes[axis]) for fit in every_fit) for axis in values_by_axis}
        available = "; ".join(f"{axis}={','.join(values)}" for axis, values in values_of.items())
        raise UserError(f"no fitted series matches these values; available: {available}")
    matches += [reference for fit in matches if (reference := reference_of(fit, every_fit))]
    ordered = [fit for fit in every_fit if any(fit is other for other in matches)]
    return pd.concat([at(fit, reference_of(fit, every_fit), _sizes(fit, asked)) for fit in ordered], ignore_index=True)


def at(fit: SizeFit, reference: SizeFit | None, sizes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one series, as `predict` does."""
    rows: Any = sizes[list(MOVING)].to_dict("records")
    why = np.array([refusal(row, fit.levels) for row in rows], dtype=object)
    seconds = fit.seconds(sizes)
    half = half_widths(fit.errors, rows, fit.levels)
    why[(why == "") & np.isnan(seconds)] = UNCOUNTED_HERE
    is_predicted = why == ""
    if reference is None:
        # The reference's own ratio is 1, without doubt.
        ratio_half = np.full(len(sizes), 0.0 if fit.axes["implementation"] in REFERENCES else math.nan)
        ratio = 1.0 + ratio_half
    else:
        # The ratio has its own errors at points held out of both fits: errors that both share cancel.
        errors = fit.errors.merge(reference.errors, on=[*MOVING, "axis", "place"], suffixes=("", "_reference"))
        errors["log_error"] -= errors["log_error_reference"]
        ratio = seconds / reference.seconds(sizes)
        ratio_half = half_widths(errors, rows, fit.levels)
    table = sizes[list(MOVING)].assign(**fit.axes)[[*fit.axes, *MOVING]]
    table["status"] = np.where(is_predicted, "predicted", "not predicted")
    table["reason"] = np.where(is_predicted & np.isnan(half), UNTOLD, why)
    for name, value, width in (("seconds", seconds, half), ("ratio", ratio, ratio_half)):
        table[name] = np.where(is_predicted, value, np.nan)
        table[f"{name}_low"] = table[name] * from_logs(-width)
        table[f"{name}_high"] = table[name] * from_logs(width)
    causes = pd.DataFrame(fit.by_cause(sizes), columns=list(TIME_CAUSES))
    table["spent_on"] = np.where(is_predicted, causes.fillna(0.0).idxmax(axis=1), "")
    table[list(TIME_CAUSES)] = np.where(is_predicted[:, np.newaxis], causes.div(seconds, axis=0), np.nan)
    measured = fit.sizes.drop_duplicates(list(MOVING)).rename(columns={"seconds": "measured_seconds"})
    return table.merge(measured, on=list(MOVING), how="left")


def refusal(sizes: Mapping[str, int], measured: Levels) -> str:
    """Return why nothing is predicted at some sizes; empty if something is."""
    for axis, values in measured.items():
        if sizes[axis] != values[0] and len(values) == 1:
            return f"{axis} was measured at {values[0]} only"
        if not values[0] / MAX_EXTRAPOLATION <= sizes[axis] <= values[-1] * MAX_EXTRAPOLATION:
            beyond = f"{sizes[axis]} is beyond {MAX_EXTRAPOLATION:g} times that"
            return f"{axis} was measured from {values[0]} to {values[-1]}; {beyond}"
    return ""


def half_widths(errors: pd.DataFrame, at: Sequence[Mapping[str, int]], measured: Levels) -> Array:
    """Return half-widths of 95% intervals for the logarithm of a prediction at some sizes.

    `errors`: `axis`, `place` and `log_error` of held-out points, which include both the misfit and a point's noise. A
    prediction is as good as those of points among others, and as those of sizes held out where its own are new: the
    widest counts. NaN if the errors do not show it.
    """
    width_of = {}
    for key, kind in errors.groupby(["axis", "place"])["log_error"]:
        sizes = np.sort(kind.abs())
        count = len(kind)
        if count < 2:
            continue
        # Student's quantile times the root mean square, or what 95% of the next errors stay below, if larger. This
        # assumes no distribution, but needs 19 errors (Barber et al. 2021, doi:10.1214/20-AOS1965: the jackknife).
        rank = math.ceil(0.95 * (count + 1))
        student = t_quantile(0.975, count - 1) * float(np.sqrt(np.mean(sizes**2)))
        width_of[key] = max(student, float(sizes[rank - 1])) if rank <= count else student
    widths = []
    for point in at:
        new = [(axis, place_of(point[axis], of)) for axis, of in measured.items() if point[axis] not in of]
        widths.append(np.max([width_of.get(kind, np.nan) for kind in [("", "point"), *new]]))
    return np.array(widths)


def _sizes(fit: SizeFit, requested: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return the product of the requested sizes; a size that was measured at one value only needs no request."""
    for axis, measured in fit.levels.items():
        if axis not in requested and len(measured) > 1:
            listed = ", ".join(map(str, measured))
            raise UserError(f"which {axis}? It was measured at {listed}; say for example {axis}={measured[-1]}")
    wanted = {axis: list(requested.get(axis, measured)) for axis, measured in fit.levels.items()}
    values = valid(adapter(dict[str, list[Size]]).validate_python, wanted)
    return pd.DataFrame(list(itertools.product(*values.values())), columns=list(values))
