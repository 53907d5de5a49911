"""Where the time of one call goes, and the distance from a cell to its reference taken apart.

A call is made of kernels by what they do, and the time between them. What each rung of the ladder and each cause
explains of the distance is a step.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Estimate, as_ratio, estimate, minus
from rnnbench.analysis.run_times import RunTimes
from rnnbench.profiling.missing_operators import MissingOperator, missing_operators, word
from rnnbench.store.implementations import LADDER, REFERENCES, REMOVING_ALL, ROW_OF
from rnnbench.store.profiles import CATEGORIES, CAUSES, PARTS, CallPart, Category, Cause, Products, Profile
from rnnbench.store.records import (
    WORKLOAD_AXES,
)
from rnnbench.store.stored_record import clean

# The parts of a call

What = Literal[Category, "overhead", "gaps", "whole"]
MAX_EXCESS = 0.1  # of the call: noise alone does not make its kernels longer than the call by more than this
MAX_DIFFERENCE = 0.5  # of a call's time in the run; a profile that differs by more does not explain it
TOO_LONG = "its kernels, clocked one by one, come to more than the whole of it, as on a busy machine"
# The time outside kernels: on a CPU all code on the way to one; on a device that launches them, its waiting.
OVERHEADS = ("overhead", "gaps")
SHARE_NAMES: dict[str, str] = {
    **{str(name): about for name, about in CATEGORIES.items()},
    "overhead": "dispatch and Python",
    "gaps": "launches and gaps",
    "whole": "in one piece",
}
TimesByReplicate = Mapping[Any, float]  # replicate -> seconds per call
NOT_PROFILED = "not profiled in a moment as busy as the run's, so the difference between the two is not explained"
ZERO = Estimate(0.0, 0.0, 0.0)
MIN_SHARE = 0.01  # of the call; a smaller cause is not reported
OPERATOR = "operator"  # kind of the steps that `missing_operators` finds


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
        taken = sum(kernel.seconds.value for kernel in kernels)
        fit = min(1.0, seconds.value / taken) if taken else 1.0
        kernels = [replace(kernel, seconds=kernel.seconds.at(kernel.seconds.value * fit)) for kernel in kernels]
        rest = minus(seconds, [kernel.seconds for kernel in kernels])
        left = rest.at(max(0.0, rest.value))
        calls = sum(each.calls for each in profile.operators if each.part == part)
        device = profile.kernels
        outside = Share(part, "gaps", left, device.launches) if device else Share(part, "overhead", left, calls)
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
        own = [each for each in profile.operators if each.category == what and (each.part == part or profile.kernels)]
        calls = sum(operator.calls for operator in own)
        size = sum(operator.new_bytes for operator in own)
        if profile.kernels is not None:
            if (known := profile.kernels.seconds.get(what)) is not None:
                shares.append(Share(part, what, Estimate(known, known, known), calls))
        elif own and what != "views":
            rounds = np.sum([np.subtract(operator.seconds, operator.idle_seconds) for operator in own], axis=0)
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
    rows = [
        (case, share.part, share.what, *astuple(share.seconds), math.nan, share.operators, share.new_bytes)
        for case, profile in profiles.items()
        if profile.works
        for share in breakdown(profile)
    ]
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


# What lies between two calls


class StepKind(NamedTuple):
    """What a step from a cell's time to its reference's is, in words."""

    label: str  # in figures
    costs: str  # in a sentence that says how much of the gap it explains
    cure: str = ""  # of a cause
    reference: str = ""  # of what the reference takes more of, if the step is negative


# Rungs of the ladder; causes; and what lies between the ends of two profiles.
KINDS: dict[str, StepKind] = {
    **{name: StepKind(ROW_OF[name].step, ROW_OF[name].recovers) for name in LADDER},
    **{kind: StepKind(row.label, row.costs, row.cure) for kind, row in CAUSES.items()},
    "library": StepKind(
        "products in another library",
        "the library of the products costs",
        "make the products in",
        reference="The reference's library of products would take",
    ),
    OPERATOR: StepKind("operator", "an operator that the reference does not have takes"),
    "overhead": StepKind(
        "dispatch and Python",
        "overhead outside kernels (dispatch, Python) takes",
        reference="The reference's dispatch takes",
    ),
    "kernels": StepKind("kernels", "kernels take", reference="The reference's kernels take"),
    "rest": StepKind("unexplained", "unexplained"),
}


@dataclass(frozen=True)
class Step:
    """The time that one change saves; negative if it adds time."""

    kind: str  # of KINDS
    what: str  # where a cause is in the code, or what a library costs; empty for rungs
    seconds: Estimate
    calls: int = 0  # of a cause in one call of the case
    library: str = ""  # in which the products would take so much less

    @property
    def is_certain(self) -> bool:
        """Whether it differs from zero by more than chance."""
        return self.seconds.lower > 0 or self.seconds.upper < 0

    def less(self, others: Sequence["Step"]) -> "Step":
        """Return the step without the part of it that other steps explain."""
        return replace(self, seconds=minus(self.seconds, [other.seconds for other in others]))


@dataclass(frozen=True)
class Gap:
    """The distance from the first rung that was measured to the reference."""

    start: Estimate  # the time of the first rung
    end: Estimate  # the reference's time
    seconds: Estimate  # their difference
    ratio: Estimate
    steps: tuple[Step, ...]  # at the end the rest, which nothing explains
    note: str = ""  # why the part below the last rung is not taken apart, although something was profiled

    @property
    def by_size(self) -> list[Step]:
        """All steps, the largest first and the rest at the end."""
        return sorted(self.steps, key=lambda step: (step.kind == "rest", -abs(step.seconds.value)))

    def share(self, step: Step) -> float:
        """Return the share of the gap that a step explains; NaN if the gap may be nothing."""
        return step.seconds.value / self.seconds.value if self.seconds.lower > 0 else math.nan


# The gap of a case


def gaps(run: RunTimes, profiles: Mapping[str, Profile]) -> dict[tuple[str, str], Gap]:
    """Return a gap for each cell and workload of a run with both ends, by the keys of the cases at these ends."""
    times: dict[str, TimesByReplicate] = {
        str(case): dict(zip(rows["replicate"], rows["median_seconds"], strict=True))
        for case, rows in run.replicates.groupby("case", observed=True, sort=False)
    }
    measured = run.cases.set_index("case", drop=False).loc[list(times)]
    result = dict[tuple[str, str], Gap]()
    for _, group in measured.groupby([*WORKLOAD_AXES], sort=False):
        references = group[group["implementation"].isin(REFERENCES)]
        for _, own in group.groupby("cell", sort=False):
            cases = dict(zip(own["implementation"], own["case"].astype(str), strict=True))
            rungs: dict[str, TimesByReplicate] = {name: times[cases[name]] for name in LADDER if name in cases}
            reference = str(references["case"].iloc[0]) if len(references) else ""
            if not rungs or not all(rung.keys() & times.get(reference, {}).keys() for rung in rungs.values()):
                continue
            taken = [profiles.get(cases[name]) for name in rungs]
            ends = cases[next(iter(rungs))], reference
            result[ends] = of_profiled(rungs, times[reference], taken, profiles.get(reference))
    return result


def of_profiled(
    rungs: Mapping[str, TimesByReplicate],
    reference: TimesByReplicate,
    profiles: Sequence[Profile | None],
    of_reference: Profile | None,
) -> Gap:
    """Take the difference between a case and its reference apart, by its rungs and by profiles.

    `profiles`: one for each rung, None if it was not profiled. The first has the causes; the last is compared with that
    of the reference.
    """
    *of_rungs, end = (
        rescaled(profile, seconds) if profile is not None and is_alike(profile, seconds) else None
        for profile, seconds in zip(
            (*profiles, of_reference),
            [call_time(times.values()).value for times in (*rungs.values(), reference)],
            strict=True,
        )
    )
    below: Sequence[Step] = ()
    note = ""
    last = [*rungs][-1]
    if of_rungs[-1] is not None and end is not None:
        seen = (each for each in reversed(of_rungs) if each and each.products and each.products.seconds)
        eager = None if last in ROW_OF and ROW_OF[last].has_own_library else next(seen, None)
        below = between(of_rungs[-1], end, eager, _named(of_rungs[0]))
    elif any((*profiles, of_reference)):
        missing = [name for name, profile in {last: of_rungs[-1], "its reference": end}.items() if profile is None]
        note = f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} {NOT_PROFILED}"
    # A kind that costs the reference's code time, too, explains no difference.
    both = {cause.kind for cause in end.causes} if end else set()
    causes = [cause for cause in (of_rungs[0].causes if of_rungs[0] else ()) if cause.kind not in both]
    return replace(take_apart(rungs, reference, causes, below), note=note)


def _named(first: Profile | None) -> set[str]:
    """Return the words of the operators that the causes of a profile name, since a cause holds their time already."""
    causes = first.causes if first else ()
    sized = [cause for cause in causes if first and cause.seconds and _matters(estimate(cause.seconds), first)]
    return {word(name) for cause in sized for name in cause.names}


def _matters(seconds: Estimate, call: Profile) -> bool:
    return seconds.lower > 0 and seconds.value >= MIN_SHARE * estimate(call.times["call"]).value


def take_apart(
    rungs: Mapping[str, TimesByReplicate],
    reference: TimesByReplicate,
    causes: Sequence[Cause] = (),
    below: Sequence[Step] = (),
) -> Gap:
    """Return the gap of the first of `rungs`, which are in the ladder's order; `causes` are those of its profile.

    The step of a rung is its difference from the one before it, within each replicate; `below` are the steps between
    the last rung and the reference, as `between` returns them. All rungs of plain operators share the causes, so these
    are subtracted from the step to the first other rung, which removes them too, or else from what lies below.
    Two rungs, and a rung and the reference, must have a replicate in common.
    """
    names = list(rungs)
    times = [*rungs.values(), reference]
    *steps, rest = (
        Step(kind, "", _difference(before, after))
        for kind, (before, after) in zip((*names[1:], "rest"), pairwise(times), strict=True)
    )
    steps = [*steps, *below, rest.less(below)]
    start = call_time(times[0].values())
    named = list[Step]()
    removed = {kind for name in rungs if name in ROW_OF for kind in ROW_OF[name].removes}
    sizes = [(estimate(cause.seconds), cause) for cause in causes if cause.seconds and cause.kind not in removed]
    for size, cause in sorted(sizes, key=lambda pair: -pair[0].value):
        if size.value < MIN_SHARE * start.value or size.lower <= 0:  # nothing, or nothing beyond chance
            continue
        named.append(Step(cause.kind, cause.what, size, cause.calls))
        # The step that also removes the cause, and so contains it.
        around = (*REMOVING_ALL, CAUSES[cause.kind].within, "rest")
        kinds = [step.kind for step in steps]
        index = next(kinds.index(kind) for kind in around if kind in kinds)
        steps[index] = steps[index].less(named[-1:])
    first = times[0]
    common = sorted(times[0].keys() & reference.keys())
    ratio = as_ratio(estimate([math.log(first[key] / reference[key]) for key in common]))
    end = call_time(reference.values())
    gap = _difference(first, reference)
    return Gap(start, end, gap, ratio, (*named, *steps))


def at_the_speed_of(seconds: Mapping[str, float], profiles: Mapping[str, Profile]) -> dict[str, Profile]:
    """Return the profiles with the times of a run, so that no figure beside the run's contradicts them.

    `seconds`: of a call of each case that was timed.
    """
    return {
        case: rescaled(profile, seconds[case]) if profile.works and case in seconds else profile
        for case, profile in profiles.items()
    }


def call_seconds(run: RunTimes) -> dict[str, float]:
    """Return the time of a call of each case of a run that was timed."""
    rows = run.replicates.groupby("case", observed=True)["median_seconds"]
    return {str(case): call_time(times).value for case, times in rows}


def call_time(seconds: Iterable[float]) -> Estimate:
    """Return the time of a call from those of its replicates, as in the tables of a run."""
    return as_ratio(estimate([math.log(value) for value in seconds]))


def _difference(times: TimesByReplicate, other: TimesByReplicate) -> Estimate:
    """Return the difference of two times as they are shown, with the spread that it has within replicates."""
    spread = estimate([times[replicate] - other[replicate] for replicate in sorted(times.keys() & other.keys())])
    return spread.at(call_time(times.values()).value - call_time(other.values()).value)


# Between two profiled calls


def between(
    last: Profile, reference: Profile, eager: Profile | None = None, named: Collection[str] = ()
) -> tuple[Step, ...]:
    """Return the differences between two profiled calls.

    Products in different libraries are a step of their own, and so is each of the largest operators that the reference
    does not have, unless it is among those `named` by causes. The others come from both breakdowns, outside kernels and
    in kernels, and are missing if a call can't be taken apart. `eager` is a profile that shows the products of `last`,
    if `last` is compiled and does not show them.
    """
    missing = missing_operators(last, reference, named)
    products = last.products or (None if eager is None else eager.products)
    others = reference.products
    library = list[Step]()
    steps = list[Step]()
    if products is not None and others is not None and products.library != others.library:
        step = _in_library(products, others.library, (last, reference))
        library = [] if step is None else [step]
    if not (in_one_piece(last) or in_one_piece(reference)):
        for kind, is_overhead in (("overhead", True), ("kernels", False)):
            mine, its = (
                minus(ZERO, [share.seconds for share in breakdown(profile) if (share.what in OVERHEADS) == is_overhead])
                for profile in (last, reference)
            )
            parts = [operator.around if is_overhead else operator.kernels for operator in missing]
            steps.append(Step(kind, "", minus(minus(its, [mine]), parts)))  # `its` and `mine` are negative
        steps[-1] = steps[-1].less(library)
    return (*library, *map(_of_operator, missing), *steps)


def _of_operator(operator: MissingOperator) -> Step:
    """Return what leaving an operator out saves."""
    seconds = minus(ZERO, [operator.kernels, operator.around])
    return Step(OPERATOR, operator.word, Estimate(-seconds.value, -seconds.upper, -seconds.lower), operator.calls)


def _in_library(products: Products, library: str, calls: tuple[Profile, Profile]) -> Step | None:
    """Return what another library saves of a call's products; None if that is not known.

    It is not known if the products were not measured, or in a busy moment, or if the way to them takes as long.
    `calls`: with the products in their own library, and in the other. The way to each library is left out.
    """
    own, other = (
        np.atleast_1d(np.subtract(products.seconds.get(name, 0.0), products.idle_seconds.get(name, 0.0)))
        for name in (products.library, library)
    )
    for seconds, call in zip((own, other), calls, strict=True):
        is_part = np.median(seconds) <= (1 + MAX_EXCESS) * np.median(call.times["call"])
        if not (is_part and estimate(seconds.tolist()).lower > 0):
            return None
    times = np.median(own) / np.median(other)
    what = f"the same products take {times:.2f}× as long in {products.library} as in {library}"
    return Step("library", what, estimate((own - other).tolist()), products.calls, library)
