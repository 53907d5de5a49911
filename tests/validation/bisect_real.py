"""`rnnbench bisect` on generated histories of 64 commits, with this machine's clock.

A history has zero, one or two slow commits, and four that do not run. A slow commit makes a step of a GRU longer by an
operator (which counts see) or by a loop in Python (which they do not). Commands are run as a user runs them.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.doubles import repository

COMMITS, BROKEN = 64, 4
BUDGET = "10m"
KINDS = ["none", "none", *(["operator"] * 3), *(["python"] * 3), "operator operator", "operator python"]
LINES = {"operator": "        n = n + 0", "python": "        for _ in range({turns}): pass"}
TURNS = (60, 160)
CELL = """
import torch
from torch import nn
NUMBER = {number}
{top}
class MyGRU(nn.GRUCell):
    def forward(self, x, h):
        gi = nn.functional.linear(x, self.weight_ih, self.bias_ih)
        gh = nn.functional.linear(h, self.weight_hh, self.bias_hh)
        ir, iz, inn = gi.chunk(3, -1)
        hr, hz, hn = gh.chunk(3, -1)
        r = torch.sigmoid(ir + hr)
        z = torch.sigmoid(iz + hz)
        n = torch.tanh(inn + r * hn)
{body}
        return n + z * (h - n)
"""
SUITE = """
name = "mine"
[check]
margin = 0.01
budget_seconds = 60
[[sweep]]
cell = ["my.py:MyGRU"]
implementation = ["loop"]
phase = ["inference", "training"]
batch_size = [1]
seq_len = [16]
input_size = [32]
hidden_size = [32]
reference = "gru"
"""


def histories() -> pd.DataFrame:
    """A row for each history: the slow commits, those that were named, and the seconds."""
    rng = np.random.default_rng(1)
    rows = []
    for number, kind in enumerate(KINDS):
        with tempfile.TemporaryDirectory() as folder:
            row = {"history": number, "slow commits": kind, **_searched(Path(folder), kind, rng)}
        print(row, flush=True)
        rows.append(row)
    return pd.DataFrame(rows)


def _searched(folder: Path, kind: str, rng: np.random.Generator) -> dict[str, Any]:
    slow = [] if kind == "none" else kind.split()
    places = [int(place) for place in sorted(rng.choice(np.arange(1, COMMITS), len(slow) + BROKEN, replace=False))]
    chosen = sorted(int(place) for place in rng.choice(places, len(slow), replace=False))
    broken, lines, shas = set(places) - set(chosen), list[str](), list[str]()
    for place in range(COMMITS + 1):
        if place in chosen:
            lines.append(LINES[slow[chosen.index(place)]].format(turns=int(rng.integers(*TURNS))))
        top = "import nothing_of_this_name" if place in broken else ""
        cell = CELL.format(number=place, top=top, body="\n".join(lines))
        shas.append(repository.commit(folder, {"my.py": cell, "bench.toml": SUITE}, f"change {place}"))
    command = ("bisect", "bench.toml", "--good", shas[0], "--budget", BUDGET, "--json")
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "rnnbench", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = round(time.monotonic() - started, 1)
    truth = {shas[place] for place in chosen}
    if done.returncode == 2:
        message = re.sub(r"[0-9a-f]{7}", "…", done.stderr.strip().splitlines()[-1])
        return {"answer": f"error: {message[:120]}", "right": not truth, "wrong": 0, "seconds": seconds}
    causes = json.loads(done.stdout)["causes"]
    confirmed = {cause["commit"]["sha"] for cause in causes if cause["is_confirmed"]}
    others = {cause["commit"]["sha"] for cause in causes} - confirmed
    words = f"{len(confirmed & truth)} of {len(truth)} confirmed"
    if others:
        words += f", {len(others & truth)} right and {len(others - truth)} wrong by counts alone"
    return {"answer": words, "right": confirmed == truth, "wrong": len(confirmed - truth), "seconds": seconds}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each kind of history."""
    return pd.DataFrame(
        {
            "slow commits": kind,
            "histories": len(part),
            "right": int(part["right"].sum()),
            "with a wrong commit": int((part["wrong"] > 0).sum()),
            "median seconds": part["seconds"].median(),
        }
        for kind, part in rows.groupby("slow commits", sort=False)
    )
