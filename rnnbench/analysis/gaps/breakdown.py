"""Where the time of one call goes: kernels by what they do, and the time between them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.store.profiles import CATEGORIES, CallPart, Category, Profile

What = Literal[Category, "overhead", "gaps", "whole"]
MAX_EXCESS = 0.1  # of the call: noise alone does not make its kernels longer than the call by more than this
TOO_LONG = "its kernels, clocked one by one, come to more than the whole of it, as on a busy machine"
# The time outside kernels: on a CPU all code on the way to one; on a device that launches them, its waiting.
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
    operators: int  # number of calls
    new_bytes: int


def breakdown(profile: Profile) -> list[Share]:
    """The shares of a successful profile, in order; their seconds add up to those of the call.

    On a CPU the time of an operator's kernel is that of the operator in its place in the call, minus that of the
    operator with one value in each of its tensors. A device's kernels are timed by its own clock, not split by part.
    """
    if in_one_piece(profile):
        return [Share("forward", "whole", estimate(list(profile.times["call"])), 1.0, 0, 0)]
    return _parts(profile)


def in_one_piece(profile: Profile) -> str:
    """Why a call can't be taken apart, in words; empty if it can."""
    if profile.opaque or profile.no_kernels:
        return profile.opaque or profile.no_kernels
    left = min(share.share for share in _parts(profile) if share.what in ("overhead", "gaps"))
    return TOO_LONG if left < -MAX_EXCESS else ""


def _parts(profile: Profile) -> list[Share]:
    call = np.asarray(profile.times["call"])
    if profile.kernels is not None:
        return _of_device(profile, call)
    shares: list[Share] = []
    for part, part_seconds in part_times(profile.times).items():
        rest = part_seconds
        calls = sum(operator.calls for operator in profile.operators if operator.part == part)
        for what in CATEGORIES:
            own = [operator for operator in profile.operators if operator.part == part and operator.category == what]
            if not own or what == "views":
                continue
            kernels = [np.asarray(operator.seconds) - np.asarray(operator.idle_seconds) for operator in own]
            seconds = np.maximum(np.sum(kernels, axis=0), 0.0)
            rest = rest - seconds
            count, size = sum(operator.calls for operator in own), sum(operator.new_bytes for operator in own)
            shares.append(_share(part, what, seconds, call, count, size))
        shares.append(_share(part, "overhead", rest, call, calls, 0))
    return shares


def part_times(times: Mapping[str, Sequence[float]]) -> dict[CallPart, np.ndarray]:
    """Seconds of each part in each round, from the times of the whole call and of its first parts."""
    call = np.asarray(times["call"])
    if "forward" not in times:
        return {"forward": call}
    forward = np.asarray(times["forward"])
    forward_backward = np.asarray(times.get("forward_backward", call))
    parts: dict[CallPart, np.ndarray] = {"forward": forward, "backward": forward_backward - forward}
    return parts | {"optimizer": call - forward_backward} if "forward_backward" in times else parts


def total(shares: Sequence[Share], *what: What) -> float:
    """The share of the call that is spent on any of `what`, in all parts together."""
    return sum(share.share for share in shares if share.what in what)


def overhead(shares: Sequence[Share]) -> float:
    """The share of the call that is spent outside kernels."""
    return total(shares, "overhead", "gaps")


def frame(profiles: Mapping[str, Profile]) -> pd.DataFrame:
    """All shares of all successful profiles: `case`, `part`, `what`, `seconds` with its interval, `share`, counts."""
    columns = ["case", "part", "what", "seconds", "seconds_low", "seconds_high", "share", "operators", "new_bytes"]
    rows = [
        (case, share.part, share.what, *astuple(share.seconds), share.share, share.operators, share.new_bytes)
        for case, profile in profiles.items()
        if profile.works
        for share in breakdown(profile)
    ]
    return pd.DataFrame(rows, columns=columns)


def operators_per_step(profile: Profile) -> float:
    """Operators called in a step of the sequence, views included; NaN if none can be seen."""
    calls = sum(operator.calls for operator in profile.operators)
    return calls / profile.steps if calls else math.nan


def profiler_cost(profile: Profile) -> float:
    """How many times as long a call takes under torch's profiler."""
    ratios = np.asarray(profile.times["profiled"]) / np.asarray(profile.times["unprofiled"])
    return float(np.median(ratios))


def _of_device(profile: Profile, call: np.ndarray) -> list[Share]:
    assert profile.kernels is not None
    counts = {
        what: sum(operator.calls for operator in profile.operators if operator.category == what) for what in CATEGORIES
    }
    shares, rest = [], call
    for what in CATEGORIES:
        if what in profile.kernels.seconds:
            seconds = np.full_like(call, profile.kernels.seconds[what])
            rest = rest - seconds
            shares.append(_share("forward", what, seconds, call, counts[what], 0))
    return [*shares, _share("forward", "gaps", rest, call, profile.kernels.launches, 0)]


def _share(part: CallPart, what: What, seconds: np.ndarray, call: np.ndarray, calls: int, size: int) -> Share:
    return Share(part, what, estimate(seconds.tolist()), float(np.median(seconds / call)), calls, size)
