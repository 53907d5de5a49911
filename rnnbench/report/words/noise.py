"""The noise of a run in a sentence or two."""

import math
from collections.abc import Sequence

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.words.changes import change
from rnnbench.report.words.units import half_width
from rnnbench.text import plural

NOISY_FLOOR = 0.02  # above this, a 5% difference takes many replicates to see


def noise_sentence(noise: Noise) -> str:
    """How far cases differ from themselves, and how the machine drifted; plain text."""
    if math.isnan(noise.floor):
        return "Noise floor: unknown (needs two replicates)"
    quality = "quiet enough to see 5% in a few replicates" if noise.floor <= NOISY_FLOOR else "noisy: give it more time"
    moved = change(1 + noise.drift)
    drift = f", and the references' times drifted by {moved} from start to end" if moved else ""
    pooled = f", median of {noise.cases:,} cases; {half_width(noise.worst)} for the worst twentieth"
    basis = f"half-width of the 95% interval{pooled if noise.cases > 1 else ''}"
    return f"Noise floor: a case differs from itself by {half_width(noise.floor)} ({basis}){drift}: {quality}."


def readiness(advice: Sequence[str], noise: Noise | None) -> str:
    """Whether a machine is ready to measure, in a sentence; `noise` is None if it was not measured."""
    is_noisy = noise is not None and noise.floor > NOISY_FLOOR
    if advice:
        opening = "This machine is noisy. C" if is_noisy else "C"
        return f"{opening}hange {plural(len(advice), 'thing')} before measuring here:"
    if is_noisy:
        return "This machine is noisy, and no cause is known: give each run more time."
    if noise is None or math.isnan(noise.floor):
        return "No obstacle is known. How noisy this machine is was not measured."
    return "Ready: no obstacle is known, and this machine is quiet enough to see 5% in a few replicates."


def brief(noise: Noise) -> str:
    """`noise floor ±1.2%`; empty if it is not known."""
    return "" if math.isnan(noise.floor) else f"noise floor {half_width(noise.floor)}"
