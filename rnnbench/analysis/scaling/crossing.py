"""Where a hand-written cell and torch.nn take equally long: the size at which the fitted ratio is one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rnnbench.analysis.scaling.fit import SizeFit
from rnnbench.analysis.scaling.held_out import MOVING, REACH, Levels
from rnnbench.analysis.scaling.predict import ratios

STEPS = 100  # values of a size at which the ratio is taken, evenly spaced on a logarithmic scale
Course = Literal["slower", "faster", "becomes faster", "becomes slower", "crosses again", "not known"]


@dataclass(frozen=True)
class Crossing:
    """How a series' ratio to torch.nn changes along one size, the others held, within the reach of predictions.

    `slower` and `faster` hold for the whole measured range, if nothing crosses; `is_sure` says whether the ratio's
    interval excludes one there. A crossing has its `value`; `low` and `high` are the sizes around it between which the
    interval contains one, NaN if they lie beyond the reach of predictions; `is_within` says whether it lies within the
    measured range. The course is `not known` if a ratio or an interval within that range is not known.
    """

    axis: str
    held: Mapping[str, int]
    course: Course
    is_sure: bool = False
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    is_within: bool = False


def middle(measured: Levels) -> dict[str, int]:
    """The middle of the measured values of each size."""
    return {axis: values[len(values) // 2] for axis, values in measured.items()}


def along(axis: str, held: Mapping[str, int], measured: Levels, steps: int = STEPS) -> pd.DataFrame:
    """Whole sizes along one axis as far as predictions reach, the others held; columns: `MOVING`."""
    first, last = max(1.0, measured[axis][0] / REACH), measured[axis][-1] * REACH
    values = np.unique(np.round(np.geomspace(first, last, steps)).astype(int))
    return pd.DataFrame({other: values if other == axis else np.full(len(values), held[other]) for other in MOVING})


def crossing(fit: SizeFit, reference: SizeFit, axis: str, held: Mapping[str, int] | None = None) -> Crossing:
    """Where the ratio to the reference passes one along `axis`; sizes that are not in `held` are at their middle."""
    measured = fit.levels
    held = {**middle(measured), **(held or {})}
    sizes = along(axis, held, measured)
    ratio, half = ratios(fit, reference, sizes)
    fixed = {other: size for other, size in held.items() if other != axis}
    values, logs, known = sizes[axis].to_numpy(), np.log(ratio), np.isfinite(ratio) & np.isfinite(half)
    within = (values >= measured[axis][0]) & (values <= measured[axis][-1])
    if not known.any() or not known[within].all():
        return Crossing(axis, fixed, "not known")
    values, logs, half, within = values[known], logs[known], half[known], within[known]
    is_slower, is_certain = logs > 0, np.abs(logs) > half
    changes = np.flatnonzero(is_slower[:-1] != is_slower[1:])
    if not len(changes):
        return Crossing(axis, fixed, "slower" if is_slower[0] else "faster", is_sure=bool(is_certain[within].all()))
    at = int(changes[0])
    course: Course = "becomes faster" if is_slower[at] else "becomes slower"
    before, after = values[: at + 1][is_certain[: at + 1]], values[at + 1 :][is_certain[at + 1 :]]
    (first, last), fraction = np.log(values[at : at + 2]), logs[at] / (logs[at] - logs[at + 1])
    value = float(np.exp(first + fraction * (last - first)))
    return Crossing(
        axis,
        fixed,
        "crosses again" if len(changes) > 1 else course,
        is_sure=bool(len(before) and len(after)),
        value=value,
        low=float(before[-1]) if len(before) else np.nan,
        high=float(after[0]) if len(after) else np.nan,
        is_within=measured[axis][0] <= value <= measured[axis][-1],
    )
