"""Planted causes: is each named first, and is its size that by which the planted module is slower?"""

import pandas as pd
import torch

from rnnbench import explain
from rnnbench.analysis.estimate import estimate
from rnnbench.store.records import Phase
from tests.validation.planted_causes import FAULTS, pair

SIZES = ((1, 64), (8, 128), (32, 64))  # batch, hidden
STEPS, INPUT = 32, 64
PHASES: tuple[Phase, ...] = ("inference", "training")


def explained() -> pd.DataFrame:
    """A row for each fault, phase and size: what is named first, its size, the real one, and how far it is off."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [_row(kind, phase, batch, hidden) for kind in FAULTS for phase in PHASES for batch, hidden in SIZES]
    return pd.DataFrame(rows)


def _row(kind: str, phase: Phase, batch: int, hidden: int) -> dict[str, object]:
    input = torch.randn(STEPS, batch, INPUT)
    found = explain(pair(kind, INPUT, hidden), input, phase, reference="clean", budget_seconds=20)
    gap = found.gaps["faulty"]
    causes = [step for step in gap.named if step.kind in FAULTS or step.what]
    sized = next((one for one in found.profiles["faulty"].causes if one.kind == kind and one.seconds), None)
    size, real = estimate(sized.seconds).value if sized else float("nan"), gap.seconds.value
    return {
        "planted": kind,
        "phase": phase,
        "batch": batch,
        "hidden": hidden,
        "named first": causes[0].kind if causes else "",
        "size (us)": 1e6 * size,
        "real (us)": 1e6 * real,
        "real low (us)": 1e6 * gap.seconds.low,
        "real high (us)": 1e6 * gap.seconds.high,
        "size / real": size / real,
        "of the call": real / gap.start.value,
    }
