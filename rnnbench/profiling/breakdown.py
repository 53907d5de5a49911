"""Where the time of one call goes: kernels by what they do, and the time between them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import UNKNOWN, Estimate, estimate, minus
from rnnbench.store.profiles import CATEGORIES, CallPart, Category, Profile

What = Literal[Category, "overhead", "gaps", "whole"]
MAX_EXCESS = 0.1  # of the call: noise alone does not make its kernels longer than the call by more than this
MAX_DIFFERENCE = 0.5  # of a call's time in the run; a profile that differs by more does not explain it
TOO_LONG = "its kernels, clocked one by one, come to more than the whole of it, as on a busy machine"
# The time outside kernels: on a CPU all code on the way to one; on a device that launches them, its waiting.
OVERHEADS = ("overhead", "gaps")
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
    """Return the shares of a successful profile, in order: none is negative, and they add up to the call.

    On a CPU the time of an operator's kernel is that of the operator in its place in the call, minus that of the
    operator with one value in each of its tensors. A device's kernels are timed by its own clock, not split by part.
    What lies between kernels is the rest. Kernels that come to a little more than their part, by noise, fill it.
    """
    whole = estimate(list(profile.times["call"]))
    if in_one_piece(profile):
        return [Share("forward", "whole", whole, 1.0, 0, 0)]
    shares = []
    for part, (seconds, kernels, rest) in _parts(profile).items():
        taken = sum(kernel.seconds.value for kernel in kernels)
        fit = min(1.0, seconds.value / taken) if taken else 1.0
        fitting = [replace(kernel, seconds=kernel.seconds.at(kernel.seconds.value * fit)) for kernel in kernels]
        between = minus(seconds, [kernel.seconds for kernel in fitting])
        shares += [*fitting, replace(rest, part=part, seconds=between.at(max(0.0, between.value)))]
    return [replace(share, share=share.seconds.value / whole.value) for share in shares]


def in_one_piece(profile: Profile) -> str:
    """Say why a call can't be taken apart; empty if it can."""
    if profile.opaque or profile.no_kernels:
        return profile.opaque or profile.no_kernels
    most = MAX_EXCESS * estimate(list(profile.times["call"])).value
    parts = _parts(profile).values()
    is_busy = any(sum(kernel.seconds.value for kernel in kernels) > whole.value + most for whole, kernels, _ in parts)
    return TOO_LONG if is_busy else ""


def _parts(profile: Profile) -> dict[CallPart, tuple[Estimate, list[Share], Share]]:
    """Each part's time, its kernels by what they do, and, still without its time, what lies between them."""
    if profile.kernels is not None:
        counts = Counter[Category]()
        for operator in profile.operators:
            counts[operator.category] += operator.calls
        known = profile.kernels.seconds
        kernels = [
            Share("forward", what, Estimate(known[what], known[what], known[what]), 0.0, counts[what], 0)
            for what in CATEGORIES
            if what in known
        ]
        gaps = Share("forward", "gaps", UNKNOWN, 0.0, profile.kernels.launches, 0)
        return {"forward": (estimate(list(profile.times["call"])), kernels, gaps)}
    parts = {}
    for part, seconds in part_times(profile.times).items():
        of_part = [operator for operator in profile.operators if operator.part == part]
        kernels = []
        for what in CATEGORIES:
            own = [operator for operator in of_part if operator.category == what]
            if own and what != "views":
                rounds = np.sum([np.subtract(operator.seconds, operator.idle_seconds) for operator in own], axis=0)
                taken = estimate(np.maximum(rounds, 0.0).tolist())
                calls, size = sum(operator.calls for operator in own), sum(operator.new_bytes for operator in own)
                kernels.append(Share(part, what, taken, 0.0, calls, size))
        calls = sum(operator.calls for operator in of_part)
        parts[part] = (seconds, kernels, Share(part, "overhead", UNKNOWN, 0.0, calls, 0))
    return parts


def part_times(times: Mapping[str, Sequence[float]]) -> dict[CallPart, Estimate]:
    """Return the time of each part, from those of the whole call and of its first parts; they add up to the call."""
    parts: dict[CallPart, Estimate] = {}
    before, until = np.zeros(len(times["call"])), 0.0
    ends: dict[CallPart, str] = {"forward": "forward", "backward": "forward_backward", "optimizer": "call"}
    if "forward_backward" not in times:
        ends = {"forward": "forward", "backward": "call"} if "forward" in times else {"forward": "call"}
    call = estimate(list(times["call"])).value
    for part, arm in ends.items():
        rounds = np.asarray(times[arm])
        end = min(max(estimate(list(times[arm])).value, until), call)  # noise does not make a part negative
        parts[part] = estimate((rounds - before).tolist()).at(end - until)
        before, until = rounds, end
    return parts


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


def is_alike(profile: Profile | None, seconds: float) -> bool:
    """Return True if the calls of a profile took about as long as `seconds` in the run: the machine was not busier."""
    if profile is None or not profile.works:
        return False
    return 1 / (1 + MAX_DIFFERENCE) <= seconds / estimate(profile.times["call"]).value <= 1 + MAX_DIFFERENCE


def rescaled(profile: Profile, seconds: float) -> Profile:
    """Multiply all times of a profile by one factor, so that its call takes `seconds`, as in the run.

    Shares come from profiles, times from the run.
    """
    factor = seconds / estimate(profile.times["call"]).value

    def times(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value * factor for value in values)

    def rows(table: Mapping[Any, tuple[float, ...]]) -> dict[Any, tuple[float, ...]]:
        return {name: times(values) for name, values in table.items()}

    products, kernels = profile.products, profile.kernels
    return replace(
        profile,
        times=rows(profile.times),
        operators=tuple(
            replace(each, seconds=times(each.seconds), idle_seconds=times(each.idle_seconds))
            for each in profile.operators
        ),
        causes=tuple(replace(each, seconds=times(each.seconds)) for each in profile.causes),
        kernels=kernels and replace(kernels, seconds={what: value * factor for what, value in kernels.seconds.items()}),
        products=products
        and replace(products, seconds=rows(products.seconds), idle_seconds=rows(products.idle_seconds)),
    )
