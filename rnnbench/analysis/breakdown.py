"""Where the time of one call goes: kernels by what they do, and what lies between them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.store.profiles import CATEGORIES, CallPart, Category, Profile

What = Literal[Category, "overhead", "gaps", "whole"]
MAX_EXCESS = 0.1  # of the call: by more than that its kernels can't come out longer than it is by noise alone
TOO_LONG = "its kernels, clocked one by one, come to more than the whole of it, as on a busy machine"
# What is no kernel's: on a CPU all that is called on the way to one; on a device that launches them, its waiting.
NAMES: dict[str, str] = {
    **{str(name): about for name, about in CATEGORIES.items()},
    "overhead": "dispatch and Python",
    "gaps": "launches and gaps",
    "whole": "in one piece",
}


@dataclass(frozen=True)
class Share:
    """Part of a call's time."""

    part: CallPart
    what: What
    seconds: Estimate
    share: float  # of the whole call
    operators: int  # calls of them
    new_bytes: int


def breakdown(profile: Profile) -> list[Share]:
    """The parts of a profile that worked, in their order; their seconds add up to the call's.

    On a CPU an operator's kernel is what it takes where it stands, less what it takes with one value in each of its
    tensors. A device's kernels are taken from its own clock and not split by part.
    """
    if in_one_piece(profile):
        return [Share("forward", "whole", estimate(list(profile.times["call"])), 1.0, 0, 0)]
    return _parts(profile)


def in_one_piece(profile: Profile) -> str:
    """Why a call can't be taken apart, in words; empty where it can."""
    if profile.opaque or profile.no_kernels:
        return profile.opaque or profile.no_kernels
    left = min(one.share for one in _parts(profile) if one.what in ("overhead", "gaps"))
    return TOO_LONG if left < -MAX_EXCESS else ""


def _parts(profile: Profile) -> list[Share]:
    call = np.asarray(profile.times["call"])
    if profile.kernels is not None:
        return _of_device(profile, call)
    shares: list[Share] = []
    for part, total in part_times(profile.times).items():
        rest = total
        calls = sum(one.calls for one in profile.operators if one.part == part)
        for what in CATEGORIES:
            own = [one for one in profile.operators if one.part == part and one.category == what]
            if not own or what == "views":
                continue
            each = [np.asarray(one.seconds) - np.asarray(one.idle_seconds) for one in own]
            seconds = np.maximum(np.sum(each, axis=0), 0.0)
            rest = rest - seconds
            count, size = sum(one.calls for one in own), sum(one.new_bytes for one in own)
            shares.append(_share(part, what, seconds, call, count, size))
        shares.append(_share(part, "overhead", rest, call, calls, 0))
    return shares


def part_times(times: Mapping[str, Sequence[float]]) -> dict[CallPart, np.ndarray]:
    """Seconds of each part in each round, from the times of the call and of what it begins with."""
    call = np.asarray(times["call"])
    if "forward" not in times:
        return {"forward": call}
    forward = np.asarray(times["forward"])
    both = np.asarray(times.get("forward_backward", call))
    found: dict[CallPart, np.ndarray] = {"forward": forward, "backward": both - forward}
    return found | {"optimizer": call - both} if "forward_backward" in times else found


def total(shares: Sequence[Share], *what: What) -> float:
    """Share of the call, all parts together."""
    return sum(one.share for one in shares if one.what in what)


def overhead(shares: Sequence[Share]) -> float:
    """The share that is no kernel's."""
    return total(shares, "overhead", "gaps")


def frame(profiles: Mapping[str, Profile]) -> pd.DataFrame:
    """All shares of all profiles that worked: `case`, `part`, `what`, `seconds` with its interval, `share`, counts."""
    columns = ["case", "part", "what", "seconds", "seconds_low", "seconds_high", "share", "operators", "new_bytes"]
    rows = [
        (case, one.part, one.what, *astuple(one.seconds), one.share, one.operators, one.new_bytes)
        for case, profile in profiles.items()
        if profile.works
        for one in breakdown(profile)
    ]
    return pd.DataFrame(rows, columns=columns)


def operators_per_step(profile: Profile) -> float:
    """Operators called in a step of the sequence, views included; NaN where none can be seen."""
    calls = sum(one.calls for one in profile.operators)
    return calls / profile.steps if calls else math.nan


def profiler_cost(profile: Profile) -> float:
    """How many times as long a call takes under torch's profiler."""
    ratios = np.asarray(profile.times["profiled"]) / np.asarray(profile.times["unprofiled"])
    return float(np.median(ratios))


def _of_device(profile: Profile, call: np.ndarray) -> list[Share]:
    assert profile.kernels is not None
    counts = {what: sum(one.calls for one in profile.operators if one.category == what) for what in CATEGORIES}
    shares, rest = [], call
    for what in CATEGORIES:
        if what in profile.kernels.seconds:
            seconds = np.full_like(call, profile.kernels.seconds[what])
            rest = rest - seconds
            shares.append(_share("forward", what, seconds, call, counts[what], 0))
    return [*shares, _share("forward", "gaps", rest, call, profile.kernels.launches, 0)]


def _share(part: CallPart, what: What, seconds: np.ndarray, call: np.ndarray, calls: int, size: int) -> Share:
    return Share(part, what, estimate(seconds.tolist()), float(np.median(seconds / call)), calls, size)
