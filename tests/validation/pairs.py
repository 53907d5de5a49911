"""Real pairs of workers of equal code: the log-ratios of each case in each pair, as noise for simulations."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.analysis.replicate_times import log_ratios
from rnnbench.analysis.run_times import read
from rnnbench.check.live import check
from rnnbench.check.sides import select, sides
from rnnbench.harness.turns.schedule import Progress
from rnnbench.report.words.names import identity
from rnnbench.store.folder import read_info
from rnnbench.store.run_info import Processor
from rnnbench.suite import suites
from tests.validation.made import commit
from tests.validation.noise import REAL, hogs
from tests.validation.verdicts import write_sides

NO_MARGIN = 1e-9  # so that no case is decided, and all take part in every pair
QUIET, BUSY = "nothing beside it", "a process that takes a core for seconds and rests"


def pairs(budget_seconds: float) -> pd.DataFrame:
    """A row for each case and pair of two checks, one of them beside another process; added to those kept before."""
    rows = pd.concat([_pairs(budget_seconds, beside) for beside in (QUIET, BUSY)]).assign(commit=commit())
    return pd.concat([pd.read_csv(REAL), rows]) if REAL.exists() else rows


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each check: how much its pairs differ, and how much of that the cases of a pair share."""
    rows = []
    for (session, processor, beside), part in table.groupby(["session", "processor", "beside"], sort=False):
        row = {"session": session, "processor": processor, "beside": beside, "pairs": part["pair"].nunique()}
        row["seconds of a pair"] = part.groupby("pair")["seconds"].first().median()
        for ratio in ("low", "mean"):
            logs = part.pivot_table(index="pair", columns="case", values=ratio)
            spreads = logs.std()
            scaled = (logs - logs.mean()) / spreads
            count = logs.shape[1]
            shared = (count * scaled.mean(axis=1).var() - 1) / (count - 1)
            row |= {
                f"{ratio}: spread of the median case": spreads.median(),
                f"{ratio}: least and most": f"{spreads.min():.4f} to {spreads.max():.4f}",
                f"{ratio}: shared by a pair's cases": max(0.0, float(shared)),
            }
        rows.append(row)
    return pd.DataFrame(rows)


class PairClock:
    """Notes when each pair of a check begins."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._starts: list[float] = []

    def __call__(self, step: Progress) -> None:
        """Note the time if a new pair has begun; a check counts its pairs from 1."""
        if step.replicate > len(self._starts):
            self._starts.append(self._now())

    def seconds(self) -> list[float]:
        """Seconds of each pair, including the start of the next pair's workers; the last pair ends now."""
        ends = [*self._starts[1:], self._now()]
        return [round(end - start, 2) for start, end in zip(self._starts, ends, strict=True)]


def _pairs(budget_seconds: float, beside: str) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as scratch, hogs(int(beside == BUSY), rests=True):
        base, head = Path(scratch) / "base", Path(scratch) / "head"
        write_sides(base, head, {})
        suite = suites.read(str(head / "planted.toml")).with_check(margin=NO_MARGIN, budget_seconds=budget_seconds)
        clock = PairClock()
        with sides(suite, str(base), None) as (first, second):
            selection = select(first, second, {}, None)
            folder, _ = check(first, second, *selection, out=Path(scratch), on_progress=clock)
        seconds = clock.seconds()
        times = [read(folder / name).replicates for name in ("base", "head")]
        info = read_info(folder / "head")
    both = times[0].merge(times[1], on=["case", "replicate"], suffixes=("", "_head"))
    names = {case: number for number, case in enumerate(sorted(both["case"].unique()))}
    quantiles = (np.array(both[f"log_quantiles{side}"].tolist()) for side in ("_head", ""))
    return pd.DataFrame(
        {
            "session": info.started[:16],
            "processor": identity(Processor.from_json(info.environment["machine"]["processor"])).split(";")[0],
            "beside": beside,
            "pair": both["replicate"].astype(int),
            "seconds": both["replicate"].map(dict(enumerate(seconds))),
            "case": both["case"].map(names),
            "low": np.round(log_ratios(*quantiles), 6),
            "mean": np.round(both["log_mean_head"] - both["log_mean"], 6),
        }
    )
