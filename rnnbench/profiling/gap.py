"""The distance from a cell to its reference, taken apart into what each rung of the ladder and each cause explains."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from rnnbench.analysis.estimate import Estimate, as_ratio, estimate, minus
from rnnbench.analysis.run_times import RunTimes
from rnnbench.profiling.breakdown import MAX_EXCESS, OVERHEADS, breakdown, in_one_piece, is_alike, rescaled
from rnnbench.profiling.missing_operators import MissingOperator, missing_operators, word
from rnnbench.store.implementations import LADDER, REFERENCES, REMOVING_ALL, ROW_OF
from rnnbench.store.profiles import CAUSES, Cause, Products, Profile
from rnnbench.store.records import (
    WORKLOAD_AXES,
)

TimesByReplicate = Mapping[Any, float]  # replicate -> seconds per call
NOT_PROFILED = "not profiled in a moment as busy as the run's, so the difference between the two is not explained"
ZERO = Estimate(0.0, 0.0, 0.0)
MIN_CAUSE_SHARE = 0.01  # of the call; a smaller cause is not reported
OPERATOR = "operator"  # kind of the steps that `missing_operators` finds


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
        "matmuls in another library",
        "the library of the matmuls costs",
        "compute the matmuls in",
        reference="The library of the reference's matmuls would take",
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
        """Return True if the time differs from zero by more than chance."""
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
        for _, rows_of_cell in group.groupby("cell", sort=False):
            cases = dict(zip(rows_of_cell["implementation"], rows_of_cell["case"].astype(str), strict=True))
            rungs: dict[str, TimesByReplicate] = {name: times[cases[name]] for name in LADDER if name in cases}
            reference = str(references["case"].iloc[0]) if len(references) else ""
            if not rungs or not all(rung.keys() & times.get(reference, {}).keys() for rung in rungs.values()):
                continue
            profiles_of_rungs = [profiles.get(cases[name]) for name in rungs]
            ends = cases[next(iter(rungs))], reference
            result[ends] = of_profiled(rungs, times[reference], profiles_of_rungs, profiles.get(reference))
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
    of_rungs = [_at_the_speed_of(times, profile) for times, profile in zip(rungs.values(), profiles, strict=True)]
    end = _at_the_speed_of(reference, of_reference)
    below: Sequence[Step] = ()
    note = ""
    last = [*rungs][-1]
    if of_rungs[-1] is not None and end is not None:
        with_products = (each for each in reversed(of_rungs) if each and each.products and each.products.seconds)
        eager = None if last in ROW_OF and ROW_OF[last].has_own_library else next(with_products, None)
        below = between(of_rungs[-1], end, eager, _named(of_rungs[0]))
    elif any((*profiles, of_reference)):
        missing = [name for name, profile in {last: of_rungs[-1], "its reference": end}.items() if profile is None]
        note = f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} {NOT_PROFILED}"
    # A kind that costs the reference's code time, too, explains no difference.
    both = {cause.kind for cause in end.causes} if end else set()
    causes = [cause for cause in (of_rungs[0].causes if of_rungs[0] else ()) if cause.kind not in both]
    return replace(take_apart(rungs, reference, causes, below), note=note)


def _at_the_speed_of(times: TimesByReplicate, profile: Profile | None) -> Profile | None:
    """Return a profile with the times of the run; None if there is none, or if its moment was unlike the run."""
    seconds = call_time(times.values()).value
    return rescaled(profile, seconds) if profile is not None and is_alike(profile, seconds) else None


def _named(first: Profile | None) -> set[str]:
    """Return the words of the operators that the causes of a profile name, since a cause holds their time already."""
    causes = first.causes if first else ()
    sized = [cause for cause in causes if first and cause.seconds and _matters(estimate(cause.seconds), first)]
    return {word(name) for cause in sized for name in cause.operators}


def _matters(seconds: Estimate, call: Profile) -> bool:
    return seconds.lower > 0 and seconds.value >= MIN_CAUSE_SHARE * estimate(call.times["call"]).value


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
    cause_steps = list[Step]()
    removed = {kind for name in rungs if name in ROW_OF for kind in ROW_OF[name].removes}
    sizes = [(estimate(cause.seconds), cause) for cause in causes if cause.seconds and cause.kind not in removed]
    for size, cause in sorted(sizes, key=lambda pair: -pair[0].value):
        if size.value < MIN_CAUSE_SHARE * start.value or size.lower <= 0:  # nothing, or nothing beyond chance
            continue
        cause_steps.append(Step(cause.kind, cause.what, size, cause.calls))
        # The step that also removes the cause, and so contains it.
        around = (*REMOVING_ALL, CAUSES[cause.kind].within, "rest")
        kinds = [step.kind for step in steps]
        index = next(kinds.index(kind) for kind in around if kind in kinds)
        steps[index] = steps[index].less(cause_steps[-1:])
    first = times[0]
    common = sorted(times[0].keys() & reference.keys())
    ratio = as_ratio(estimate([math.log(first[key] / reference[key]) for key in common]))
    end = call_time(reference.values())
    gap = _difference(first, reference)
    return Gap(start, end, gap, ratio, (*cause_steps, *steps))


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


def between(
    last: Profile, reference: Profile, eager: Profile | None = None, words: Collection[str] = ()
) -> tuple[Step, ...]:
    """Return the differences between two profiled calls.

    Products in different libraries are a step of their own, and so is each of the largest operators that the reference
    does not have, unless causes name its words. The others come from both breakdowns, outside kernels and
    in kernels, and are missing if a call can't be taken apart. `eager` is a profile that shows the products of `last`,
    if `last` is compiled and does not show them.
    """
    missing = missing_operators(last, reference, words)
    products = last.products or (None if eager is None else eager.products)
    others = reference.products
    library = list[Step]()
    steps = list[Step]()
    if products is not None and others is not None and products.library != others.library:
        step = _in_library(products, others.library, (last, reference))
        library = [] if step is None else [step]
    if not (in_one_piece(last) or in_one_piece(reference)):
        for kind, is_overhead in (("overhead", True), ("kernels", False)):
            mine = _minus_shares(last, is_overhead=is_overhead)
            its = _minus_shares(reference, is_overhead=is_overhead)
            parts = [operator.around if is_overhead else operator.kernels for operator in missing]
            steps.append(Step(kind, "", minus(minus(its, [mine]), parts)))
        steps[-1] = steps[-1].less(library)
    return (*library, *map(_of_operator, missing), *steps)


def _minus_shares(profile: Profile, *, is_overhead: bool) -> Estimate:
    """Return the time of a call outside kernels, or that in kernels, with a negative sign."""
    return minus(ZERO, [share.seconds for share in breakdown(profile) if (share.what in OVERHEADS) == is_overhead])


def _of_operator(operator: MissingOperator) -> Step:
    """Return the step of an operator: the time that leaving it out saves."""
    seconds = minus(ZERO, [operator.kernels, operator.around])
    return Step(OPERATOR, operator.word, Estimate(-seconds.value, -seconds.upper, -seconds.lower), operator.calls)


def _above_idle(products: Products, library: str) -> np.ndarray:
    """Return the seconds of the products in a library in each round, without the way to it; 0 if not measured."""
    above = np.subtract(products.seconds.get(library, 0.0), products.idle_seconds.get(library, 0.0))
    return np.atleast_1d(above)


def _in_library(products: Products, library: str, calls: tuple[Profile, Profile]) -> Step | None:
    """Return the time that a call's products save in another library; None if that is not known.

    The time is not known if the products were not measured, or in a busy moment, or if the way to them takes as long.
    `calls`: with the products in their own library, and in the other. The way to each library is left out.
    """
    here = _above_idle(products, products.library)
    there = _above_idle(products, library)
    for seconds, call in zip((here, there), calls, strict=True):
        is_part = np.median(seconds) <= (1 + MAX_EXCESS) * np.median(call.times["call"])
        if not (is_part and estimate(seconds.tolist()).lower > 0):
            return None
    times = np.median(here) / np.median(there)
    what = f"the same matmuls take {times:.2f}× as long in {products.library} as in {library}"
    return Step("library", what, estimate((here - there).tolist()), products.calls, library)
