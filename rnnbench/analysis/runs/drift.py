"""Each replicate of a run, or each pair of a check, in the order in which they were measured: a drift shows there."""

from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.analysis.runs.run_times import RunTimes, read
from rnnbench.analysis.runs.summary import reference_ratios

TIMES, RATIOS = "Times of the references, over each one's median", "Ratios to the reference, over each one's median"
COLUMNS = ["panel", "at", "ratio", "mean_ratio"]


def of_run(times: RunTimes) -> pd.DataFrame:
    """Each case's replicates over the median of its replicates, for a run: see `of_replicates`."""
    rows = times.replicates
    ratios = reference_ratios(rows).set_index(["number", "replicate"])["log_ratio"]
    found = ratios.reindex(pd.MultiIndex.from_frame(rows[["number", "replicate"]])).to_numpy(dtype=float)
    keyed = rows[["run", "case", "replicate"]].assign(seconds=rows["median_seconds"], ratio=np.exp(found))
    return of_replicates(keyed)


def of_replicates(replicates: pd.DataFrame) -> pd.DataFrame:
    """Each case's replicates over the median of its replicates.

    `replicates` has a row for each `run`, `case` and `replicate`: `seconds`, and the `ratio` to the reference, which is
    1 for references; cases without a ratio are left out.

    Columns: `panel`, `TIMES` (of references) or `RATIOS` (of the other cases); `at`, the number of the replicate from 1
    on; `ratio`, 1.05 for a replicate that was 5% above the median; `mean_ratio`, NaN. Empty if no case has two
    replicates.
    """
    is_one = replicates["ratio"].eq(1)
    of_reference = is_one.groupby([replicates["run"], replicates["case"]], observed=True).transform("all")
    others = replicates[~of_reference & replicates["ratio"].notna()]
    parts = [_over_median(replicates[of_reference], "seconds", TIMES), _over_median(others, "ratio", RATIOS)]
    return pd.concat(parts, ignore_index=True)


def _over_median(replicates: pd.DataFrame, column: str, panel: str) -> pd.DataFrame:
    logs = pd.Series(np.log(replicates[column].to_numpy(dtype=float)), replicates.index)
    by_case = logs.groupby([replicates["run"], replicates["case"]], observed=True)
    several = by_case.transform("size") > 1
    ratio = np.exp((logs - by_case.transform("median"))[several])
    at = replicates.loc[several, "replicate"].astype(int) + 1
    unknown = np.full(len(ratio), np.nan)
    return pd.DataFrame({"panel": panel, "at": at, "ratio": ratio, "mean_ratio": unknown}, columns=COLUMNS)


def of_check(base: Path, head: Path) -> pd.DataFrame:
    """Each pair of a check: the head's time over the base's for every case, from the folders of both sides.

    Columns: `panel`, the case's key; `at`, the minute of the check in which the pair began with the case; `ratio` of
    the typical call, and `mean_ratio` of their mean. Raises UserError if a side can't be read.
    """
    sides = [_side(folder) for folder in (base, head)]
    pairs = sides[0].merge(sides[1], on=["case", "replicate"], suffixes=("", "_head"))
    return pd.DataFrame(
        {
            "panel": pairs["case"],
            "at": pairs[["started", "started_head"]].min(axis=1) / 60,
            "ratio": np.exp(pairs["log_seconds_head"] - pairs["log_seconds"]),
            "mean_ratio": np.exp(pairs["log_mean_head"] - pairs["log_mean"]),
        },
        columns=COLUMNS,
    ).sort_values("at", kind="stable", ignore_index=True)


def _side(folder: Path) -> pd.DataFrame:
    rows = read(folder).replicates
    return rows[["case", "replicate", "started", "log_seconds", "log_mean"]].astype({"case": object})
