"""Which implementations a figure shows that has no room for all: each cell's plainest and its fastest."""

import pandas as pd

from rnnbench.report.figures.drawing.marks import rung
from rnnbench.report.words.reference import is_reference

MAX_SERIES = 8  # in one panel, without the references


def plain_and_fastest(cases: pd.DataFrame, value: str, most: int = MAX_SERIES) -> pd.DataFrame:
    """The cases of each cell's plainest implementation and of its fastest, and all references.

    The fastest has the lowest median of the column `value`. If that leaves more than `most` series, only the fastest of
    each cell stays. `cases` has a column `series`; cells without any value are left out.
    """
    own = cases[~is_reference(cases) & cases[value].notna()]
    if own.empty:
        return cases[is_reference(cases)]
    medians = own.groupby(["cell", "implementation"], sort=False)[value].median().reset_index()
    medians["rung"] = medians["implementation"].map(rung)
    fastest, plainest = (medians.loc[medians.groupby("cell")[by].idxmin()] for by in (value, "rung"))
    kept = pd.concat([plainest, fastest]).drop_duplicates(["cell", "implementation"])
    if len(kept) > most:
        kept = fastest
    pairs = set(kept[["cell", "implementation"]].itertuples(index=False, name=None))
    of_each = pd.Series(list(zip(cases["cell"], cases["implementation"], strict=True)), index=cases.index)
    return cases[is_reference(cases) | of_each.isin(pairs)]
