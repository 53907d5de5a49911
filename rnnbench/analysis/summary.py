"""From the times of replicates to one row for each case: time per call, ratio to the reference, latency, noise, drift.

**Latencies**: while a machine is disturbed, many steps in a row are slow, so steps are not independent. The differences
between replicates show how many independent steps they are worth. The interval of a share is that of a sample of this
size (Korn & Graubard 1998, Survey Methodology 24:193). The interval of a quantile contains the times whose shares lie
in the interval of its share (Woodruff 1952, doi:10.1080/01621459.1952.10483443). If no step was late, the upper end of
the interval is still above zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from rnnbench.analysis.derived import with_derived
from rnnbench.analysis.environments import clock_difference
from rnnbench.analysis.estimate import (
    ALWAYS_QUIET,
    CONFIDENCE,
    ENDS,
    MIN_QUIET_REPLICATES,
    MINUTE,
    drift,
    estimates,
    from_logs,
    with_runs,
)
from rnnbench.analysis.quiet import BINS, counted_blocks, low_quantiles
from rnnbench.analysis.replicate_times import log_ratios
from rnnbench.analysis.run_times import RunTimes
from rnnbench.analysis.variances import t_quantile
from rnnbench.store.implementations import REFERENCES

# A device that never waits either falls further behind the host in a window, by more than the share GAINED of it, or
# its queue is full, which holds at least FULL_QUEUE_SECONDS of work: about 1,000 launches of over a microsecond each.
GAINED = 0.05
FULL_QUEUE_SECONDS = 1e-3
LATENCIES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99, "latency_p99_9": 0.999}
LATE_SHARE = "late_share"
MIN_BEYOND = 10  # steps that are slower than a quantile; it is not known from fewer
# With two, intervals are so wide that most reach beyond the slowest step. The few that don't are the narrow ones: where
# steps are slow together, some kinds of them hold the truth in only 82 to 90%. Those of three replicates do in 93%.
MIN_REPLICATES = 3  # for the interval of a quantile
# states of a case's time and ratio
UNDISTURBED = "undisturbed"
SHARED = "on a shared core"
MEAN_APART = 1.03  # the ratio of the means over the ratio; unlike modules differ by less on a quiet core
# What is known of each turn of live calls on a GPU: `host_seconds` and `submit_seconds` as in stored windows, and the
# rate of its clock right after the turn, NaN if it could not be measured.
TURN_COLUMNS = ["call", "seconds", "host_seconds", "submit_seconds", "sm_clock_mhz"]


def summarize(times: RunTimes) -> pd.DataFrame:
    """Return one row for each case of a run, or of several, in their order: what `rnnbench.summarize` returns."""
    cases = times.cases.reset_index(drop=True)
    replicates = times.replicates
    by_case = replicates.groupby("number")
    summed = ["windows", "calls", "seconds", "host_seconds", "submit_seconds", "waits", "pulses", "quiet_pulses"]
    totals = by_case[summed].sum()
    totals["replicates"] = by_case.size()
    totals = totals.reindex(range(len(cases)))
    for column in ("replicates", "windows", "calls"):
        cases[column] = totals[column].fillna(0).astype(int)
    cases["submit_share"] = (totals["submit_seconds"] / totals["host_seconds"]).astype(float)
    cases["mean_seconds"] = (totals["seconds"] / totals["calls"]).astype(float)
    paired = ratios(times)
    _estimate(cases, replicates, "log_seconds", "seconds")
    _estimate(cases, paired, "log_ratio", "ratio", drifts(paired, "number"))
    cases["mean_ratio"] = np.exp(paired.groupby("number")["log_mean_ratio"].mean().reindex(cases.index))
    cases["has_slow_calls"] = _has_slow_calls(cases, paired, ["log_mean_ratio"], "log_ratio")
    cases["quiet_share"] = (totals["quiet_pulses"] / totals["pulses"]).astype(float)
    cases["state"] = np.where(cases["quiet_share"] < ALWAYS_QUIET, SHARED, "")
    _undisturbed(cases, replicates, paired)
    # A host waits at the end of a window, or after each call if the calls are cold or the steps of a stream.
    waits_for_each_call = cases["caches"].eq("cold") | cases["task"].eq("streaming")
    of_ratio = [column for column in cases if str(column).startswith(("ratio", "mean_ratio"))]
    cases.loc[cases["parity"].map(lambda parity: parity.kind == "cached").astype(bool), of_ratio] = math.nan
    cases["launch_bound"] = launch_bound(totals, totals["calls"].where(waits_for_each_call, totals["waits"]))
    return with_derived(with_latencies(cases, replicates))


def launch_bound(totals: pd.DataFrame, waits: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return True for cases whose host kept the device waiting, from the sums over each case's windows.

    `waits`: how often the host waited for the device. The time that it waited is how far it was ahead. At the start of
    a window it was ahead by `host_seconds - seconds`, since the call before the clocked ones was still running, so in
    the window it gained `seconds - submit_seconds`. A host that lags gains nothing, and at the end only the last kernel
    is left, however long, but not a full queue.
    """
    ahead = (totals["host_seconds"] - totals["submit_seconds"]) / waits
    gained = (totals["seconds"] - totals["submit_seconds"]) / totals["seconds"]
    # If the device runs each call before it returns, the host never waits: then it is ahead by exactly zero.
    return (ahead > 0) & (ahead < FULL_QUEUE_SECONDS) & (gained < GAINED)


def with_latencies(cases: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """Return the cases with columns for the latency of their steps; unchanged if none is a stream.

    `cases`: a row for each case, with `task` and `period_seconds`; `replicates`: those of `RunTimes`. Columns, each
    with others of the same name and `_low` or `_high` for its 95% interval:

    - `latency_p50`, `latency_p95`, `latency_p99`, `latency_p99_9`: the time in seconds that 50%, 95%, 99% and 99.9% of
      the steps do not exceed; NaN if fewer than ten steps are beyond it, and without an interval if there are fewer
      than three replicates;
    - `late_share`: the share of steps that take longer than the period; NaN without a period.
    """
    is_stream = cases["task"].eq("streaming").to_numpy()
    if not is_stream.any():
        return cases
    columns = [f"{name}{end}" for name in (*LATENCIES, LATE_SHARE) for end in ENDS]
    cases = cases.assign(**dict.fromkeys(columns, math.nan))
    streams = replicates[is_stream[replicates["number"].to_numpy(dtype=np.int64)]]
    periods = cases["period_seconds"].to_dict()
    for number, of_case in streams.groupby("number"):
        steps = list(of_case["steps"])
        for name, share in LATENCIES.items():
            cases.loc[number, [name, f"{name}_low", f"{name}_high"]] = quantile(steps, share)
        period = periods[number]
        if not math.isnan(period):
            late = [int((each > period).sum()) for each in steps]
            cases.loc[number, [LATE_SHARE, f"{LATE_SHARE}_low", f"{LATE_SHARE}_high"]] = share_of(
                late, [len(each) for each in steps]
            )
    return cases


def measured_streams(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the cases of a summary whose steps were timed as a stream."""
    return summary[summary["task"].eq("streaming") & summary["status"].eq("measured")]


def quantile_name(column: str) -> str:
    """Return `p99.9` for the column `latency_p99_9`."""
    return column.removeprefix("latency_").replace("_", ".")


def quantile(replicates: Sequence[np.ndarray], share: float) -> tuple[float, float, float]:
    """Return the smallest time that this share of all steps does not exceed, and its 95% interval.

    `replicates`: the times of the steps of each replicate. All are NaN if fewer than ten steps are slower; the interval
    is NaN with fewer than `MIN_REPLICATES`, or if it would reach beyond the slowest step.
    """
    ordered = np.sort(np.concatenate(replicates))
    rank = math.ceil(share * len(ordered))
    if len(ordered) - rank < MIN_BEYOND:
        return math.nan, math.nan, math.nan
    value = float(ordered[rank - 1])
    if len(replicates) < MIN_REPLICATES:
        return value, math.nan, math.nan
    below = [int((steps <= value).sum()) for steps in replicates]
    _, lower, upper = share_of(below, [len(steps) for steps in replicates])
    if math.ceil(upper * len(ordered)) >= len(ordered):
        return value, math.nan, math.nan
    low = float(ordered[max(1, math.ceil(lower * len(ordered))) - 1])
    high = float(ordered[max(1, math.ceil(upper * len(ordered))) - 1])
    return value, min(low, value), max(high, value)


def share_of(counted: Sequence[int], steps: Sequence[int]) -> tuple[float, float, float]:
    """Return the share of the counted among all steps, and its 95% interval, from both numbers in each replicate.

    The interval is NaN for a single replicate.
    """
    total = sum(steps)
    replicates = len(steps)
    tail = (1 - CONFIDENCE) / 2
    share = sum(counted) / total
    if replicates < 2:
        return share, math.nan, math.nan
    narrow = t_quantile(1 - tail, total - 1)
    wide = t_quantile(1 - tail, replicates - 1)
    between = (
        replicates / (replicates - 1) * float(((np.array(counted) - share * np.array(steps)) ** 2).sum()) / total**2
    )
    # How many times larger the variance of the share is than that of independent steps.
    effect = max(1.0, between / (share * (1 - share) / total)) if 0 < share < 1 else 1.0
    size = total / effect * (narrow / wide) ** 2
    hits = share * size
    lower = float(special.betaincinv(hits, size - hits + 1, tail)) if hits > 0 else 0.0
    upper = float(special.betaincinv(hits + 1, size - hits, 1 - tail)) if hits < size else 1.0
    return share, lower, upper


def ratios(times: RunTimes) -> pd.DataFrame:
    """Return `reference_ratios`; without any reference the ratios to the fastest case of each group.

    A group with a single case is then left out.
    """
    replicates = times.replicates
    if times.cases["reference"].ne("none").any():
        return reference_ratios(replicates)
    several = replicates.groupby("workload")["number"].transform("nunique") > 1
    means = replicates[several].groupby(["workload", "number"])["log_seconds"].mean()
    fastest = {number for _, number in means.groupby("workload").idxmin()}
    return _ratios(replicates, replicates["number"].isin(fastest))


def reference_ratios(replicates: pd.DataFrame) -> pd.DataFrame:
    """Return `log_ratio` and `log_mean_ratio` to the group's reference, within each replicate, where noise is shared.

    `quiet_log_ratio` and `log_quiet_mean_ratio` are the same of quiet blocks.
    `replicates`: those of `RunTimes`. Cases whose group has no reference are left out.
    """
    return _ratios(replicates, replicates["implementation"].isin(REFERENCES))


def _ratios(replicates: pd.DataFrame, is_basis: "pd.Series[bool]") -> pd.DataFrame:
    visit = ["workload", "replicate"]
    compared = ["log_quantiles", "log_mean", "quiet_logs", "quiet_blocks", "log_quiet_mean"]
    basis = replicates.loc[is_basis, [*visit, *compared]]
    paired = replicates.merge(basis, on=visit, suffixes=("", "_reference"))
    paired["log_ratio"] = log_ratios(*(list(paired[f"log_quantiles{side}"]) for side in ("", "_reference")))
    paired["log_mean_ratio"] = paired["log_mean"] - paired["log_mean_reference"]
    paired["log_quiet_mean_ratio"] = paired["log_quiet_mean"] - paired["log_quiet_mean_reference"]
    counted = counted_blocks(paired["quiet_blocks"].to_numpy(), paired["quiet_blocks_reference"].to_numpy())
    apart = _stacked(paired["quiet_logs"]) - _stacked(paired["quiet_logs_reference"])
    return paired.assign(counted_blocks=counted, quiet_log_ratio=low_quantiles(apart, counted))


def drifts(paired: pd.DataFrame, by: str) -> "pd.Series[float]":
    """Return, for each case of a frame of ratios, the half-width of `estimate.drift`; 0 if the core was always quiet.

    `by`: the column that tells the cases apart.
    """
    rows = paired.assign(minute=paired["started"] // MINUTE)
    of_cases = rows.groupby(by, sort=False).agg(
        log_ratio=("log_ratio", "mean"),
        pulses=("pulses", "sum"),
        quiet_pulses=("quiet_pulses", "sum"),
        minutes=("minute", "nunique"),
    )
    shares = of_cases["quiet_pulses"] / of_cases["pulses"]  # NaN without pulses, which is not below any share
    minutes = of_cases["minutes"].clip(lower=1)
    half_widths = drift(of_cases["log_ratio"].to_numpy(), shares.to_numpy(dtype=float), minutes.to_numpy())
    return pd.Series(half_widths, of_cases.index, dtype=float).where(shares < ALWAYS_QUIET, 0.0)


def _stacked(arrays: "pd.Series[Any]") -> np.ndarray:
    """Return the arrays of a column as rows: (n, BINS)."""
    return np.array(arrays.to_list(), dtype=float).reshape(-1, BINS)


def _undisturbed(cases: pd.DataFrame, replicates: pd.DataFrame, paired: pd.DataFrame) -> None:
    """Put undisturbed times and ratios in place of the others, with the `state`, where two replicates have one or more.

    A case has both or neither; without a reference, its own quiet blocks decide.
    """
    blocks = replicates["quiet_blocks"].to_numpy()
    alone = counted_blocks(blocks, blocks)
    logs = low_quantiles(_stacked(replicates["quiet_logs"]), alone)
    of_cases = _twice(replicates.assign(counted_blocks=alone, quiet_log_seconds=logs))
    numbers = of_cases["number"].unique()
    if len(paired):
        paired = _twice(paired)
        without_ratio = cases.index[cases["ratio"].isna()]
        numbers = np.intersect1d(numbers, np.union1d(paired["number"].unique(), without_ratio))
        paired = paired[paired["number"].isin(numbers)]
        _estimate(cases, paired, "quiet_log_ratio", "ratio")
        means = ["log_mean_ratio", "log_quiet_mean_ratio"]
        has_slow_calls = _has_slow_calls(cases, paired, means, "quiet_log_ratio")
        cases.loc[numbers, "has_slow_calls"] = has_slow_calls[numbers]
    _estimate(cases, of_cases[of_cases["number"].isin(numbers)], "quiet_log_seconds", "seconds")
    cases.loc[numbers, "state"] = UNDISTURBED


def _has_slow_calls(cases: pd.DataFrame, paired: pd.DataFrame, means: Sequence[str], typical: str) -> np.ndarray:
    """Return for each case whether the ratio of its means is surely above its ratio: only some calls are slow. (n,)

    `means`: columns with the ratios of the means of some blocks, all of which must be above. On a core that is shared
    at times, the mean of all blocks shows what sharing does to unlike calls, and that of quiet blocks does not.
    """
    distances = paired.assign(apart=paired[list(means)].min(axis=1) - paired[typical])
    apart = pd.DataFrame(index=cases.index)
    _estimate(apart, distances, "apart", "apart")
    are_slow: np.ndarray = apart["apart_low"].to_numpy() > MEAN_APART
    return are_slow


def _twice(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with enough quiet blocks of cases that have two of them or more."""
    rows = rows[rows["counted_blocks"] > 0]
    return rows[rows.groupby("number")["number"].transform("size") >= MIN_QUIET_REPLICATES]


def _estimate(
    cases: pd.DataFrame,
    replicates: pd.DataFrame,
    column: str,
    name: str,
    of_ratios: "pd.Series[float] | None" = None,
) -> None:
    """Estimate on logarithms for each case, and put the values into columns: `name`, `name_low`, `name_high`.

    Only cases of one run borrow from each other; cases without rows keep their values. `of_ratios`: the `drifts` of
    ratios, by the number of the case.
    """
    columns = [name, f"{name}_low", f"{name}_high"]
    values = cases.reindex(columns=columns).to_numpy(dtype=float, copy=True)
    for _, of_run in replicates.groupby("run", sort=False, observed=True):
        numbers, group = np.unique(of_run["number"].to_numpy(), return_inverse=True)
        logs = of_run[column].to_numpy(dtype=float)
        known_logs = estimates(group, logs)
        if name == "ratio":
            wider = 0.0 if of_ratios is None else of_ratios.reindex(numbers).to_numpy()
            known_logs = with_runs(known_logs, wider)
        values[numbers] = from_logs(known_logs)
    cases[columns] = values


@dataclass(frozen=True)
class Noise:
    """The noise that a run shows where nothing differs; NaN if it has too little data."""

    floor: float  # half-width of the 95% interval of an arm's ratio to itself, median over cases; 0.01 is 1%
    worst: float  # the same half-width, 95% quantile over cases
    cases: int
    drift: float  # time of the references in the last third of the replicates over that in the first, less 1


def noise(times: RunTimes) -> Noise:
    """Return the noise of one run, from its own windows: each arm against itself, and the drift over the run.

    Every case's windows are dealt out to two pretended arms in the balanced order in which real arms take turns. A real
    ratio may be more precise, since each of its arms has twice as many windows, or less, since two cases also differ in
    how their memory lies, which changes from process to process. The drift is the median over the references.
    """
    itself = times.replicates[times.replicates["self_log_ratio"].notna()]
    intervals = estimates(itself["number"].to_numpy(dtype=np.int64), itself["self_log_ratio"].to_numpy(dtype=float))
    intervals = intervals[~np.isnan(intervals).any(axis=1)]  # a single replicate shows no spread
    _, low, high = intervals.T
    halves = (high - low) / 2 if len(intervals) else np.array([np.nan])
    floor = float(np.expm1(np.median(halves)))
    worst = float(np.expm1(np.quantile(halves, 0.95)))
    references = times.replicates[times.replicates["implementation"].isin(REFERENCES)]
    number = references["number"].to_numpy(dtype=np.int64)
    logs = references["log_seconds"].to_numpy()
    place = references.groupby("number")["replicate"].rank(method="first").to_numpy() - 1
    count = np.bincount(number)
    third = count // 3
    first = np.bincount(number, np.where(place < third[number], logs, 0.0))[third > 0]
    last = np.bincount(number, np.where(place >= (count - third)[number], logs, 0.0))[third > 0]
    changes = (last - first) / third[third > 0]
    drift = float(np.expm1(np.median(changes))) if len(changes) else np.nan
    return Noise(floor, worst, len(intervals), drift)


def clock_rates(turns: pd.DataFrame) -> dict[str, float]:
    """Return the median rate of the clock beside each call, in MHz; without calls for which it is not known."""
    rates = turns.groupby("call", sort=False)["sm_clock_mhz"].median().dropna()
    return {str(name): float(rate) for name, rate in rates.items()}


def unlike_clocks(turns: pd.DataFrame, reference: str) -> list[str]:
    """Return the calls beside which the clock ran at another rate than beside the reference: by more than 2%."""
    rates = clock_rates(turns)
    return [name for name, rate in rates.items() if clock_difference(rates.get(reference), rate)]


def launch_bound_calls(turns: pd.DataFrame) -> list[str]:
    """Return the calls for which the GPU waits for the host."""
    of_calls = turns.groupby("call", sort=False)
    are_bound = launch_bound(of_calls[["seconds", "host_seconds", "submit_seconds"]].sum(), of_calls.size())
    return [str(name) for name, is_bound in are_bound.items() if is_bound]


def card_notes(turns: pd.DataFrame) -> list[str]:
    """Return sentences on the rate of the clock, and on calls for which the GPU waits; none on a processor."""
    beside = [f"{rate:,.0f} MHz beside {name}" for name, rate in clock_rates(turns).items()]
    clock = [f"The clock of the GPU ran at {', '.join(beside)}."] if beside else []
    return [*clock, *(f"{name} is launch-bound: the GPU waits for the host." for name in launch_bound_calls(turns))]
