"""The noise of a run in a sentence or two."""

import math

from rnnbench.analysis.noise import Noise

NOISY_FLOOR = 0.02  # above this, a 5% difference takes many replicates to see


def noise_sentence(noise: Noise) -> str:
    """How far cases differ from themselves, and how the machine drifted; plain text."""
    if math.isnan(noise.floor):
        return "Noise floor: not known, which takes two replicates or more."
    quality = "quiet enough to see 5% in a few replicates" if noise.floor <= NOISY_FLOOR else "noisy: give it more time"
    drift = (
        ""
        if math.isnan(noise.drift)
        else f", and the references' times drifted by {noise.drift:+.1%} from start to end"
    )
    return (
        f"Noise floor: a case differs from itself by ±{noise.floor:.1%} (half-width of the 95% interval, median of "
        f"{noise.cases} cases; ±{noise.worst:.1%} for the worst twentieth){drift}: {quality}."
    )


def brief(noise: Noise) -> str:
    """`noise floor ±1.2%`; empty if it is not known."""
    return "" if math.isnan(noise.floor) else f"noise floor ±{noise.floor:.1%}"
