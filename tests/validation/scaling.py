"""The quality of predictions at sizes that were not fitted, of simulated runs whose truth is known."""

import itertools

import numpy as np
import pandas as pd

from rnnbench.analysis.predict import at
from rnnbench.analysis.size_fit import columns, fits, terms_of
from rnnbench.store.records import Case, Workload

SERIES_COSTS = ((1e-5, 1e-4), (2e-6, 1e-4), (1e-11, 5e-11), (3e-10, 3e-9), (5e-12, 5e-11))  # of the form `sum`
AXES = ("batch_size", "seq_len", "hidden_size")
AXES_OF_SERIES = {"phase": "inference", "dtype": "float32"}
GRID = ((1, 4, 16, 64), (4, 16, 64), (32, 64, 128, 256))


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
        terms = terms_of(frame, frame["macs"].to_numpy(dtype=float), AXES_OF_SERIES, None)
        frame["seconds"] = columns("sum", terms) @ costs * np.exp(rng.normal(0, spread, len(frame)))
    cases, target = frames
    is_asked = np.logical_and.reduce([cases[axis] == value for axis, value in sizes.items()])
    [fit], _ = fits(cases[~is_asked])
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
