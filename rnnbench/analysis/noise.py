"""How noisy a run was, from its own windows: each arm against itself, and the drift over the run."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import LOW_QUANTILE, estimate, pooled_quantiles
from rnnbench.analysis.summary import complete_visits, replicate_times
from rnnbench.store.records import REFERENCES


@dataclass(frozen=True)
class Noise:
    """What a run shows where nothing differs; NaN where it has too little data to tell."""

    floor: float  # half-width of the 95% interval of an arm's ratio to itself, median over cases; 0.01 is 1%
    worst: float  # the same, 95% quantile over cases
    alarms: int  # cases whose interval leaves 1 out, though nothing differs; some 5% are expected
    cases: int
    drift: float  # time of the references in the last third of the replicates over that in the first, less 1


def noise(frame: pd.DataFrame) -> Noise:
    """The noise of one run, from the frame that `rnnbench.load` gives.

    Every case's windows are dealt out to two pretended arms in the balanced order in which real arms take turns. Each
    pretended arm has half the windows of a real one, so real ratios are at least as precise.
    """
    windows = complete_visits(frame[frame["replicate"].notna()])
    ratios = self_ratios(windows)
    found = [estimate(logs.to_list()) for _, logs in ratios.groupby("case")["log_ratio"] if len(logs) > 1]
    widths = np.array([(one.high - one.low) / 2 for one in found])
    return Noise(
        floor=float(np.expm1(np.median(widths))) if len(widths) else float("nan"),
        worst=float(np.expm1(np.quantile(widths, 0.95))) if len(widths) else float("nan"),
        alarms=sum(not one.low <= 0 <= one.high for one in found),
        cases=len(found),
        drift=_drift(windows),
    )


def self_ratios(windows: pd.DataFrame) -> pd.DataFrame:
    """Columns `case`, `replicate`, `log_ratio`: one half of a visit's windows over the other half."""
    visit = ["case", "replicate"]
    turns = windows.sort_values("order").reset_index(drop=True)
    turn = turns.groupby(visit).cumcount()
    # ABBA: the first of a pair of turns goes to one arm, in the next pair to the other, and so on over replicates.
    turns["arm"] = (turn % 2 + turn // 2 + turns["replicate"].astype(int)) % 2
    group = turns.groupby([*visit, "arm"]).ngroup().to_numpy()  # the two arms of a visit are neighbours
    times = turns[[*visit, "arm"]].assign(group=group).drop_duplicates("group").sort_values("group")
    calls = turns["calls"].to_numpy()
    times["log_seconds"] = np.log(pooled_quantiles(group, turns["quantiles"].to_list(), calls, LOW_QUANTILE))
    sides = times.pivot_table(index=visit, columns="arm", values="log_seconds").dropna()
    if not {0, 1} <= set(sides.columns):
        return pd.DataFrame(columns=[*visit, "log_ratio"])
    return (sides[1] - sides[0]).rename("log_ratio").reset_index()


def _drift(windows: pd.DataFrame) -> float:
    """For each reference the last third of its replicates against the first; the median over cases."""
    times = replicate_times(windows[windows["implementation"].isin(REFERENCES)])
    changes = []
    for _, logs in times.sort_values("replicate").groupby("case")["log_seconds"]:
        third = len(logs) // 3
        if third:
            changes.append(logs.iloc[-third:].mean() - logs.iloc[:third].mean())
    return float(np.expm1(np.median(changes))) if changes else float("nan")
