"""Which size sets the ratios: the one whose values explain most of their spread."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def explained(cases: pd.DataFrame, within: Sequence[str], axis: str) -> float:
    """The share of the variance of log ratios that the values of one axis explain, within the groups of `within`.

    `cases` needs the columns `ratio` (above 0), `within` and `axis`. The share is adjusted for the number of values, as
    adjusted R squared is, so that an axis of many values gains nothing by chance; it may be below 0. NaN if the ratios
    do not vary within the groups, or if each value of the axis has one case alone.
    """
    logs = np.log(cases["ratio"])
    keys = [cases[column] for column in within]
    plain, by_axis = logs.groupby(keys, dropna=False), logs.groupby([*keys, cases[axis]], dropna=False)
    total, left = ((logs - means.transform("mean")).pow(2).sum() for means in (plain, by_axis))
    free, free_within = len(cases) - plain.ngroups, len(cases) - by_axis.ngroups
    if free_within <= 0 or total <= 0:
        return float("nan")
    return float(1 - (left / free_within) / (total / free))


def explaining(cases: pd.DataFrame, within: Sequence[str], axes: Sequence[str]) -> str | None:
    """The axis that explains most, the first of them if several do so alike; None without axes.

    If none can be told apart from chance, as with one case for each value, it is the first axis.
    """
    shares = {axis: explained(cases, within, axis) for axis in axes}
    known = {axis: share for axis, share in shares.items() if not np.isnan(share)}
    return max(known or dict.fromkeys(axes, 0.0), key=lambda axis: known.get(axis, 0.0), default=None)
