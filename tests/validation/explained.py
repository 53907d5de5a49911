"""Planted causes: is each named first, and does its size match the measured slowdown of the planted module?

The sizes are chosen so that a fault takes a tenth of the call or more: noise hides smaller faults and gaps, whose sizes
are not known within 20%. A fault's size comes from a replay, so it lacks the time that Python spends on the way to the
functions that are left out, beyond fetching a parameter from its module.

In training, backward holds the weights' copies of all steps, megabytes in a cache that other programs share: a copy's
size is then 10 to 24% above the real one on a quiet machine, and up to 60% off on a busy one.
"""

import pandas as pd
import torch

from rnnbench import explain
from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.harness.live.measuring import LivePhase
from tests.validation.planted_causes import PLANTED, pair

SIZES = ((1, 64), (2, 80), (4, 64))  # batch, hidden
STEPS, INPUT = 32, 128
PHASES: tuple[LivePhase, ...] = ("inference", "training")
NOTHING = Estimate(float("nan"), float("nan"), float("nan"))


def explained() -> pd.DataFrame:
    """A row for each fault, phase and size: the cause named first, its size, the real size, and their ratio."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [_row(kind, phase, batch, hidden) for kind in PLANTED for phase in PHASES for batch, hidden in SIZES]
    return pd.DataFrame(rows)


def _row(kind: str, phase: LivePhase, batch: int, hidden: int) -> dict[str, object]:
    input = torch.randn(STEPS, batch, INPUT)
    result = explain(pair(kind, INPUT, hidden), input, phase=phase, reference="clean", budget=50, progress=False)
    gap = result.gaps["faulty"]
    causes = [step for step in gap.by_size if step.is_certain and (step.kind in PLANTED or step.what)]
    sized = [
        estimate(cause.seconds) for cause in result.profiles["faulty"].causes if cause.kind == kind and cause.seconds
    ]
    sized += [step.seconds for step in gap.steps if step.kind == kind]  # an operator is no cause of a profile
    size, real = sized[0] if sized else NOTHING, gap.seconds
    return {
        "planted": kind,
        "phase": phase,
        "batch": batch,
        "hidden": hidden,
        "named first": causes[0].kind if causes else "",
        "size (us)": 1e6 * size.value,
        "low": 1e6 * size.lower,
        "high": 1e6 * size.upper,
        "real (us)": 1e6 * real.value,
        "real low": 1e6 * real.lower,
        "real high": 1e6 * real.upper,
        "size / real": size.value / real.value,
        "of the call": real.value / gap.start.value,
    }
