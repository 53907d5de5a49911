"""Coverage on this machine: intervals of known ratios from real runs in fresh processes.

The ratio of unlike modules is not known. There an interval of one run should hold the ratio that the other runs give.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimates_of
from rnnbench.analysis.run_times import read
from rnnbench.analysis.summary import UNDISTURBED, summarize
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from tests.doubles.stored import counted_windows
from tests.validation.noise import hogs

SUITE = Path(__file__).with_name("repeated.toml")
UNLIKE = Path(__file__).with_name("unlike.toml")
ALONE, BESIDE = "nothing of ours", "a busy process"  # what runs beside a run
BASE_STEPS = 100
MAX_BLOCK_RATIO = 1.5
HEADS = {"Again100": 100, "Steps102": 102, "Steps105": 105, "Steps150": 150, "Steps400": 400}


def coverage(runs: int, busy: int = 0) -> pd.DataFrame:
    """A row for each ratio: how many of the 95% intervals hold the true ratio. `busy` processes run beside it."""
    rows, blocks = pd.DataFrame(), pd.Series(dtype=float)
    for _ in range(runs):
        with hogs(busy):
            times, windows = one_run()
        rows = pd.concat([rows, intervals(times)])
        blocks = pd.concat([blocks, block_ratios(windows)])
    parts = [(ratio, part) for ratio, part in rows.groupby("steps over base")] + [("all", rows)]
    return pd.DataFrame(
        {
            "steps over base": ratio,
            "intervals": len(part),
            "covered": part["covers"].mean(),
            "half_width": part["half_width"].median(),
            "median_error": part["error"].median(),
            "largest_error": part["error"].abs().max(),
            "groups with blocks within 1.5": (blocks <= MAX_BLOCK_RATIO).mean() if ratio == "all" else math.nan,
        }
        for ratio, part in parts
    )


def block_ratios(windows: pd.DataFrame) -> "pd.Series[float]":
    """The longest block over the shortest one, for each visit to a group, by the time that each case takes at best.

    `windows`: from `counted_windows`.
    """
    windows = windows[windows["cell"].str.rpartition(":")[2] != "Steps0"]  # it does nothing
    best = windows["quantile_0"].groupby(windows["case"]).transform("min")
    blocks = windows["batch"] * best
    visits = blocks.groupby([windows["worker"], windows["workload"]])
    ratios: pd.Series[float] = visits.max() / visits.min()
    return ratios


def one_run() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The times of each replicate of a run of `repeated.toml`, and its windows."""
    suite = suites.read(str(SUITE))
    with tempfile.TemporaryDirectory() as out:
        groups = suite.groups({}, None)
        path = run_suite(suite, groups, suite.measure, out=Path(out), command="", on_progress=lambda step: None)
        return times_of(path), counted_windows(path)


def times_of(path: Path) -> pd.DataFrame:
    """The times of each replicate of a run, with the name of each cell."""
    run = read(path)
    cells = run.cases["cell"].str.rpartition(":")[2]
    return run.replicates.assign(cell=cells.to_numpy()[run.replicates["number"].to_numpy()])


def intervals(times: pd.DataFrame) -> pd.DataFrame:
    """A row for each workload and head: whether the interval of its ratio to the base holds the true ratio.

    A call of n steps takes n s + o, where o is the time of the cell without steps, some 2% of the base.
    """
    rows, samples = [], []
    for _, workload in times.groupby("workload"):
        logs = workload.pivot_table(index="replicate", columns="cell", values="log_seconds")
        overhead = float(np.exp((logs["Steps0"] - logs["Steps100"]).median()))
        for head, steps in HEADS.items():
            truth = math.log1p((steps / BASE_STEPS - 1) * (1 - overhead))
            rows.append({"steps over base": f"{steps / BASE_STEPS:.2f}", "truth": truth})
            samples.append((logs[head] - logs["Steps100"]).to_list())
    ratios = pd.DataFrame(map(asdict, estimates_of(samples)))  # as in a report, all cases of the run together
    table = pd.DataFrame(rows)
    return pd.DataFrame(
        {
            "steps over base": table["steps over base"],
            "covers": table["truth"].between(ratios["lower"], ratios["upper"]),
            "half_width": (ratios["upper"] - ratios["lower"]) / 2,
            "error": ratios["value"] - table["truth"],
        }
    )


def unlike(runs: int, replicates: int = 6, only: Sequence[str] = ()) -> pd.DataFrame:
    """A row for each case of so many runs alone, and as many beside a busy process: loops over layers of torch.nn."""
    rows = []
    for number in range(runs):
        for beside in (ALONE, BESIDE):
            with hogs(int(beside == BESIDE)):
                rows.append(_unlike_run(replicates, only).assign(run=number, beside=beside))
    return with_truths(pd.concat(rows, ignore_index=True))


def _unlike_run(replicates: int, only: Sequence[str]) -> pd.DataFrame:
    suite = suites.read(str(UNLIKE))
    settings = suite.measure.model_copy(update={"replicates": replicates, "max_replicates": replicates})
    with tempfile.TemporaryDirectory() as out:
        groups = suite.groups(parse_only(only), None)
        path = run_suite(suite, groups, settings, out=Path(out), command="", on_progress=lambda step: None)
        cases = summarize(read(path))
    cases = cases[cases["implementation"] == "loop"]
    return pd.DataFrame(
        {
            "case": cases["cell"] + ", hidden " + cases["hidden_size"].astype(str),
            "state": cases["state"],
            "ratio": cases["ratio"],
            "low": cases["ratio_low"],
            "high": cases["ratio_high"],
            "quiet pulses of the case": cases["quiet_share"],
        }
    )


def with_truths(rows: pd.DataFrame) -> pd.DataFrame:
    """Add to each row the ratio that the other runs give: the mean of their undisturbed log-ratios of the same case.

    It is NaN for fewer than two. `error` is the logarithm of the row's ratio over it, and `covers` tells whether the
    interval holds it, if the row has one.
    """
    logs, low, high = (np.log(rows[name].to_numpy(dtype=float)) for name in ("ratio", "low", "high"))
    cases, is_undisturbed = rows["case"].to_numpy(), rows["state"].eq(UNDISTURBED).to_numpy()
    truth = np.full(len(rows), math.nan)
    for number, case in enumerate(cases):
        is_other = (cases == case) & is_undisturbed & np.isfinite(logs)
        is_other[number] = False
        if is_other.sum() > 1:
            truth[number] = logs[is_other].mean()
    is_known = np.isfinite(truth) & np.isfinite(low) & np.isfinite(high)
    covers = pd.Series((low <= truth) & (truth <= high), rows.index, dtype=object).where(is_known)
    return rows.assign(**{"ratio of the others": np.exp(truth), "error": logs - truth, "covers": covers})


def of_states(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarize `unlike`: a row for what ran beside the runs and for each state that cases are said to be in."""
    table = []
    for (beside, state), part in rows.fillna({"state": ""}).groupby(["beside", "state"], sort=False):
        with_interval = part[part["covers"].notna()]
        table.append(
            {
                "beside": beside,
                "state": state or "quiet",
                "cases": len(part),
                "intervals": len(with_interval),
                "covered": with_interval["covers"].astype(float).mean(),
                "half_width": float(np.log((with_interval["high"] / with_interval["low"]).median()) / 2),
                "median_error": with_interval["error"].median(),
                "largest_error": with_interval["error"].abs().max(),
                "quiet pulses of the cases": part["quiet pulses of the case"].mean(),
            }
        )
    return pd.DataFrame(table)
