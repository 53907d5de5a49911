"""Which way runs which shape, in words."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import duration, ratio_with_interval

if TYPE_CHECKING:
    from rnnbench.speedup.module import TimedWay

AS_GIVEN = "as given"


def described(given: str, timed: Sequence["TimedWay"], *, is_random_in_training: bool = False) -> str:
    """A line for the module, and one for each shape that was measured.

    `is_random_in_training`: whether the module draws random numbers in training mode.
    """
    lines = [f"Fastest way to run {one_line(given)}"]
    for shape in dict.fromkeys(each.shape for each in timed):
        phase = "training" if shape.trains else "inference"
        own = [each for each in timed if each.shape == shape]
        phase += f" in {shape.dtype}" if "autocast" in shape.dtype else ""
        lines.append(f"  batch {shape.batch_size}, length {shape.seq_len}, {phase}: {_chosen(own)}")
        lines += [
            f"    {each.way}{'' if each.is_chosen else ' is not used'}: {one_line(each.reason)}"
            for each in own
            if each.reason
        ]
    lines.append("  other sizes: as the nearest of these; anything else as given")
    if is_random_in_training:
        lines.append("  in training mode as given, since it draws random numbers there")
    return "\n".join(lines)


def _chosen(timed: Sequence["TimedWay"]) -> str:
    chosen = next(each for each in timed if each.is_chosen)
    if math.isnan(chosen.seconds):
        return chosen.way
    text = f"{chosen.way}, {duration(chosen.seconds)}"
    if chosen.way != AS_GIVEN:
        ratio = ratio_with_interval(chosen.ratio, chosen.ratio_low, chosen.ratio_high)
        text += f", {ratio} the time as given"
    return text if chosen.is_sure else f"{text}; another way may be faster: give it more time"
