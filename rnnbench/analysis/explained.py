"""Which size explains most of the differences between ratios."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd


def explaining(cases: pd.DataFrame, within: Sequence[str], axes: Sequence[str]) -> str | None:
    """Return the axis with the highest of `explained_shares`, the first one if there are none; None without axes."""
    shares = explained_shares(cases, within, axes)
    return max(axes, key=lambda axis: shares.get(axis, -math.inf), default=None)


def explained_shares(cases: pd.DataFrame, within: Sequence[str], axes: Sequence[str]) -> dict[str, float]:
    """Return by axis the share of the variance of log ratios within groups that its values explain.

    `cases` needs the columns `ratio` (above 0), `within` and `axes`. A share is adjusted for the number of values, as
    adjusted R squared is, so that an axis of many values gains nothing by chance. An axis that can't be told apart from
    chance, as with one case for each value, has none.
    """
    logs = np.log(cases["ratio"])
    keys = [cases[column] for column in within]
    shares = dict[str, float]()
    plain = logs.groupby(keys)
    variance = (logs - plain.transform("mean")).pow(2).sum() / max(len(cases) - plain.ngroups, 1)
    for axis in axes:
        by_axis = logs.groupby([*keys, cases[axis]])
        if variance > 0 and (free := len(cases) - by_axis.ngroups) > 0:
            shares[axis] = float(1 - (logs - by_axis.transform("mean")).pow(2).sum() / free / variance)
    return shares
