"""How long the module that `rnnbench.fastest` hands back takes, over the module that it was given.

Each search is that of a user with a budget. Then both modules are called as a user calls them, in blocks of a few
calls that take turns in random order, by a clock of this program's own. `quiet` is the ratio of the 5% quantiles of the
blocks, which nothing has disturbed; above 1.02, what is handed back is slower. `minimum` and `median` are the ratios of
the shortest and of the typical blocks. `spent` is the time of the search over its budget.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import rnnbench

KINDS: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
SIZES = ((64, 1), (512, 32))  # (hidden, batch)
INPUT, STEPS, BUDGET = 64, 16, 30.0
# Blocks of each module, and of how long; longer calls are blocks of one call, and fewer of them.
BLOCKS, BLOCK_SECONDS, MOST_SECONDS, LEAST_BLOCKS = 400, 0.004, 12.0, 100
LIMIT, QUIET = 1.02, 0.05


def searches(
    kinds: Sequence[str] = tuple(KINDS),
    sizes: Sequence[tuple[int, int]] = SIZES,
    phases: Sequence[str] = ("inference", "training"),
    steps: int = STEPS,
    budget: float = BUDGET,
    blocks: int = BLOCKS,
) -> pd.DataFrame:
    """Return a row for each search; one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return pd.DataFrame(_rows(product(kinds, sizes, phases), steps, budget, blocks))
    finally:
        torch.set_num_threads(threads)


def _rows(chosen: Any, steps: int, budget: float, blocks: int) -> Iterator[dict[str, object]]:
    for kind, (hidden, batch), phase in chosen:
        torch.manual_seed(0)
        module = KINDS[kind](INPUT, hidden)
        input = torch.randn(steps, batch, INPUT)
        started = time.monotonic()
        fastest = rnnbench.fastest(module, input, phase=phase, budget=budget, progress=False)
        seconds = time.monotonic() - started
        [row] = fastest.frame[fastest.frame["is_chosen"]].to_dict("records")
        left_out = fastest.frame["way"][(fastest.frame["reason"] != "") & ~fastest.frame["is_chosen"]]
        seconds_as_given, handed_back = clocked(module, fastest, input, phase, blocks)
        yield {
            "module": kind,
            "hidden": hidden,
            "batch": batch,
            "phase": phase,
            "way": row["way"],
            "sure": bool(row["is_sure"]),
            "left out": ", ".join(left_out) or "none",
            "as given (us)": 1e6 * median(seconds_as_given),
            "quiet": float(np.quantile(handed_back, QUIET) / np.quantile(seconds_as_given, QUIET)),
            "minimum": min(handed_back) / min(seconds_as_given),
            "median": median(handed_back) / median(seconds_as_given),
            "said": row["ratio"],  # by the search
            "budget (s)": budget,
            "spent": seconds / budget,
        }


def clocked(
    module: nn.Module,
    fastest: nn.Module,
    input: torch.Tensor,
    phase: str,
    blocks: int,
    least_blocks: int = LEAST_BLOCKS,
    most_seconds: float = MOST_SECONDS,
) -> tuple[list[float], list[float]]:
    """Return seconds per call of the given module and of the one that was handed back, for each block."""
    runs = [_call(each, input, phase) for each in (module, fastest)]
    seconds: list[list[float]] = [[], []]
    order = random.Random(0)
    for run in runs:
        _block(run, 3)
    call_seconds = min(_block(run, 2) for run in runs)
    calls = max(1, round(BLOCK_SECONDS / call_seconds))
    room = round(most_seconds / (calls * call_seconds))
    for _ in range(min(blocks, max(least_blocks, room))):
        for number in order.sample((0, 1), 2):
            runs[number]()  # the first call after a switch is slower
            seconds[number].append(_block(runs[number], calls))
    return seconds[0], seconds[1]


def _block(run: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls


def _call(module: nn.Module, input: torch.Tensor, phase: str) -> Callable[[], object]:
    if phase == "inference":

        def infer() -> None:
            with torch.inference_mode():
                module(input)

        return infer
    with torch.no_grad():
        direction = torch.ones_like(module(input)[0])

    def train() -> None:
        module.zero_grad()
        module(input)[0].backward(direction)

    return train


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, and below them how many are within the limit and the worst of each column."""
    last = {
        "module": f"{int((table['quiet'] <= LIMIT).sum())} of {len(table)} at most {LIMIT}",
        "sure": f"{int(table['sure'].sum())} of {len(table)}",
        "quiet": table["quiet"].max(),
        "minimum": table["minimum"].max(),
        "median": table["median"].max(),
        "spent": table["spent"].max(),
    }
    return pd.concat([table.astype(object), pd.DataFrame([last])], ignore_index=True).fillna("")
