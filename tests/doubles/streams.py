"""A run with streams, for tests of what a report says about them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import summarize
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.stored import folder

PERIOD = 1e-3
AXES: dict[str, Any] = {"task": "streaming", "seq_len": 1}


def summary(parent: Path, *, period: float | None = PERIOD, steps: int = 4_000) -> pd.DataFrame:
    """Two cells and torch.nn with warm and cold caches; a step in a hundred of `lstm` takes longer than the period."""
    rng = np.random.default_rng(0)

    def times(scale: float, *, some_late: bool = False) -> Sequence[Sequence[float]]:
        made = scale * rng.lognormal(0, 0.1, (4, steps))
        if some_late:
            made[:, ::100] = 1.5e-3
        return [sorted(steps_of_one) for steps_of_one in made.tolist()]

    cases: dict[Case, Sequence[Sequence[float]]] = {}
    for caches, scale in (("warm", 1.0), ("cold", 3.0)):
        axes = AXES | {"reference": "lstm", "caches": caches}
        cases[small.case("lstm", **axes)] = times(1e-4 * scale, some_late=True)
        cases[small.case("lstm", "compiled", **axes)] = times(0.8e-4 * scale)
        cases[small.reference_case(**axes)] = times(1.2e-4 * scale)
    return summarize(read_run_times(folder(parent, cases, resolved={"measure": {"period_seconds": period}})))
