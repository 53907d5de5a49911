"""How much longer code for any batch size takes than code for one, in inference.

Cells of the suite `modern` run by the way `prepacked`, once by code that `any_batch=True` compiles at the batch size
`AT`, and once by code for each batch size. `quiet` is the ratio of the 5% quantiles of both.
"""

import random
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch._inductor.utils import fresh_cache

import rnnbench
from rnnbench.cells import load, spec
from tests.validation.handed_back import QUIET, clocked

CELLS = ("ugrnn", "lstm_layer_norm", "s_lstm")
HIDDEN, LENGTHS = (64, 256), (16, 64)
BATCHES = (2, 3, 8, 17, 32, 64)
AT = 32
INPUT = 64
BLOCKS = 200
CHEAP = 1.05


def any_batch(share: float = 1.0) -> pd.DataFrame:
    """Return a row for each cell, hidden size, length and batch size of a share of the cells and sizes."""
    places = list(product(CELLS, HIDDEN, LENGTHS))
    chosen = random.Random(0).sample(places, max(1, round(share * len(places))))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return pd.DataFrame([row for place in places if place in chosen for row in _rows(*place)])
    finally:
        torch.set_num_threads(threads)


def _rows(cell: str, hidden: int, length: int) -> Iterator[dict[str, Any]]:
    torch.manual_seed(0)
    module: nn.Module = load(spec(cell, "none").target, Path())(INPUT, hidden).eval()
    inputs = {batch: torch.randn(length, batch, INPUT) for batch in BATCHES}
    of_any = _in_ways(module, inputs[AT], [AT], any_batch=True)
    of_one = _in_ways(module, inputs[AT], BATCHES, any_batch=False)
    with fresh_cache():
        first = torch.randn(2, 1, INPUT)  # of the compiler's own start
        _compile_seconds(_in_ways(module, first, [1], any_batch=False), first)
        any_seconds = _compile_seconds(of_any, inputs[AT])
        for batch, input in inputs.items():
            seconds = _compile_seconds(of_one, input)
            own, others = clocked(of_one, of_any, input, "inference", BLOCKS)
            yield {
                "cell": cell,
                "hidden": hidden,
                "length": length,
                "batch": batch,
                "code for one (us)": 1e6 * median(own),
                "quiet": float(np.quantile(others, QUIET) / np.quantile(own, QUIET)),
                "ratio": float(np.median(np.divide(others, own))),
                "compile seconds for one": seconds,
                "for any": any_seconds,
            }


def _in_ways(module: nn.Module, input: torch.Tensor, batches: Any, *, any_batch: bool) -> nn.Module:
    sizes = {"seq_len": len(input), "input_size": INPUT, "dtype": "float32", "device": "cpu", "threads": 1}
    rows = [
        {**sizes, "batch_size": batch, "phase": "inference", "way": "prepacked", "any_batch": any_batch}
        for batch in batches
    ]
    return rnnbench.fastest(module, input, ways=rows)


def _compile_seconds(module: nn.Module, input: torch.Tensor) -> float:
    started = time.perf_counter()
    with torch.inference_mode():
        module(input)
        called = time.perf_counter()
        module(input)
    return (called - started) - (time.perf_counter() - called)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each cell, size and batch, and below them the median and the largest of each column."""
    columns = ["quiet", "ratio", "compile seconds for one", "for any"]
    last = [
        {"cell": name, **table[columns].agg(function).to_dict()}
        for name, function in (("median", "median"), ("largest", "max"))
    ]
    cheap = int((table["ratio"] <= CHEAP).sum())
    last.append({"cell": f"{cheap} of {len(table)} at most {CHEAP}"})
    return pd.concat([table.astype(object), pd.DataFrame(last)], ignore_index=True).fillna("")
