"""Runs over a grid of sizes whose times follow a known law."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.store.parity import AGREES
from rnnbench.store.records import Case, Measurement, Workload
from tests.doubles.stored import ceiling as made_up_ceiling
from tests.doubles.stored import folder

Law = Callable[[Workload, float], float]  # (workload, MACs) -> seconds

CEILING = made_up_ceiling("cpu", "float32", 1, 5e10, ((4096, 8e10), (1_048_576, 4e10), (134_217_728, 1e10)), 1e-6, None)
BATCHES, STEPS, HIDDEN = (1, 4, 16, 64), (4, 16, 64), (32, 64, 128, 256)


def loop(workload: Workload, macs: float) -> float:
    """Seconds of a loop of cells, whose steps are expensive."""
    return 1e-5 + 2e-5 * workload.seq_len + macs / 6e10 + 4 * macs / workload.batch_size / 1e11


def layer(workload: Workload, macs: float) -> float:
    """Seconds of a fused layer, with expensive calls, cheap steps and slower products."""
    return 1e-4 + 1e-6 * workload.seq_len + macs / 5e10 + 4 * macs / workload.batch_size / 1e11


def macs(workload: Workload) -> float:
    """MACs of an LSTM with its head; in training neither the input nor the initial state needs a gradient."""
    hidden, inputs, rows = workload.hidden_size, workload.input_size, workload.batch_size * workload.seq_len
    head = rows * hidden * workload.output_size
    forward = rows * 4 * hidden * (hidden + inputs) + head
    if workload.phase == "inference":
        return forward
    return 2 * forward + head + (rows - workload.batch_size) * 4 * hidden**2


def summary(
    laws: dict[tuple[str, str], Law],
    *,
    noise: float = 0.0,
    phase: str = "inference",
    batches: Sequence[int] = BATCHES,
    steps: Sequence[int] = STEPS,
    hidden: Sequence[int] = HIDDEN,
) -> pd.DataFrame:
    """A summary like `summarize` returns, with each (cell, implementation) at all sizes and its times by its law."""
    rng = np.random.default_rng(3)
    rows = []
    for (cell, how), law in laws.items():
        for sizes in itertools.product(batches, steps, hidden):
            batch, length, size = sizes
            work = Workload("lstm", phase, "many_to_many", batch, length, 64, size, 10, 1, "float32", "cpu", 1)  # type: ignore[arg-type]
            case = Case(cell, how, work)  # type: ignore[arg-type]
            seconds = law(work, macs(work)) * float(np.exp(rng.normal(0, noise)))
            known = {"status": "measured", "macs": macs(work), "seconds": seconds, "ceiling": CEILING.to_text()}
            rows.append({"run": "made-up", "case": case.key, **case.axes(), **known})
    frame = pd.DataFrame(rows)
    frame["seconds_low"], frame["seconds_high"] = frame["seconds"] / 1.01, frame["seconds"] * 1.01
    return frame


BOTH: dict[tuple[str, str], Law] = {("torch.nn.LSTM", "torch.nn"): layer, ("lstm", "loop"): loop}


def stored(parent: Path, law: Law = loop) -> Path:
    """A run folder of `lstm loop` at 27 sizes, three values of each axis, with one replicate each."""
    times: dict[Case, list[list[float]]] = {}
    counted = []
    for batch, length, size in itertools.product((1, 4, 16), (4, 16, 64), (32, 64, 128)):
        work = Workload("lstm", "inference", "many_to_many", batch, length, 64, size, 10, 1, "float32", "cpu", 1)
        case = Case("lstm", "loop", work)
        times[case] = [[law(work, macs(work))]]
        counted.append(Measurement(case, "measured", parity=AGREES, metrics={"macs": macs(work)}))
    return folder(parent, times, counted)
