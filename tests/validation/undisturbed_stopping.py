"""Coverage of a run's undisturbed intervals, though it ends once they are narrow: the real planner on simulated ratios.

As `stopping_simulated`, with quiet blocks: each ratio has a noise between processes, and 0.06 over the number of its
quiet blocks on top, which differs from visit to visit. A case may have processes that are in one of two modes at
random: then all replicates may be in one mode, and seem precise.
"""

import itertools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import BLOCK_SPREAD, undisturbed_estimates_of
from rnnbench.analysis.quiet import BINS, QuietBlocks
from rnnbench.analysis.replicate_times import Times
from rnnbench.harness.turns import planner as planner_module
from rnnbench.harness.turns.planner import Planner
from rnnbench.store.records import Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.stored import steady
from tests.validation.noise import heavy, normal, skewed, spoilt

DRAWS = {"normal": normal, "skewed": skewed, "heavy tails": heavy, "one in ten spoilt": spoilt}
SPREADS = {"0.4%": (0.004,), "0.8%": (0.008,), "2%": (0.02,), "0.3% to 4%": (0.003, 0.01, 0.02, 0.04)}
BLOCKS = (6, 40)  # quiet blocks of a visit
CASES = (4, 24)
LEAST = (3, 4, 6)  # replicates before a precise group may end
MOST = 20
MODES = "two modes"  # a quarter of the cases in one of two modes at random, in each replicate
MODE, STEADY = 0.03, 0.005  # a mode's distance from the true ratio, and the spread of all cases
PROCESSES = 2


@dataclass(frozen=True)
class Kind:
    """A kind of run."""

    noise: str
    spread: str
    cases: int
    least: int


def coverage(cases: int) -> pd.DataFrame:
    """Return a row for each kind of run, with about so many cases: how often the 95% intervals hold the ratio."""
    kinds = [
        Kind(noise, spread, size, least)
        for noise, spread in [*itertools.product(DRAWS, SPREADS), (MODES, "its own")]
        for size in CASES
        for least in LEAST
    ]
    with ProcessPoolExecutor(PROCESSES) as pool:
        return pd.DataFrame(pool.map(partial(row, cases), kinds))


def row(cases: int, kind: Kind) -> dict[str, Any]:
    """Return the row of `coverage` for one kind of run."""
    rng = np.random.default_rng([*f"{kind.noise} {kind.spread} {kind.cases}".encode()])  # equal runs for each `least`
    runs = pd.concat([one_run(kind, *_drawn(kind, rng)) for _ in range(max(1, cases // kind.cases))])
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
    }


def _drawn(kind: Kind, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return log-ratios (replicates, cases), and the quiet blocks of each."""
    shape = MOST, kind.cases
    blocks = rng.integers(*BLOCKS, size=shape)
    turns = BLOCK_SPREAD / blocks * rng.standard_normal(shape)
    if kind.noise == MODES:
        modes = MODE * (np.arange(kind.cases) < kind.cases // 4) * rng.choice([-1, 1], shape)
        return STEADY * rng.standard_normal(shape) + modes + turns, blocks
    draw = DRAWS[kind.noise]
    centre = np.mean(draw(np.random.default_rng(0), (1_000_000,)))
    return np.resize(SPREADS[kind.spread], kind.cases) * (draw(rng, shape) - centre) + turns, blocks


def quiet(seconds: float, blocks: int) -> Times:
    """Return the times of a case whose calls all take so long, with so many quiet blocks."""
    return Times(steady(seconds).log_quantiles, seconds, QuietBlocks(np.full(BINS, np.log(seconds)), blocks, seconds))


def one_run(kind: Kind, values: np.ndarray, blocks: np.ndarray) -> pd.DataFrame:
    """Return a row for each case of a run, from its log-ratio and quiet blocks (replicates, cases)."""
    groups = [
        Group(
            small.workload(batch_size=size), (small.case("gru", batch_size=size), small.reference_case(batch_size=size))
        )
        for size in range(1, kind.cases + 1)
    ]
    with mock.patch.object(planner_module, "MIN_UNDISTURBED", kind.least):
        planner = Planner(groups, Settings(replicates=2, max_replicates=MOST, precision=0.02))
        planner.add_start(1.0)
        samples: dict[Group, list[tuple[float, int]]] = {group: [] for group in groups}
        while visits := planner.next_visits():
            for group in visits:
                place = len(samples[group]), groups.index(group)
                value, number = float(values[place]), int(blocks[place])
                samples[group].append((value, number))
                loop, reference = (case.key for case in group.cases)
                planner.add_visit(group, 1.0, {loop: quiet(np.exp(value), number), reference: quiet(1.0, number)})
    intervals = undisturbed_estimates_of(list(samples.values()))
    return pd.DataFrame(
        {
            "replicates": [len(sample) for sample in samples.values()],
            "covers": [interval.lower <= 0 <= interval.upper for interval in intervals],
            "half_width": [(interval.upper - interval.lower) / 2 for interval in intervals],
        }
    )
