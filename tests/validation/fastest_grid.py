"""How long the layers that `rnnbench.fastest` hands back take over a grid of sizes, in inference and in training.

Each place of a grid is a search of its own, on a copy of torch.nn's layer. Then both modules are called as in
`handed_back`. `ratio` is the median of the ratios of adjacent blocks, with the 95% interval of a bootstrap over twenty
stretches of the clock; `quiet` is the ratio of the 5% quantiles. The budget of the grids in inference is too
short for ways that are compiled: what is handed back can only be slower than with more.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import rnnbench
from rnnbench.speedup.search import FastestPhase
from tests.validation.handed_back import KINDS, QUIET, clocked

INPUT = 64
GOOD, LIMIT = 0.90, 1.02
BLOCKS, LEAST_BLOCKS, MOST_SECONDS = 200, 16, 4.0  # of each module; of long calls fewer, within these seconds
STRETCHES, DRAWS = 20, 1000


@dataclass(frozen=True)
class Place:
    """A layer at one size, in one phase."""

    kind: str
    hidden: int
    batch: int
    length: int
    threads: int
    phase: FastestPhase
    layers: int = 1
    is_bidirectional: bool = False

    def build(self) -> nn.Module:
        """Return the layer, with the same weights each time."""
        torch.manual_seed(0)
        module: nn.Module = KINDS[self.kind](INPUT, self.hidden, self.layers, bidirectional=self.is_bidirectional)
        return module


SIZES = tuple(product((64, 128, 256, 512), (1, 8, 32), (16, 64, 256), (1, 2)))  # hidden, batch, length, threads
LSTMS = tuple(Place("LSTM", *sizes, phase="inference") for sizes in SIZES)
GRUS_AND_RNNS = tuple(Place(kind, *sizes, phase="inference") for kind, sizes in product(("GRU", "RNN"), SIZES))
# The places of the suite `ladder-wide` in training, on one thread.
TRAINING = tuple(
    [
        Place(kind, hidden, batch, 16, 1, "training")
        for kind, hidden, batch in product(KINDS, (64, 256, 512), (1, 8, 32, 64))
    ]
    + [
        Place(kind, 256, batch, 16, 1, "training", layers, directions)
        for kind, batch, (layers, directions) in product(KINDS, (8, 32), ((2, False), (1, True)))
    ]
)


def lstms(
    share: float = 1.0, places: Sequence[Place] = LSTMS, budget: float = 12.0, blocks: int = BLOCKS
) -> pd.DataFrame:
    """Return a row for each place of a share of the grid of LSTMs in inference."""
    return _table(places, share, budget, blocks)


def grus_and_rnns(
    share: float = 1.0, places: Sequence[Place] = GRUS_AND_RNNS, budget: float = 12.0, blocks: int = BLOCKS
) -> pd.DataFrame:
    """Return a row for each place of a share of the grid of GRUs and RNNs in inference."""
    return _table(places, share, budget, blocks)


def training(
    share: float = 1.0, places: Sequence[Place] = TRAINING, budget: float = 40.0, blocks: int = BLOCKS
) -> pd.DataFrame:
    """Return a row for each place of a share of the grid of training."""
    return _table(places, share, budget, blocks)


def _table(places: Sequence[Place], share: float, budget: float, blocks: int) -> pd.DataFrame:
    chosen = random.Random(0).sample(places, max(1, round(share * len(places))))
    threads = torch.get_num_threads()
    try:
        return pd.DataFrame(_rows([place for place in places if place in chosen], budget, blocks))
    finally:
        torch.set_num_threads(threads)


def _rows(places: Sequence[Place], budget: float, blocks: int) -> Iterator[dict[str, object]]:
    for place in places:
        torch.set_num_threads(place.threads)
        module, input = place.build(), torch.randn(place.length, place.batch, INPUT)
        found: Any = rnnbench.fastest(
            module, input, phase=place.phase, threads=place.threads, budget=budget, progress=False
        )
        [row] = found.frame[found.frame["is_chosen"]].to_dict("records")
        given, handed_back = clocked(module, found, input, place.phase, blocks, LEAST_BLOCKS, MOST_SECONDS)
        low, high = _interval(given, handed_back)
        yield {
            "module": place.kind
            + (" in two layers" if place.layers > 1 else "")
            + " both ways" * place.is_bidirectional,
            "hidden": place.hidden,
            "batch": place.batch,
            "length": place.length,
            "threads": place.threads,
            "phase": place.phase,
            "way": row["way"],
            "as given (us)": 1e6 * median(given),
            "quiet": float(np.quantile(handed_back, QUIET) / np.quantile(given, QUIET)),
            "ratio": float(np.median(np.divide(handed_back, given))),
            "low": low,
            "high": high,
            "said": row["ratio"],  # by the search
        }


def _interval(given: Sequence[float], handed_back: Sequence[float]) -> tuple[float, float]:
    """Return the 95% interval of the median ratio; neighbours in time are drawn together."""
    stretches = np.array_split(np.divide(handed_back, given), min(STRETCHES, len(given)))
    rng = np.random.default_rng(0)
    drawn = [
        np.median(np.concatenate([stretches[each] for each in rng.integers(len(stretches), size=len(stretches))]))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, and below them how many places are fast enough, and the worst of each column."""
    ratio = table["ratio"]
    no_slower, within = int((ratio <= 1.0).sum()), int((table["low"] <= LIMIT).sum())
    last = {
        "module": f"{int((ratio <= GOOD).sum())} of {len(table)} at most {GOOD}",
        "way": f"{no_slower} at most 1.00; lower ends: {within} at most {LIMIT}",
        "quiet": table["quiet"].max(),
        "ratio": ratio.max(),
        "low": table["low"].max(),
        "high": table["high"].max(),
    }
    return pd.concat([table.astype(object), pd.DataFrame([last])], ignore_index=True).fillna("")
