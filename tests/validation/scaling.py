"""How good predictions are where nothing was fitted: sizes of real runs held out, and simulated runs of known truth.

Every size is left out of a whole run at once, the form chosen and the intervals made from what is left, as they would
be for somebody who had never measured it; what was measured there then judges both.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.analysis.scaling.fit import fits, solve
from rnnbench.analysis.scaling.held_out import MIN_VALUES, MOVING, levels
from rnnbench.analysis.scaling.predict import at
from rnnbench.analysis.scaling.terms import Work, columns
from rnnbench.analysis.summary import summarize
from rnnbench.store.frame import load
from rnnbench.store.records import Case, Workload

RUNS = Path("results")
CHOSEN = "chosen by held-out error"
SERIES_COSTS = ((1e-5, 1e-4), (2e-6, 1e-4), (1e-11, 5e-11), (3e-10, 3e-9), (5e-12, 5e-11))  # of the form `sum`
AXES = ("batch_size", "seq_len", "hidden_size")
GRID = ((1, 4, 16, 64), (4, 16, 64), (32, 64, 128, 256))


def scaling(simulated_runs: int) -> pd.DataFrame:
    """Errors and coverage on held-out points of the newest run of the suite `scaling`, and of simulated runs."""
    runs = sorted(RUNS.glob("scaling-*"))
    if not runs:
        sys.exit(f"no run of the suite scaling below {RUNS}/; `rnnbench run scaling` makes one")
    return pd.concat([held_out(runs[-1]), simulated(simulated_runs)], ignore_index=True)


def held_out(run: Path) -> pd.DataFrame:
    """Of one run: a row for each kind of what was held out, with the median error of every form beside the chosen."""
    summary = summarize(load(run))
    judged = pd.concat([_judged(summary, kind, out) for kind, out in _left_out(summary)], ignore_index=True)
    rows = []
    for kind, found in judged.groupby("kind", sort=False):
        off = np.expm1(found["error"].abs()).groupby(found["form"], sort=False).median().to_dict()
        forms = {f"median, {form}": error for form, error in off.items() if form != CHOSEN}
        rows.append({"run": run.name, "held out": kind, **_judgement(found[found["form"] == CHOSEN]), **forms})
    return pd.DataFrame(rows)


def _left_out(summary: pd.DataFrame) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    """What is held out at once, with its kind: each point, and each value of a size with three or more."""
    for _, point in summary.groupby(list(MOVING)):
        yield "a point", summary.index.to_series().isin(point.index)
    for axis, values in levels(summary[list(MOVING)].dropna()).items():
        if len(values) < MIN_VALUES:
            continue
        for place, value in enumerate(values):
            inside = 0 < place < len(values) - 1
            near = values[1] if place == 0 else values[-2]
            beyond = f"{axis} at an end, {max(value, near) / min(value, near):g}x beyond"
            yield f"{axis} inside" if inside else beyond, summary[axis] == value


def _judged(summary: pd.DataFrame, kind: str, out: "pd.Series[bool]") -> pd.DataFrame:
    """The log errors of what was left out, by every form and by the one that is chosen, with its interval."""
    parts = []
    measured = summary[summary["status"] == "measured"]
    for fit in fits(summary[~out]).found:
        own = np.logical_and.reduce([measured[axis] == value for axis, value in fit.axes.items()])
        asked = measured[own & out.reindex(measured.index)]
        if asked.empty:
            continue
        seconds = asked["seconds"].to_numpy(dtype=float)
        work = fit.work(asked)
        for form in fit.tried:
            costs = solve(columns(form, fit.work(fit.sizes)), fit.sizes["seconds"].to_numpy(dtype=float))
            fitted = np.maximum(columns(form, work) @ costs, 1e-12)
            parts.append(pd.DataFrame({"form": form, "error": np.log(fitted / seconds)}))
        found = at(fit, None, asked)
        chosen = pd.DataFrame({"form": CHOSEN, "error": np.log(fit.seconds(asked) / seconds)})
        low, high = found["seconds_low"].to_numpy(dtype=float), found["seconds_high"].to_numpy(dtype=float)
        held = pd.Series(np.where(np.isnan(low), np.nan, (low <= seconds) & (seconds <= high)))
        parts.append(chosen.assign(covers=held, half=np.log(high / low) / 2))
    return pd.concat(parts, ignore_index=True).assign(kind=kind)


def _judgement(found: pd.DataFrame) -> dict[str, float]:
    off = np.expm1(found["error"].abs())
    told = found["covers"].dropna()
    return {
        "points": len(found),
        "median error": float(off.median()),
        "90% error": float(off.quantile(0.9)),
        "intervals": len(told),
        "coverage": float(told.mean()) if len(told) else np.nan,
        "median half-width": float(np.expm1(found["half"]).median()) if len(told) else np.nan,
    }


def simulated(runs: int, noise: tuple[float, ...] = (0.01, 0.05)) -> pd.DataFrame:
    """Runs whose times are a known sum of terms with noise: how often intervals hold what would be measured next."""
    rng = np.random.default_rng(11)
    rows = []
    for spread in noise:
        for kind, asked in SIMULATED.items():
            found = pd.concat([_simulated_run(rng, spread, asked) for _ in range(runs)], ignore_index=True)
            name = f"simulated, noise {spread:.0%}"
            rows.append({"run": name, "held out": kind, **_judgement(found)})
    return pd.DataFrame(rows)


SIMULATED: dict[str, dict[str, int]] = {
    "a point": {},  # any of the grid
    "three new sizes inside": {"batch_size": 9, "seq_len": 25, "hidden_size": 200},
    "three sizes, 2x beyond": {"batch_size": 128, "seq_len": 128, "hidden_size": 512},
}


def _simulated_run(rng: np.random.Generator, spread: float, asked: dict[str, int]) -> pd.DataFrame:
    """One series of random costs: what was predicted at a size, and whether the interval holds a measurement there."""
    asked = asked or {axis: int(rng.choice(values)) for axis, values in zip(AXES, GRID, strict=True)}
    costs = np.exp([rng.uniform(np.log(low), np.log(high)) for low, high in SERIES_COSTS])
    frames = [
        pd.DataFrame([made_up(*point) for point in points]) for points in (itertools.product(*GRID), [asked.values()])
    ]
    for frame in frames:
        batch, steps, hidden, macs = (frame[name].to_numpy(dtype=float) for name in (*asked, "macs"))
        work = Work(batch, steps, hidden, macs, item_bytes=4, takes_gradients=False, ceiling=None)
        frame["seconds"] = columns("sum", work) @ costs * np.exp(rng.normal(0, spread, len(frame)))
    cases, there = frames
    is_asked = np.logical_and.reduce([cases[axis] == value for axis, value in asked.items()])
    fit = next(iter(fits(cases[~is_asked]).found))
    found = at(fit, None, there)
    low, high, truth = found["seconds_low"], found["seconds_high"], there["seconds"]
    error = np.log(fit.seconds(there) / truth)
    covers = float(low.iloc[0] <= truth.iloc[0] <= high.iloc[0]) if low.notna().all() else np.nan
    return pd.DataFrame({"error": error, "covers": covers, "half": np.log(high / low) / 2})


def made_up(batch: int, steps: int, hidden: int) -> dict[str, object]:
    """A row of a summary: an LSTM of 64 inputs, with its exact MACs."""
    workload = Workload("lstm", "inference", "many_to_many", batch, steps, 64, hidden, 10, 1, "float32", "cpu", 1)
    macs = batch * steps * (4 * hidden * (hidden + 64) + 10 * hidden)
    case = Case("lstm", "loop", workload)
    return {"run": "made-up", **case.axes(), "status": "measured", "macs": macs, "ceiling": None}
