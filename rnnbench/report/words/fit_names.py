"""The series that each fit belongs to, for the tables and figures of fits."""

import pandas as pd

from rnnbench.analysis.scaling.fit import SERIES, Fits
from rnnbench.report.words.series import with_series


def named(summary: pd.DataFrame, found: Fits) -> dict[int, tuple[str, str]]:
    """Family and series of each fit, by its number, in the order in which tables show series."""
    frame = with_series(summary).drop_duplicates(SERIES)
    names = {
        tuple(key): names
        for key, names in zip(frame[SERIES].to_numpy(), frame[["family", "series"]].to_numpy(), strict=True)
    }
    numbers = {tuple(fit.axes.values()): number for number, fit in enumerate(found.found)}
    return {numbers[key]: (str(name[0]), str(name[1])) for key, name in names.items() if key in numbers}
