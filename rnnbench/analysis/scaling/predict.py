"""Times and ratios at sizes that were not measured, each with its interval or the reason why it has none."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import from_logs
from rnnbench.analysis.scaling.fit import PHASES, SERIES, SizeFit, fits
from rnnbench.analysis.scaling.held_out import MOVING, half_widths, refusal
from rnnbench.analysis.scaling.terms import CAUSES, Array, TimeCause
from rnnbench.errors import UserError
from rnnbench.store.records import REFERENCES

UNTOLD = "no interval: three values of a size must be measured to tell how good a prediction at another is"
UNCOUNTED = "its MACs at this size don't follow from the recorded ones"
MAX_ROWS = 100_000
MAX_DIGITS = 18  # of a size; a machine's whole numbers have no more


def predict(summary: pd.DataFrame, asked: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Predicted time and ratio to torch.nn of each fitted series of a summary at the requested sizes.

    `asked`: values by axis. Arguments, columns and errors are those of `rnnbench.predict`, which describes them. The
    result also has the references of the matching series.
    """
    series = fits(summary)
    if not series.found:
        reasons = sorted({left_out.reason for left_out in series.left_out}) or [f"it has no {_listed(PHASES)}"]
        raise UserError(f"nothing can be predicted from this run: {'; '.join(reasons)}")
    kept = [fit for fit in series.found if all(_is_among(fit, axis, asked[axis]) for axis in asked if axis in SERIES)]
    if not kept:
        values_of = {
            axis: list(dict.fromkeys(str(fit.axes[axis]) for fit in series.found)) for axis in asked if axis in SERIES
        }
        available = "; ".join(f"{axis}={','.join(values)}" for axis, values in values_of.items())
        raise UserError(f"no fitted series matches these values; available: {available}")
    references = [series.reference_of(fit) for fit in kept]
    shown = [fit for fit in series.found if any(fit is other for other in (*kept, *references))]
    parts = [at(fit, series.reference_of(fit), _sizes(fit, asked)) for fit in shown]
    return pd.concat(parts, ignore_index=True)


def at(fit: SizeFit, reference: SizeFit | None, sizes: pd.DataFrame) -> pd.DataFrame:
    """The rows of one series, as `predict` returns them."""
    why = np.array([refusal(row, fit.levels) for row in _rows(sizes)], dtype=object)
    seconds, half = fit.seconds(sizes), half_widths(fit.errors, _rows(sizes), fit.levels)
    why[(why == "") & np.isnan(seconds)] = UNCOUNTED
    is_predicted = why == ""
    table = pd.DataFrame({axis: [value] * len(sizes) for axis, value in fit.axes.items()})
    table = pd.concat([table, sizes[list(MOVING)].reset_index(drop=True)], axis=1)
    table["status"] = np.where(is_predicted, "predicted", "not predicted")
    table["reason"] = np.where(is_predicted & np.isnan(half), UNTOLD, why)
    ratio, ratio_half = ratios(fit, reference, sizes)
    for name, value, width in (("seconds", seconds, half), ("ratio", ratio, ratio_half)):
        table[name] = np.where(is_predicted, value, np.nan)
        table[f"{name}_low"], table[f"{name}_high"] = table[name] * from_logs(-width), table[name] * from_logs(width)
    causes = fit.by_cause(sizes)
    table["spent_on"] = np.where(is_predicted, mostly_spent_on(causes), "")
    for cause in CAUSES:
        table[cause] = np.where(is_predicted, causes[cause] / seconds, np.nan)
    measured = fit.sizes.drop_duplicates(list(MOVING)).rename(columns={"seconds": "measured_seconds"})
    return table.merge(measured, on=list(MOVING), how="left")


def interval(fit: SizeFit, sizes: pd.DataFrame) -> tuple[Array, Array, Array]:
    """The fitted seconds at each of `sizes` and the ends of its 95% interval; NaN if they are not known."""
    seconds, half = fit.seconds(sizes), half_widths(fit.errors, _rows(sizes), fit.levels)
    return seconds, seconds * from_logs(-half), seconds * from_logs(half)


def ratios(fit: SizeFit, reference: SizeFit | None, sizes: pd.DataFrame) -> tuple[Array, Array]:
    """The fitted ratio to the reference, and the half-width of its logarithm's interval; 1 for the reference itself.

    The half-width comes from the ratio's own errors at points held out of both fits: errors that both share cancel.
    """
    if reference is None:
        same = fit.axes["implementation"] in REFERENCES
        return np.full(len(sizes), 1.0 if same else np.nan), np.full(len(sizes), 0.0 if same else np.nan)
    keys = [*MOVING, "axis", "place"]
    errors = fit.errors.merge(reference.errors, on=keys, suffixes=("", "_reference"))
    errors["log_error"] -= errors["log_error_reference"]
    ratio: Array = fit.seconds(sizes) / reference.seconds(sizes)
    return ratio, half_widths(errors, _rows(sizes), fit.levels)


def mostly_spent_on(causes: Mapping[TimeCause, Array]) -> list[TimeCause]:
    """What takes most of each call's time."""
    return [CAUSES[largest] for largest in np.argmax([causes[cause] for cause in CAUSES], axis=0)]


def _rows(sizes: pd.DataFrame) -> list[dict[Any, int]]:
    return sizes[list(MOVING)].to_dict("records")


def _is_among(fit: SizeFit, axis: str, values: Sequence[Any]) -> bool:
    return str(fit.axes[axis]).lower() in {str(value).lower() for value in values}


def _sizes(fit: SizeFit, requested: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The product of the requested sizes; a size that was measured at one value only needs no request."""
    values: dict[str, list[int]] = {}
    for axis, measured in fit.levels.items():
        if axis in requested:
            values[axis] = [_size(axis, value) for value in requested[axis]]
        elif len(measured) == 1:
            values[axis] = [measured[0]]
        else:
            raise UserError(
                f"which {axis}? It was measured at {_listed(measured)}; say for example {axis}={measured[-1]}"
            )
    if (count := int(np.prod([len(of_axis) for of_axis in values.values()]))) > MAX_ROWS:
        raise UserError(f"{count:,} sizes are more than {MAX_ROWS:,}; ask for fewer")
    return pd.DataFrame(list(itertools.product(*values.values())), columns=list(values))


def _size(axis: str, value: Any) -> int:
    text = str(value)
    if not text.isdecimal() or len(text) > MAX_DIGITS or int(text) < 1:
        raise UserError(f"{axis}={text}: expected a whole number, 1 or more, of {MAX_DIGITS} digits at most")
    return int(text)


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
