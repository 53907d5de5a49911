"""Error rates of the history by simulation: time lines with known truth, with the real search and tests.

A case's replicates scatter by about 1%, which varies over cases and runs. Each run adds a bias to each case, as memory
layout does; neighbouring runs may share some of it. A busy machine spoils a few points.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.history import History, history
from rnnbench.analysis.stored import StoredRun
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Case, Measurement
from rnnbench.store.run_info import RunInfo
from tests.doubles import workload as small
from tests.doubles.stored import MACHINE

REPLICATES = 6
SPREAD, SPREAD_OF_SPREADS = 0.01, 0.35  # over replicates; spread of its logarithm over cases and runs
CORRELATIONS = (0.0, 0.5, 0.8)  # of neighbouring runs
RUN_BIAS, BIAS_OF_CASES = 0.008, 0.3  # from run to run; spread of its logarithm over cases
FEW = (1, 3, 10, 24)  # cases
BEFORE = 10  # runs before a step that should be found soon
SPOILT, STALL = 0.02, 0.03  # share of spoilt points, and the mean of what a stall adds


def simulated(rng: np.random.Generator, true: np.ndarray, bias: float = RUN_BIAS, correlation: float = 0.0) -> History:
    """The history of runs with the given true log-ratios (cases, runs); `correlation`: of neighbouring runs' biases."""
    cases, runs = true.shape
    run_cases = [small.case("gru", batch_size=number + 1) for number in range(cases)]
    biases = np.exp(BIAS_OF_CASES * rng.standard_normal((cases, 1))) * wandering(rng, correlation, (cases, runs), bias)
    spoilt = np.where(rng.random((cases, runs)) < SPOILT, rng.exponential(STALL, (cases, runs)), 0.0)
    spread = SPREAD * np.exp(SPREAD_OF_SPREADS * rng.standard_normal((cases, runs)))
    noise = spread[:, :, None] * rng.standard_normal((cases, runs, REPLICATES))
    logs = (true + biases + spoilt)[:, :, None] + noise
    return history([stored_run(number, run_cases, logs[:, number]) for number in range(runs)])


def wandering(rng: np.random.Generator, correlation: float, shape: tuple[int, int], spread: float) -> np.ndarray:
    """Rows of values with this spread and correlation from column to column: AR(1)."""
    values = spread * rng.standard_normal(shape)
    for column in range(1, shape[1]):
        values[:, column] = correlation * values[:, column - 1] + math.sqrt(1 - correlation**2) * values[:, column]
    return values


def stored_run(number: int, cases: Sequence[Case], logs: np.ndarray, **environment: Any) -> StoredRun:
    """A run with the given log-ratios (cases, replicates)."""
    started = f"2026-01-{1 + number // 24:02d}T{number % 24:02d}:00:00+00:00"
    facts = {"git": {"commit": f"{number:040x}"}, "worker": environment, "machine": MACHINE}
    info = RunInfo("simulated", "", {}, "none: simulated", started, facts, status="finished")
    keys = [case.key for case in cases]
    values = logs.ravel()
    columns: dict[str, Any] = {"log_ratio": values, "log_mean_ratio": values + 0.01}
    columns |= {"quiet_log_ratio": math.nan, "log_quiet_mean_ratio": math.nan}
    ratios = pd.DataFrame({"case": np.repeat(keys, logs.shape[1]), **columns})
    measurements = {case.key: Measurement(case, "measured", parity=AGREES) for case in cases}
    return StoredRun(f"simulated-{number:02d}", info, measurements, ratios)


def error_rates(histories: int, cases: int = 100, lengths: Sequence[int] = (5, 10, 20, 40)) -> pd.DataFrame:
    """A row for each number of runs and size of step: false changes of flat cases, and steps found in the others."""
    rows = []
    for correlation in CORRELATIONS:
        for runs in lengths:
            for step in (0.0, 0.03, 0.05, 0.10):
                rng = np.random.default_rng([runs, round(100 * step), round(10 * correlation)])
                frames = [_one(rng, cases, runs, step, correlation) for _ in range(histories)]
                about = {"runs": runs, "correlation of neighbours": correlation, "step": step}
                rows.append(about | _summary(pd.concat(frames)))
    return pd.DataFrame(rows)


def few_cases(lines: int) -> pd.DataFrame:
    """A row for each number of cases and runs: false changes of flat cases, and steps found soon after they came.

    `lines`: the number of flat lines in a row, at least; a third as many histories have a step.
    """
    rows = []
    for cases, correlation, runs in itertools.product(FEW, CORRELATIONS[1:], (10, 20, 40)):
        rng = np.random.default_rng([cases, runs, round(10 * correlation)])
        frames = [_one(rng, cases, runs, 0.0, correlation) for _ in range(math.ceil(lines / cases))]
        about = {"cases": cases, "runs": runs, "correlation of neighbours": correlation, "step": 0.0}
        rows.append(about | _summary(pd.concat(frames)))
    for cases, step, after in itertools.product(FEW[:2], (0.05, 0.10, 0.20), (3, 5, 10)):
        rng = np.random.default_rng([cases, after, round(100 * step)])
        frames = [_one(rng, cases, BEFORE + after, step, 0.5, BEFORE) for _ in range(lines // 3)]
        about = {"cases": cases, "runs": BEFORE + after, "correlation of neighbours": 0.5, "step": step}
        rows.append(about | {"runs after the step": after} | _summary(pd.concat(frames)))
    return pd.DataFrame(rows)


def _one(
    rng: np.random.Generator, cases: int, runs: int, step: float, correlation: float, at_run: int | None = None
) -> pd.DataFrame:
    """A row for each case of one history; every tenth has a step at this run, or a random one two from the ends."""
    places = rng.integers(2, runs - 1, cases) if at_run is None else at_run
    at = np.where(np.arange(cases) % 10 == 0, places, runs) if step else np.full(cases, runs)
    true = np.log1p(step) * (np.arange(runs) >= at[:, None])
    changes = simulated(rng, true, correlation=correlation).changes.query("is_significant")
    keys = [small.case("gru", batch_size=number + 1).key for number in range(cases)]
    return pd.DataFrame(
        [_facts(changes[changes["case"] == key], int(at[case]), runs, step) for case, key in enumerate(keys)]
    )


def _facts(changes: pd.DataFrame, at: int, runs: int, step: float) -> dict[str, Any]:
    hits = changes[changes["after"] == at]
    return {
        "steps": at < runs,
        "changes": len(changes),
        "near": bool((changes["after"] - at).abs().le(1).any()),
        "exact": len(hits) > 0,
        "covers": bool(hits["low"].iloc[0] <= 1 + step <= hits["high"].iloc[0]) if len(hits) else None,
    }


def _summary(rows: pd.DataFrame) -> dict[str, Any]:
    flat, stepped = rows[~rows["steps"]], rows[rows["steps"]]
    row: dict[str, Any] = {"flat lines": len(flat), "with a false change": float((flat["changes"] > 0).mean())}
    if len(stepped):
        row |= {
            "lines with a step": len(stepped),
            "found, at most one run off": float(stepped["near"].mean()),
            "found at the very run": float(stepped["exact"].mean()),
            "of these, interval holds the step": float(stepped["covers"].dropna().astype(float).mean()),
            "with another change beside it": float((stepped["changes"] > stepped["near"]).mean()),
            "of all changes, false": float((rows["changes"] - rows["near"]).sum() / max(1, rows["changes"].sum())),
        }
    return row
