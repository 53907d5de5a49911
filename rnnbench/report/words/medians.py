"""Median and range over all sizes of the ratio to the reference, for each cell, implementation and phase."""

from typing import Any

import numpy as np
import pandas as pd

from rnnbench.report.words.axes import several
from rnnbench.report.words.counts import known_ratios, tally
from rnnbench.report.words.reference import is_reference
from rnnbench.report.words.series import with_series

CONTEXT = ("device", "dtype", "workers")  # never pooled: a median over CPU and GPU would describe neither


def medians(summary: pd.DataFrame) -> pd.DataFrame:
    """One row for each series, phase and combination of the `CONTEXT` axes that vary, without the references.

    Columns: the keys, `cases`, `compared` (cases with a ratio), `median`, `lowest` and `highest` of the known ratios,
    the number of `undecided` ones, `parity`.
    """
    frame = with_series(summary)
    own = frame[~is_reference(frame)]
    keys = ["series", "cell", "implementation", "phase", *several(summary, CONTEXT)]
    rows: list[dict[str, Any]] = []
    for key, cases in own.groupby(keys, sort=False):
        known = known_ratios(cases)["ratio"].dropna()
        statistics = [known.median(), known.min(), known.max()] if len(known) else [np.nan] * 3
        parities = set(cases.loc[cases["status"] == "measured", "parity"])
        parity = "" if not parities else "agrees" if parities == {"agrees"} else "not checked"
        rows.append(
            dict(zip(keys, key, strict=True))
            | {"cases": len(cases), "compared": int(cases["ratio"].notna().sum())}
            | dict(zip(("median", "lowest", "highest"), statistics, strict=True))
            | {"undecided": len(tally(cases).undecided), "parity": parity}
        )
    return pd.DataFrame(
        rows, columns=[*keys, "cases", "compared", "median", "lowest", "highest", "undecided", "parity"]
    )
