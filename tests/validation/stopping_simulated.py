"""Coverage of a run's intervals, though it ends once they are narrow: the real planner, on simulated replicates.

Each case has a true ratio of 1 to its reference. A run asks for more replicates of a case until its interval is within
2%, so a case whose spread is small by chance ends early. What counts is the interval that the report shows then.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimate, estimates_of
from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import reference_ratios
from rnnbench.harness.turns.planner import Planner
from rnnbench.store.implementations import REFERENCES
from rnnbench.store.records import (
    Group,
)
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.stored import steady
from tests.validation.noise import Draw, heavy, normal, skewed, spoilt

DRAWS: dict[str, Draw] = {"normal": normal, "skewed": skewed, "heavy tails": heavy, "one in ten spoilt": spoilt}
SPREADS: dict[str, tuple[float, ...]] = {
    "1%": (0.01,),
    "2%": (0.02,),
    "3%": (0.03,),
    "0.5% to 4%": (0.005, 0.01, 0.02, 0.04),
}
CASES = (4, 24)
LEAST = (4, 6)  # replicates of a run
MOST = 20
REAL_NOISE = "of a real run"
MODES = "two modes"  # a quarter of the cases in one of two modes at random, in each replicate
MODE, QUIET = 0.03, 0.005  # a mode's distance from the true ratio, and the spread of all cases
REAL = Path(__file__).parents[2] / "results" / "notebook-20261125T021859Z-cb51"  # twelve replicates of each case
PROCESSES = 2


@dataclass(frozen=True)
class Kind:
    """A kind of run."""

    noise: str
    spread: str
    cases: int
    least: int


def coverage(cases: int) -> pd.DataFrame:
    """One row for each kind of run, with about so many cases in all: how often the 95% intervals hold the ratio."""
    kinds = [
        Kind(noise, spread, size, least)
        for noise, spread in [*itertools.product(DRAWS, SPREADS), (REAL_NOISE, "its own"), (MODES, "its own")]
        for size in CASES
        for least in LEAST
    ]
    with ProcessPoolExecutor(PROCESSES) as pool:
        return pd.DataFrame(pool.map(partial(row, cases), kinds))


def row(cases: int, kind: Kind) -> dict[str, Any]:
    """The row of `coverage` for one kind of run."""
    rng = np.random.default_rng([*str(kind).encode()])
    draws = {REAL_NOISE: _real, MODES: _two_modes}
    draw = draws[kind.noise](kind.cases) if kind.noise in draws else _made_up(kind)
    runs = pd.concat([one_run(kind, draw(rng)) for _ in range(max(1, cases // kind.cases))])
    if kind.noise == MODES:
        runs = runs[runs.index < kind.cases // 4]  # of each run, only the cases with two modes
    early = runs[runs["replicates"] == kind.least]
    return {
        "noise": kind.noise,
        "spread": kind.spread,
        "cases of a run": kind.cases,
        "least": kind.least,
        "cases": len(runs),
        "covered": runs["covers"].mean(),
        "covered by the least": early["covers"].mean(),
        "ended with the least": len(early) / len(runs),
        "replicates": runs["replicates"].mean(),
        "half-width": runs["half_width"].median(),
        "covered if each were alone": runs["covers_alone"].mean(),
    }


def _made_up(kind: Kind) -> Callable[[np.random.Generator], np.ndarray]:
    """Draws log-ratios (replicates, cases)."""
    draw, spreads = DRAWS[kind.noise], np.resize(SPREADS[kind.spread], kind.cases)
    # What the estimate aims at, the median of the mean of two values: of skewed noise this is not the mean.
    centre = np.median(draw(np.random.default_rng(0), (2, 1_000_000)).mean(axis=0))
    return lambda rng: spreads * (draw(rng, (MOST, kind.cases)) - centre)


def _real(cases: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Draws log-ratios (replicates, cases): replicates of a real run, so that noise they share stays shared."""
    ratios = reference_ratios(read_run_times(REAL).replicates)
    ratios = ratios[~ratios["implementation"].isin(REFERENCES)]
    whole = ratios.pivot_table(index="replicate", columns="case", values="log_ratio").dropna(axis=1).to_numpy()
    centred = whole - [estimate(column.tolist()).value for column in whole.T]

    def draw(rng: np.random.Generator) -> np.ndarray:
        columns = rng.choice(centred.shape[1], cases, replace=centred.shape[1] < cases)
        values: np.ndarray = centred[:, columns][rng.choice(len(centred), MOST)]
        return values

    return draw


def _two_modes(cases: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Draws log-ratios (replicates, cases) whose first quarter of cases has two modes."""
    has_modes = np.arange(cases) < cases // 4
    return lambda rng: (
        QUIET * rng.standard_normal((MOST, cases)) + MODE * has_modes * rng.choice([-1, 1], (MOST, cases))
    )


def one_run(kind: Kind, values: np.ndarray) -> pd.DataFrame:
    """A row for each case of a run; `values`: its log-ratio (replicates, cases) in each replicate that it may have."""
    groups = [
        Group(
            small.workload(batch_size=size), (small.case("gru", batch_size=size), small.reference_case(batch_size=size))
        )
        for size in range(1, kind.cases + 1)
    ]
    planner = Planner(groups, Settings(replicates=kind.least, max_replicates=MOST, precision=0.02))
    planner.add_start(1.0)
    samples: dict[Group, list[float]] = {group: [] for group in groups}
    while visits := planner.next_visits():
        for group in visits:
            value = float(values[len(samples[group]), groups.index(group)])
            samples[group].append(value)
            loop, reference = (case.key for case in group.cases)
            planner.add_visit(group, 1.0, {loop: steady(np.exp(value)), reference: steady(1.0)})
    intervals = estimates_of(list(samples.values()))
    alone = [estimate(sample) for sample in samples.values()]
    return pd.DataFrame(
        {
            "replicates": [len(sample) for sample in samples.values()],
            "covers": [interval.lower <= 0 <= interval.upper for interval in intervals],
            "half_width": [(interval.upper - interval.lower) / 2 for interval in intervals],
            "covers_alone": [interval.lower <= 0 <= interval.upper for interval in alone],
        }
    )
