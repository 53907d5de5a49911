"""The distance between a cell and its reference, taken apart: what each rung of the ladder and each cause explains."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.breakdown import breakdown, in_one_piece
from rnnbench.analysis.estimate import Estimate, as_ratio, estimate
from rnnbench.analysis.summary import complete_visits, replicate_times
from rnnbench.store.profiles import Cause, CauseKind, Profile
from rnnbench.store.records import GRAPH_BACKENDS, WORKLOAD_AXES, Implementation

TimesByReplicate = Mapping[Any, float]  # replicate -> seconds per call

# From what one writes first to what runs fastest; what each of them changes against the one before it.
LADDER: tuple[Implementation, ...] = ("loop", "sequence", "hoisted", "transposed", "compiled", "cudagraph")
OVERHEADS = ("overhead", "gaps")  # what in a breakdown is no kernel's
MAX_DIFFERENCE = 0.25  # of a call's time in the run, for its profile to say what that time is made of
MIN_SHARE = 0.01  # of the call, below which a cause is not worth a word
HOISTING: tuple[CauseKind, ...] = ("not hoisted",)  # what the rung `hoisted` does
UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Step:
    """What one change takes off the time; below 0 it adds to it."""

    kind: str  # a rung of the ladder, a kind of cause, `overhead`, `kernels`, or `rest`
    what: str  # where a cause is in the code; empty for rungs
    seconds: Estimate
    share: Estimate = UNKNOWN  # of the gap; NaN where there is no gap beyond doubt
    calls: int = 0  # that a cause makes in one call of the case

    @property
    def is_certain(self) -> bool:
        """Whether it differs from nothing by more than chance."""
        return self.seconds.lower > 0 or self.seconds.upper < 0


@dataclass(frozen=True)
class Gap:
    """The distance, from the first rung that was measured to the reference."""

    name: str  # the implementation, or the module, that it is the distance of
    start: Estimate  # its time
    end: Estimate  # the reference's time
    seconds: Estimate  # their difference
    ratio: Estimate
    steps: tuple[Step, ...]
    rest: Step  # what nothing explains
    last: str = ""  # the last rung, which `rest` lies between and the reference
    axes: dict[str, Any] = field(default_factory=dict)  # cell and workload; empty for modules of a user's process
    case: str = ""  # key of the first rung's case
    reference: str = ""  # key of the reference's

    @property
    def named(self) -> list[Step]:
        """What explains it beyond chance, the largest first."""
        certain = [step for step in self.steps if step.is_certain]
        return sorted(certain, key=lambda step: -abs(step.seconds.value))


def take_apart(
    rungs: Mapping[str, TimesByReplicate],
    reference: TimesByReplicate,
    causes: Sequence[Cause] = (),
    below: Sequence[Step] = (),
) -> Gap:
    """The gap of the first of `rungs`, which are in the ladder's order; `causes` are those of its profile.

    A rung takes off what it differs by from the one before it, within each replicate; `below` is what lies between the
    last and the reference, as `between` has it. A cause that all rungs of plain operators share is taken off the first
    rung that is none, which does away with it too, or off what lies below them.
    Raises ValueError where two have no replicate in common.
    """
    names = list(rungs)
    start, last = rungs[names[0]], rungs[names[-1]]
    gap = _differences(start, reference)
    steps = [_rung(rungs[before], rungs[after], after, gap) for before, after in pairwise(names)]
    named = [_cause(cause, gap) for cause in worth_saying(causes, estimate(list(start.values())).value, rungs)]
    rest = _rung(last, reference, "rest", gap)
    steps += [replace(step, share=_of(step.seconds, gap)) for step in below]
    rest = _less(rest, steps[len(steps) - len(below) :])
    shared = next((place for place, step in enumerate(steps) if step.kind in (*GRAPH_BACKENDS, "overhead")), None)
    if shared is None:
        rest = _less(rest, named)
    else:
        steps[shared] = _less(steps[shared], named)
    both = sorted(start.keys() & reference.keys())
    ratio = estimate([math.log(start[one] / reference[one]) for one in both])
    return Gap(
        names[0],
        estimate(list(start.values())),
        estimate(list(reference.values())),
        estimate(list(gap.values())),
        as_ratio(ratio),
        (*named, *steps),
        rest,
        names[-1],
    )


def between(last: Profile, reference: Profile) -> tuple[Step, ...]:
    """What the breakdowns of two profiles differ by: what is no kernel's, and kernels; none where one can't be seen."""
    if not (last.works and reference.works) or in_one_piece(last) or in_one_piece(reference):
        return ()
    steps = []
    for kind, wanted in (("overhead", True), ("kernels", False)):
        own, other = (
            [share.seconds for share in breakdown(one) if (share.what in OVERHEADS) == wanted]
            for one in (last, reference)
        )
        negative = [Estimate(-one.value, -one.upper, -one.lower) for one in own]
        nothing = Estimate(0.0, 0.0, 0.0)
        steps.append(Step(kind, "", _minus(nothing, [*negative, *other])))
    return tuple(steps)


def is_alike(profile: Profile, measured: TimesByReplicate) -> bool:
    """Whether a profile was taken of calls as long as those that were measured, and not in a busier moment."""
    if not profile.works:
        return False
    ratio = float(np.median(profile.times["call"])) / float(np.median(list(measured.values())))
    return 1 / (1 + MAX_DIFFERENCE) <= ratio <= 1 + MAX_DIFFERENCE


def worth_saying(causes: Sequence[Cause], call_seconds: float, rungs: Iterable[str] = ()) -> list[Cause]:
    """Those that cost something beyond chance, and that no rung does away with; the largest first."""
    found = []
    for cause in causes:
        if not cause.seconds or (cause.kind in HOISTING and "hoisted" in rungs):
            continue
        size = estimate(cause.seconds)
        if size.value >= MIN_SHARE * call_seconds and not size.lower <= 0:
            found.append(cause)
    return sorted(found, key=lambda cause: -estimate(cause.seconds).value)


def gaps(frame: pd.DataFrame, profiles: Mapping[str, Profile]) -> list[Gap]:
    """One for each cell and workload of a run that has both ends; `frame` as `rnnbench.load` gives it."""
    times = replicate_times(complete_visits(frame))
    if times.empty:
        return []
    times["seconds"] = np.exp(times["log_seconds"])
    times = times.merge(frame[["case", "cell", *WORKLOAD_AXES]].drop_duplicates("case"), on="case")
    found = []
    for key, group in times.groupby([*WORKLOAD_AXES], sort=False):
        references = group[group["implementation"] == "torch.nn"]
        if references.empty:
            continue
        reference = _by_replicate(references)
        for cell, own in group.groupby("cell", sort=False):
            ways = {str(how): rows for how, rows in own.groupby("implementation") if how in LADDER}
            rungs: dict[str, TimesByReplicate] = {how: _by_replicate(ways[how]) for how in LADDER if how in ways}
            if not rungs or not all(rung.keys() & reference.keys() for rung in rungs.values()):
                continue
            first, last = next(iter(rungs)), list(rungs)[-1]
            case, lowest = (str(ways[how]["case"].iloc[0]) for how in (first, last))
            end = str(references["case"].iloc[0])
            causes = profiles[case].causes if case in profiles else ()
            ends = ((lowest, rungs[last]), (end, reference))
            alike = all(key in profiles and is_alike(profiles[key], measured) for key, measured in ends)
            below = between(profiles[lowest], profiles[end]) if alike else ()
            gap = take_apart(rungs, reference, causes, below)
            axes = {"cell": str(cell), **dict(zip(WORKLOAD_AXES, key, strict=True))}
            found.append(replace(gap, axes=axes, case=case, reference=end))
    return found


def _by_replicate(rows: pd.DataFrame) -> dict[Any, float]:
    return dict(zip(rows["replicate"], rows["seconds"], strict=True))


def _differences(one: TimesByReplicate, other: TimesByReplicate) -> dict[Any, float]:
    both = sorted(one.keys() & other.keys())
    if not both:
        raise ValueError("no replicate has both")
    return {replicate: one[replicate] - other[replicate] for replicate in both}


def _rung(before: TimesByReplicate, after: TimesByReplicate, kind: str, gap: TimesByReplicate) -> Step:
    saved = _differences(before, after)
    return Step(kind, "", estimate(list(saved.values())), _share_of(saved, gap))


def _cause(cause: Cause, gap: TimesByReplicate) -> Step:
    size = estimate(cause.seconds)
    return Step(cause.kind, cause.what, size, _of(size, gap), cause.calls)


def _of(size: Estimate, gap: TimesByReplicate) -> Estimate:
    """A share where the rounds are of another process than the gap's replicates, and can't be paired with them."""
    whole = estimate(list(gap.values()))
    return Estimate(*(value / whole.value for value in astuple(size))) if whole.lower > 0 else UNKNOWN


def _share_of(saved: TimesByReplicate, gap: TimesByReplicate) -> Estimate:
    """The share of the gap within each replicate; NaN where some replicate shows no gap."""
    both = sorted(saved.keys() & gap.keys())
    if not both or not estimate(list(gap.values())).lower > 0 or min(gap[one] for one in both) <= 0:
        return UNKNOWN
    return estimate([saved[one] / gap[one] for one in both])


def _less(step: Step, named: Sequence[Step]) -> Step:
    """A step without what others explain of it."""
    return replace(
        step,
        seconds=_minus(step.seconds, [one.seconds for one in named]),
        share=_minus(step.share, [one.share for one in named]),
    )


def _minus(whole: Estimate, parts: Sequence[Estimate]) -> Estimate:
    """Estimates of separate measurements: their intervals' halves add up as squares do."""
    value = whole.value - sum(part.value for part in parts)
    low = math.hypot(whole.value - whole.lower, *(part.upper - part.value for part in parts))
    high = math.hypot(whole.upper - whole.value, *(part.value - part.lower for part in parts))
    return Estimate(value, value - low, value + high)
