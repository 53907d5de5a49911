"""The quality of predictions at sizes that were not fitted: held out of real runs, or simulated with known truth.

Each size in turn is left out of a whole run. The form is chosen and the intervals are made from the rest, as for a user
who never measured that size; the left-out measurements then judge both.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.analysis.runs.run_times import read
from rnnbench.analysis.runs.summary import summarize
from rnnbench.analysis.scaling.fit import fits, solve
from rnnbench.analysis.scaling.held_out import MIN_VALUES, MOVING, levels
from rnnbench.analysis.scaling.predict import at
from rnnbench.analysis.scaling.terms import Work, columns
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
    """A row for each kind of held-out part of a run, with the median errors of the chosen and every other form."""
    summary = summarize(read(run))
    judged = pd.concat([_judged(summary, kind, out) for kind, out in _left_out(summary)], ignore_index=True)
    rows = []
    for kind, errors in judged.groupby("kind", sort=False):
        off = np.expm1(errors["error"].abs()).groupby(errors["form"], sort=False).median().to_dict()
        forms = {f"median, {form}": error for form, error in off.items() if form != CHOSEN}
        rows.append({"run": run.name, "held out": kind, **_judgement(errors[errors["form"] == CHOSEN]), **forms})
    return pd.DataFrame(rows)


def _left_out(summary: pd.DataFrame) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    """The parts to hold out, as (kind, mask): each point, and each value of an axis with three or more values."""
    for _, point in summary.groupby(list(MOVING)):
        yield "a point", summary.index.to_series().isin(point.index)
    for axis, values in levels(summary[list(MOVING)].dropna()).items():
        if len(values) < MIN_VALUES:
            continue
        for index, value in enumerate(values):
            inside = 0 < index < len(values) - 1
            near = values[1] if index == 0 else values[-2]
            beyond = f"{axis} at an end, {max(value, near) / min(value, near):g}x beyond"
            yield f"{axis} inside" if inside else beyond, summary[axis] == value


def _judged(summary: pd.DataFrame, kind: str, out: "pd.Series[bool]") -> pd.DataFrame:
    """The log errors on the left-out part of every form and of the chosen form, the latter with its interval."""
    parts = []
    measured = summary[summary["status"] == "measured"]
    for fit in fits(summary[~out]).found:
        own = np.logical_and.reduce([measured[axis] == value for axis, value in fit.axes.items()])
        left_out = measured[own & out.reindex(measured.index)]
        if left_out.empty:
            continue
        seconds = left_out["seconds"].to_numpy(dtype=float)
        work = fit.work(left_out)
        for form in fit.tried:
            costs = solve(columns(form, fit.work(fit.sizes)), fit.sizes["seconds"].to_numpy(dtype=float))
            fitted = np.maximum(columns(form, work) @ costs, 1e-12)
            parts.append(pd.DataFrame({"form": form, "error": np.log(fitted / seconds)}))
        predicted = at(fit, None, left_out)
        chosen = pd.DataFrame({"form": CHOSEN, "error": np.log(fit.seconds(left_out) / seconds)})
        low, high = predicted["seconds_low"].to_numpy(dtype=float), predicted["seconds_high"].to_numpy(dtype=float)
        covers = pd.Series(np.where(np.isnan(low), np.nan, (low <= seconds) & (seconds <= high)))
        parts.append(chosen.assign(covers=covers, half=np.log(high / low) / 2))
    return pd.concat(parts, ignore_index=True).assign(kind=kind)


def _judgement(errors: pd.DataFrame) -> dict[str, float]:
    off = np.expm1(errors["error"].abs())
    covered = errors["covers"].dropna()
    return {
        "points": len(errors),
        "median error": float(off.median()),
        "90% error": float(off.quantile(0.9)),
        "intervals": len(covered),
        "coverage": float(covered.mean()) if len(covered) else np.nan,
        "median half-width": float(np.expm1(errors["half"]).median()) if len(covered) else np.nan,
    }


def simulated(runs: int, noise: tuple[float, ...] = (0.01, 0.05)) -> pd.DataFrame:
    """Runs whose times are a known sum of terms with noise: how often intervals hold the next measurement."""
    rng = np.random.default_rng(11)
    rows = []
    for spread in noise:
        for kind, sizes in SIMULATED.items():
            errors = pd.concat([_simulated_run(rng, spread, sizes) for _ in range(runs)], ignore_index=True)
            name = f"simulated, noise {spread:.0%}"
            rows.append({"run": name, "held out": kind, **_judgement(errors)})
    return pd.DataFrame(rows)


SIMULATED: dict[str, dict[str, int]] = {
    "a point": {},  # a random point of the grid
    "three new sizes inside": {"batch_size": 9, "seq_len": 25, "hidden_size": 200},
    "three sizes, 2x beyond": {"batch_size": 128, "seq_len": 128, "hidden_size": 512},
}


def _simulated_run(rng: np.random.Generator, spread: float, sizes: dict[str, int]) -> pd.DataFrame:
    """One series with random costs: the error at a size, and whether the interval holds a measurement there."""
    sizes = sizes or {axis: int(rng.choice(values)) for axis, values in zip(AXES, GRID, strict=True)}
    costs = np.exp([rng.uniform(np.log(low), np.log(high)) for low, high in SERIES_COSTS])
    frames = [
        pd.DataFrame([made_up(*point) for point in points]) for points in (itertools.product(*GRID), [sizes.values()])
    ]
    for frame in frames:
        batch, steps, hidden, macs = (frame[name].to_numpy(dtype=float) for name in (*sizes, "macs"))
        work = Work(batch, steps, hidden, macs, item_bytes=4, takes_gradients=False, ceiling=None)
        frame["seconds"] = columns("sum", work) @ costs * np.exp(rng.normal(0, spread, len(frame)))
    cases, target = frames
    is_asked = np.logical_and.reduce([cases[axis] == value for axis, value in sizes.items()])
    fit = next(iter(fits(cases[~is_asked]).found))
    predicted = at(fit, None, target)
    low, high, truth = predicted["seconds_low"], predicted["seconds_high"], target["seconds"]
    error = np.log(fit.seconds(target) / truth)
    covers = float(low.iloc[0] <= truth.iloc[0] <= high.iloc[0]) if low.notna().all() else np.nan
    return pd.DataFrame({"error": error, "covers": covers, "half": np.log(high / low) / 2})


def made_up(batch: int, steps: int, hidden: int) -> dict[str, object]:
    """A summary's row of an LSTM with 64 inputs and its exact MACs."""
    workload = Workload("lstm", "inference", "many_to_many", batch, steps, 64, hidden, 10, 1, "float32", "cpu", 1)
    macs = batch * steps * (4 * hidden * (hidden + 64) + 10 * hidden)
    case = Case("lstm", "loop", workload)
    return {"run": "made-up", **case.axes(), "status": "measured", "macs": macs, "ceiling": ""}
