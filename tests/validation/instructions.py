"""Whether instructions see what time can't: suites of 12 cases with and without a change of about half a percent.

`planted`: in the head, every case makes one more addition in one of its sixteen steps. `unchanged`: the head's file has
other code beside the cells (unused functions, other names, longer docstrings), which moves everything in memory and
leaves the work as it is. Nothing is timed.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench import suites
from rnnbench.analysis.instructions import InstructionChange
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.instructions.counting import CountingQueue, choose_counter, count_instructions
from rnnbench.harness.protocol import Building
from rnnbench.store.instructions import InstructionCounts

PLANTED_STEPS = (3, 12)  # a suite for each
UNCHANGED_SUITES = 20
CELLS = """{before}
import torch
from torch import nn

class Whole(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = self.kind(input_size, hidden_size)
    def forward(self, {input}, state=None):
        outputs = []
        for step, x in enumerate({input}.unbind(0)):
            state = self.cell(x, state)
            hidden = state[0] if isinstance(state, tuple) else state
            outputs.append({more}hidden)
        return torch.stack(outputs), state

class OwnRNN(Whole):
    kind = nn.RNNCell

class OwnGRU(Whole):
    kind = nn.GRUCell

class OwnLSTM(Whole):
    kind = nn.LSTMCell
"""
SUITE = """
name = "instructions"
[[sweep]]
cell = ["own.py:OwnRNN", "own.py:OwnGRU", "own.py:OwnLSTM"]
implementation = ["sequence"]
phase = ["inference", "training"]
batch_size = [1, 2]
seq_len = [16]
input_size = [32]
hidden_size = [64]
"""
PLAIN = {"before": "", "input": "input", "more": ""}


def moved(rng: np.random.Generator) -> dict[str, str]:
    """The same work, in a file that lies differently in memory."""
    unused = "\n".join(
        f"def unused{number}(a, b):\n    '{'x' * int(rng.integers(200))}'\n    return a * {number}"
        for number in range(int(rng.integers(1, 40)))
    )
    return PLAIN | {"before": unused, "input": f"input{'_' * int(rng.integers(1, 30))}"}


def counted() -> pd.DataFrame:
    """A row for each suite and case: the ratio of instructions and whether a change is reported."""
    rng = np.random.default_rng(1)
    heads = [("planted", PLAIN | {"more": f"hidden + 0 if step == {step} else "}) for step in PLANTED_STEPS]
    heads += [("unchanged", moved(rng)) for _ in range(UNCHANGED_SUITES)]
    rows = []
    for number, (kind, head) in enumerate(heads):
        started = time.monotonic()
        changes = compare(head)
        seconds = time.monotonic() - started
        rows += [
            {
                "suite": number,
                "kind": kind,
                "case": key,
                "ratio": change.ratio,
                "spread": change.spread,
                "reported": change.is_beyond,
                "seconds": round(seconds, 1),
            }
            for key, change in changes.items()
        ]
        reported = sum(change.is_beyond for change in changes.values())
        print(f"{kind}, suite {number}: {reported} of {len(changes)} reported, {seconds:.0f} s", flush=True)
    return pd.DataFrame(rows)


def compare(head: dict[str, str]) -> dict[str, InstructionChange]:
    """The change of each case from the plain cells to these."""
    with tempfile.TemporaryDirectory() as scratch:
        for side, words in (("base", PLAIN), ("head", head)):
            folder = Path(scratch) / side
            folder.mkdir()
            (folder / "own.py").write_text(CELLS.format(**words))
            (folder / "own.toml").write_text(SUITE)
        groups = suites.read(str(Path(scratch) / "head" / "own.toml")).groups({}, None, most=None)
        cases = [case for group in groups for case in group.cases]
        queues = {
            side: CountingQueue(cases, partial(_start, Path(scratch) / side), Building(str(Path(scratch) / side), 32))
            for side in ("base", "head")
        }
        counts = count_instructions(queues, choose_counter(), suites.read("ci").settings)
    changes = {}
    for case in cases:
        base, head_counts = (counts[side][case.key] for side in ("base", "head"))
        if not isinstance(base, InstructionCounts) or not isinstance(head_counts, InstructionCounts):
            raise UserError(f"{case.key}: {base}; {head_counts}")
        changes[case.key] = InstructionChange(base, head_counts)
    return changes


def _start(folder: Path, name: str, **options: object) -> WorkerProcess:
    return WorkerProcess(name, layout=0, **options)  # type: ignore[arg-type]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each kind of suite."""
    found = []
    for kind, cases in rows.groupby("kind", sort=False):
        change = (cases["ratio"] - 1).abs()
        found.append(
            {
                "suites": kind,
                "number": cases["suite"].nunique(),
                "cases": len(cases),
                "reported": int(cases["reported"].sum()),
                "median change": f"{change.median():.3%}",
                "smallest change": f"{change.min():.3%}",
                "largest change": f"{change.max():.3%}",
                "largest spread": f"{cases['spread'].max():.3%}",
                "median seconds": cases.groupby("suite")["seconds"].first().median(),
            }
        )
    return pd.DataFrame(found)
