"""How much slower the ways that `rnnbench.fastest` chooses are than the fastest way of an exhaustive measurement.

Each module is searched at some sizes. Then all ways are timed at these sizes in many rounds, none left out. `regret` is
the time of the way that the module takes, relative to the least of all ways.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn

import rnnbench
from rnnbench.cells.vanilla import VanillaCell
from rnnbench.harness.live.loop import Precision
from rnnbench.harness.live.measuring import compared
from rnnbench.speedup.shapes import CallShape
from rnnbench.speedup.ways import AS_GIVEN, possible_ways, way
from rnnbench.suite.file import Settings

INPUT, HIDDEN = 64, (64, 256)
SEARCHED = ((16, 1), (16, 16), (32, 64))  # (seq, batch)
ROUNDS = 24
MODULES: dict[str, Any] = {
    "torch.nn.GRU": nn.GRU,
    "torch.nn.LSTM": nn.LSTM,
    "vanilla": VanillaCell,
}


def regrets() -> pd.DataFrame:
    """A row for each module, hidden size and shape (inference, one thread)."""
    torch.set_num_threads(1)
    return pd.DataFrame(row for name in MODULES for hidden in HIDDEN for row in _rows(name, hidden))


def _rows(name: str, hidden: int) -> Iterator[dict[str, object]]:
    torch.manual_seed(0)
    module = MODULES[name](INPUT, hidden).eval()
    started = time.monotonic()
    first, *others = SEARCHED
    module_in_ways = rnnbench.fastest(module, torch.randn(*first, INPUT), shapes=others, budget="2m", progress=False)
    seconds = time.monotonic() - started
    for shape in SEARCHED:
        input = torch.randn(*shape, INPUT)
        run = module_in_ways._run
        state, kind = run.zeros(input), run.kind
        calls: Any = {each: partial(way(kind, each), module, input, state) for each in possible_ways(run, input, state)}
        with torch.inference_mode():
            for call in calls.values():
                call()
        with compared(calls, (), "inference", AS_GIVEN) as live:
            turns = live.turns
            turns.until(Precision(list(calls), AS_GIVEN, Settings(replicates=ROUNDS, precision=None)))
        least = {each: pd.Series([one.median for one in taken]).median() for each, taken in turns.times.items()}
        chosen = module_in_ways.way_for(CallShape.of(input, "inference"))
        best = min(least, key=lambda each: least[each])
        yield {
            "module": name,
            "hidden": hidden,
            "seq": shape[0],
            "batch": shape[1],
            "runs": chosen,
            "fastest": best,
            "regret": least[chosen] / least[best] - 1,
            "time / as given": least[chosen] / least[AS_GIVEN],
            "search (s)": seconds,
        }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row: how many places there are, and quantiles of the regret."""
    regret = table["regret"]
    rows = [
        {
            "number": len(regret),
            "at most 2%": int((regret <= 0.02).sum()),
            "median": regret.median(),
            "95% quantile": regret.quantile(0.95),
            "largest": regret.max(),
            "time / as given, median": table["time / as given"].median(),
        }
    ]
    return pd.DataFrame(rows)
