"""Where the time of one call goes: its kernels by what they do, and the time between them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Estimate, estimate, minus
from rnnbench.store.profiles import CATEGORIES, PARTS, CallPart, Category, Profile
from rnnbench.store.stored_record import clean

What = Literal[Category, "overhead", "gaps", "whole"]
MAX_EXCESS = 0.1  # of the call: noise alone does not make its kernels longer than the call by more than this
MAX_DIFFERENCE = 0.5  # of a call's time in the run; a profile that differs by more does not explain it
TOO_LONG = "its kernels take longer together than the whole call, as on a busy machine"
# The time outside kernels: on a CPU all code on the way to one; on a device that launches them, its waiting.
OVERHEADS = ("overhead", "gaps")
SHARE_NAMES: dict[str, str] = {
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
    operators: int  # number of calls; of `gaps`, of launches
    new_bytes: int = 0


def breakdown(profile: Profile) -> list[Share]:
    """Return the shares of a successful profile, in order: none is negative, and they add up to the call.

    On a CPU the time of an operator's kernel is that of the operator in its place in the call, minus that of the
    operator with one value in each of its tensors. A device's kernels are timed by its own clock, not split by part.
    What lies between kernels is the rest. Kernels that come to a little more than their part, by noise, fill it.
    """
    if in_one_piece(profile):
        return [Share("forward", "whole", estimate(profile.times["call"]), 0)]
    shares = []
    for part, seconds in part_times(profile).items():
        kernels = _kernels(profile, part)
        kernel_seconds = sum(kernel.seconds.value for kernel in kernels)
        fit = min(1.0, seconds.value / kernel_seconds) if kernel_seconds else 1.0
        kernels = [replace(kernel, seconds=kernel.seconds.at(kernel.seconds.value * fit)) for kernel in kernels]
        rest = minus(seconds, [kernel.seconds for kernel in kernels])
        time_between = rest.at(max(0.0, rest.value))
        calls = sum(each.calls for each in profile.operators if each.part == part)
        device = profile.kernels
        outside = Share(part, "overhead", time_between, calls)
        if device:
            outside = Share(part, "gaps", time_between, device.launches)
        shares += [*kernels, outside]
    return shares


def in_one_piece(profile: Profile) -> str:
    """Say why a call can't be taken apart; empty if it can."""
    most = MAX_EXCESS * estimate(profile.times["call"]).value
    is_too_long = any(
        sum(kernel.seconds.value for kernel in _kernels(profile, part)) > seconds.value + most
        for part, seconds in part_times(profile).items()
    )
    return profile.opaque or (TOO_LONG if is_too_long else "")


def _kernels(profile: Profile, part: CallPart) -> list[Share]:
    """Return the kernels of a part by what they do; views have none."""
    shares = []
    for what in CATEGORIES:
        operators = [
            each for each in profile.operators if each.category == what and (each.part == part or profile.kernels)
        ]
        calls = sum(operator.calls for operator in operators)
        size = sum(operator.new_bytes for operator in operators)
        if profile.kernels is not None:
            if (device_seconds := profile.kernels.seconds.get(what)) is not None:
                shares.append(Share(part, what, Estimate(device_seconds, device_seconds, device_seconds), calls))
        elif operators and what != "views":
            rounds = np.sum([np.subtract(operator.seconds, operator.idle_seconds) for operator in operators], axis=0)
            shares.append(Share(part, what, estimate(np.maximum(rounds, 0.0)), calls, size))
    return shares


def part_times(profile: Profile) -> dict[CallPart, Estimate]:
    """Return the time of each part, from those of the whole call and of its first parts; they add up to the call.

    With kernels of a device, which are not split by part, all of the call is one part.
    """
    times = profile.times
    parts = dict[CallPart, Estimate]()
    before = np.zeros(len(times["call"]))
    until = 0.0
    call = estimate(times["call"]).value
    ends = ("call",) if profile.kernels is not None else ("forward", "forward_backward", "call")
    for part, arm in zip(PARTS, (arm for arm in ends if arm in times), strict=False):
        rounds = np.asarray(times[arm])
        end = min(max(estimate(rounds).value, until), call)  # noise does not make a part negative
        parts[part] = estimate(rounds - before).at(end - until)
        before = rounds
        until = end
    return parts


def breakdown_frame(profiles: Mapping[str, Profile]) -> pd.DataFrame:
    """Return a row for each share of each successful profile: its `case`, `part`, `what`, time, `share`, and counts."""
    columns = ["case", "part", "what", "seconds", "seconds_low", "seconds_high", "share", "operators", "new_bytes"]
    rows: list[tuple[Any, ...]] = []
    for case, profile in profiles.items():
        for share in breakdown(profile) if profile.works else ():
            seconds = astuple(share.seconds)
            rows.append((case, share.part, share.what, *seconds, math.nan, share.operators, share.new_bytes))
    shares = pd.DataFrame(rows, columns=columns)
    shares["share"] = shares["seconds"] / shares.groupby("case", sort=False)["seconds"].transform("sum")
    return shares


def is_alike(profile: Profile, seconds: float) -> bool:
    """Return True if the calls of a profile took about as long as `seconds` in the run: the machine was not busier."""
    widest = 1 + MAX_DIFFERENCE
    return profile.works and 1 / widest <= seconds / estimate(profile.times["call"]).value <= widest


def rescaled(profile: Profile, seconds: float) -> Profile:
    """Multiply all times of a profile, its only fractions, so that its call takes `seconds`, as in the run.

    Shares come from profiles, times from the run.
    """
    factor = seconds / estimate(profile.times["call"]).value
    return Profile.from_json(clean(asdict(profile), lambda time: float(time) * factor))


def at_the_speed_of(seconds: Mapping[str, float], profiles: Mapping[str, Profile]) -> dict[str, Profile]:
    """Return the profiles with the times of a run, so that no figure beside the run's contradicts them.

    `seconds`: of a call of each case that was timed.
    """
    return {
        case: rescaled(profile, seconds[case]) if profile.works and case in seconds else profile
        for case, profile in profiles.items()
    }
