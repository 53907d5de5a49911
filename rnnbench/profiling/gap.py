"""The distance between a cell and its reference, taken apart: what each rung of the ladder and each cause explains."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import (
    ENDS,
    UNKNOWN,
    Estimate,
    as_ratio,
    estimate,
    estimate_columns,
    minus,
    t_quantile,
)
from rnnbench.analysis.runs.run_times import RunTimes
from rnnbench.profiling.breakdown import MAX_EXCESS, OVERHEADS, breakdown, in_one_piece, is_alike, rescaled
from rnnbench.store.profiles import PACKED, PACKING, Cause, Products, Profile
from rnnbench.store.records import GRAPH_BACKENDS, REFERENCES, WORKLOAD_AXES, Implementation

TimesByReplicate = Mapping[Any, float]  # replicate -> seconds per call

# From the version that one writes first to the fastest; each rung is compared with the one before it.
LADDER: tuple[Implementation, ...] = ("loop", "sequence", "hoisted", "transposed", "compiled", "prepacked", "cudagraph")
UNLIKE = (
    "the profiled calls took much longer or shorter than the timed ones, as on a busy machine: they explain no more"
)
NOT_PROFILED = "not profiled, so the difference between the two is not explained"
MIN_SHARE = 0.01  # of the call; a smaller cause is not reported
MIN_SAVED = 0.05  # of the call; a library that saves less is not mentioned
CONFIDENCE = 0.95


class StepKind(NamedTuple):
    """What a step from a cell's time to its reference's is, in words."""

    label: str  # in figures
    costs: str  # in a sentence that says how much of the gap it explains
    cure: str = ""  # of a cause
    reference: str = ""  # of what the reference takes more of, if the step is negative


# Rungs of the ladder; causes, which `causes.py` finds in a recorded program (`weight gradients` and `library`:
# `products.py`, `threads`: `profile.py`); and what lies between the ends of two profiles.
KINDS: dict[str, StepKind] = {
    "hoisted": StepKind("input product hoisted", "hoisting the input product recovers"),
    "transposed": StepKind("weights stored as read", "storing the weights in the order of reading recovers"),
    "sequence": StepKind("run as one module", "running the whole sequence in one module recovers"),
    "compiled": StepKind("compiled", "compiling recovers"),
    "prepacked": StepKind("products in the fastest library", "making each product in the fastest library recovers"),
    "cudagraph": StepKind("recorded and replayed", "replaying a recorded graph recovers"),
    "copy": StepKind("needless copy", "a needless copy costs", "use the tensor without a copy"),
    "concatenation": StepKind(
        "concatenation",
        "putting tensors side by side costs",
        "multiply each part with its own weight, and add the products",
    ),
    "not hoisted": StepKind(
        "input product in every step",
        "a product of the input in every step, which could be one, costs",
        "make the input product once for all steps, before the loop",
    ),
    "output product": StepKind(
        "output product in every step",
        "a product of the output in every step, which could be one after the loop, costs",
        "make the output product once for all steps, after the loop",
    ),
    "loop invariant": StepKind(
        "same value in every step",
        "computing the same value again in every step costs",
        "compute the value once, before the loop",
    ),
    "weight gradients": StepKind(
        "weight gradients step by step",
        "a product for the weight gradients of every step, which could be one, costs",
        "run it as rnnbench's `compiled`, which makes them one product",
    ),
    "threads": StepKind("several threads", "handing the work to several threads costs", "run on one thread"),
    "synchronisation": StepKind(
        "value read back", "reading a value back into Python costs", "check the value once, after the loop"
    ),
    "unused": StepKind("result that nothing uses", "a result that nothing uses costs", "leave the unused result out"),
    "small products": StepKind(
        "several small products",
        "several products of one input, which could be one, cost",
        "stack the weights, and split one product",
    ),
    "library": StepKind("products in another library", "the library of the products costs", "make the products in"),
    "overhead": StepKind(
        "dispatch and Python",
        "overhead outside kernels (dispatch, Python) takes",
        reference="The reference's dispatch takes",
    ),
    "kernels": StepKind("kernels", "kernels take", reference="The reference's kernels take"),
    "products": StepKind(
        "other products",
        "products that differ from the reference's cost",
        reference="The reference's products take",
    ),
    "besides": StepKind(
        "gates, copies, dispatch",
        "gates, copies and dispatch take",
        reference="The reference's gates, copies and dispatch take",
    ),
    "rest": StepKind("unexplained", "unexplained"),
}


@dataclass(frozen=True)
class Libraries:
    """The same products in the library of one call, and in that of the other."""

    own: str
    other: str
    ratio: float  # of their times, own to other


@dataclass(frozen=True)
class Step:
    """The time that one change saves; negative if it adds time."""

    kind: str  # of KINDS
    what: str  # where a cause is in the code; empty for rungs
    seconds: Estimate
    share: Estimate = UNKNOWN  # of the gap; NaN if the gap is not certain
    calls: int = 0  # of a cause in one call of the case
    libraries: Libraries | None = None

    @property
    def is_certain(self) -> bool:
        """Whether it differs from zero by more than chance."""
        return self.seconds.lower > 0 or self.seconds.upper < 0


@dataclass(frozen=True)
class Gap:
    """The distance from the first rung that was measured to the reference."""

    name: str  # of the implementation, or the module, at the first rung
    start: Estimate  # its time
    end: Estimate  # the reference's time
    seconds: Estimate  # their difference
    ratio: Estimate
    steps: tuple[Step, ...]
    rest: Step  # what nothing explains
    axes: dict[str, Any] = field(default_factory=dict)  # cell and workload; empty for modules of a user's process
    case: str = ""  # key of the first rung's case
    reference: str = ""  # key of the reference's
    note: str = ""  # why the part below the last rung is not taken apart, although something was profiled

    @property
    def named(self) -> list[Step]:
        """The steps that explain it beyond chance, the largest first."""
        return [step for step in self.by_size[:-1] if step.is_certain]

    @property
    def by_size(self) -> list[Step]:
        """All steps, the largest first, and at the end what nothing explains."""
        return [*sorted(self.steps, key=lambda step: -abs(step.seconds.value)), self.rest]


# The gap of a case


def gaps(run: RunTimes, profiles: Mapping[str, Profile]) -> list[Gap]:
    """One gap for each cell and workload of a run with both ends."""
    times = run.replicates[["case", "implementation", "replicate", "median_seconds"]]
    if times.empty:
        return []
    times = times.merge(run.cases[["case", "cell", *WORKLOAD_AXES]], on="case")
    result = []
    for workload, group in times.groupby([*WORKLOAD_AXES], sort=False):
        references = group[group["implementation"].isin(REFERENCES)]
        if references.empty:
            continue
        reference = _by_replicate(references)
        for cell, own in group.groupby("cell", sort=False):
            rows_of = {str(name): rows for name, rows in own.groupby("implementation", observed=True)}
            rungs: dict[str, TimesByReplicate] = {
                name: _by_replicate(rows_of[name]) for name in LADDER if name in rows_of
            }
            if not rungs or not all(rung.keys() & reference.keys() for rung in rungs.values()):
                continue
            cases = [str(rows_of[name]["case"].iloc[0]) for name in rungs]
            end = str(references["case"].iloc[0])
            gap = of_profiled(rungs, reference, [profiles.get(case) for case in cases], profiles.get(end))
            axes = {"cell": str(cell), **dict(zip(WORKLOAD_AXES, workload, strict=True))}
            result.append(replace(gap, axes=axes, case=cases[0], reference=end))
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
    seconds = [call_time(times.values()).value for times in (*rungs.values(), reference)]
    taken = (*profiles, of_reference)
    *of_rungs, end = (
        rescaled(profile, call) if profile is not None and profile.works else None
        for profile, call in zip(taken, seconds, strict=True)
    )
    below: tuple[Step, ...] = ()
    note = ""
    if of_rungs[-1] is not None and end is not None:
        if is_alike(profiles[-1], seconds[-2]) and is_alike(of_reference, seconds[-1]):
            shown = next(
                (each for each in reversed(of_rungs) if each and each.products and each.products.seconds), None
            )
            if shown is not None and [*rungs][-1] == "prepacked":
                shown = in_fastest_library(shown)
            below = between(of_rungs[-1], end, shown)
        else:
            note = UNLIKE
    elif any(taken):
        ends = {list(rungs)[-1]: of_rungs[-1], "its reference": end}
        missing = [name for name, profile in ends.items() if profile is None]
        note = f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} {NOT_PROFILED}"
    # A kind that costs the reference's code time, too, explains no difference.
    both = {cause.kind for cause in end.causes} if end else set()
    causes = [cause for cause in (of_rungs[0].causes if of_rungs[0] else ()) if cause.kind not in both]
    return replace(take_apart(rungs, reference, causes, below), note=note)


def take_apart(
    rungs: Mapping[str, TimesByReplicate],
    reference: TimesByReplicate,
    causes: Sequence[Cause] = (),
    below: Sequence[Step] = (),
) -> Gap:
    """The gap of the first of `rungs`, which are in the ladder's order; `causes` are those of its profile.

    The step of a rung is its difference from the one before it, within each replicate; `below` are the steps between
    the last rung and the reference, as `between` returns them. All rungs of plain operators share the causes, so these
    are subtracted from the step to the first other rung, which removes them too, or else from what lies below.
    Raises ValueError if two rungs, or a rung and the reference, have no replicate in common.
    """
    names = list(rungs)
    start, last = rungs[names[0]], rungs[names[-1]]
    gap = _difference(start, reference)
    in_replicates = _differences(start, reference)

    def rung(before: TimesByReplicate, after: TimesByReplicate, kind: str) -> Step:
        """What a rung saves: its share is taken within replicates."""
        saved, apart, share = _difference(before, after), _differences(before, after), UNKNOWN
        if (common := sorted(apart.keys() & in_replicates.keys())) and gap.lower > 0:
            paired = paired_share_of([apart[key] for key in common], [in_replicates[key] for key in common])
            share = paired.at(saved.value / gap.value)
        return Step(kind, "", saved, share)

    steps = [rung(rungs[before], rungs[after], after) for before, after in pairwise(names)]
    rest = rung(last, reference, "rest")
    own = [replace(step, share=share_of(step.seconds, gap)) for step in below]
    steps, rest = [*steps, *own], _less(rest, own)
    named = []
    for cause in worth_saying(causes, call_time(start.values()).value, rungs):
        size = estimate(cause.seconds)  # another process's, which can't be paired with the gap's replicates
        named.append(Step(cause.kind, cause.what, size, share_of(size, gap), cause.calls))
        # The step that also removes the cause, and so contains it; weight gradients cost kernels their time.
        around = (*GRAPH_BACKENDS, "kernels" if cause.kind == "weight gradients" else "overhead", "besides")
        kinds = [step.kind for step in steps]
        index = next((kinds.index(kind) for kind in around if kind in kinds), None)
        if index is None:
            rest = _less(rest, named[-1:])
        else:
            steps[index] = _less(steps[index], named[-1:])
    ratio = estimate([math.log(start[key] / reference[key]) for key in sorted(start.keys() & reference.keys())])
    ends = call_time(start.values()), call_time(reference.values())
    return Gap(names[0], *ends, gap, as_ratio(ratio), (*named, *steps), rest)


def worth_saying(causes: Sequence[Cause], call_seconds: float, rungs: Iterable[str] = ()) -> list[Cause]:
    """The causes that cost something beyond chance, and that no rung removes; the largest first."""
    kept = []
    for cause in causes:
        if not cause.seconds or (cause.kind == "not hoisted" and "hoisted" in rungs):
            continue
        size = estimate(cause.seconds)
        if size.value >= MIN_SHARE * call_seconds and not size.lower <= 0:
            kept.append(cause)
    return sorted(kept, key=lambda cause: -estimate(cause.seconds).value)


def is_fitting(run: RunTimes, profile: Profile) -> bool:
    """Return True if the calls of a profile took about as long as those of its case in the run."""
    rows = run.replicates
    return is_alike(profile, call_time(rows.loc[rows["case"] == profile.case, "median_seconds"]).value)


def at_the_speed_of(run: RunTimes, profiles: Mapping[str, Profile]) -> dict[str, Profile]:
    """Return the profiles with the times of the run, so that no figure beside the run's contradicts them."""
    rows = run.replicates.groupby("case", observed=True)["median_seconds"]
    seconds = {str(case): call_time(times).value for case, times in rows}
    return {
        case: rescaled(profile, seconds[case]) if profile.works and case in seconds else profile
        for case, profile in profiles.items()
    }


def call_time(seconds: Iterable[float]) -> Estimate:
    """Return the time of a call from those of its replicates, as in the tables of a run."""
    return as_ratio(estimate([math.log(value) for value in seconds]))


def cause_frame(all_gaps: Mapping[str, Gap]) -> pd.DataFrame:
    """A row for each step of each gap, the largest first, and one for what nothing explains; `module` names the gap."""
    rows = [
        {
            "module": name,
            "kind": step.kind,
            "what": step.what,
            **estimate_columns("seconds", step.seconds),
            **estimate_columns("share", step.share),
            "calls": step.calls,
            "is_certain": step.is_certain,
        }
        for name, gap in all_gaps.items()
        for step in gap.by_size
    ]
    ends = [f"{name}{end}" for name in ("seconds", "share") for end in ENDS]
    return pd.DataFrame(rows, columns=["module", "kind", "what", *ends, "calls", "is_certain"])


def _by_replicate(rows: pd.DataFrame) -> dict[Any, float]:
    return dict(zip(rows["replicate"], rows["median_seconds"], strict=True))


def _differences(times: TimesByReplicate, other: TimesByReplicate) -> dict[Any, float]:
    replicates = sorted(times.keys() & other.keys())
    if not replicates:
        raise ValueError("no replicate has both")
    return {replicate: times[replicate] - other[replicate] for replicate in replicates}


def _difference(times: TimesByReplicate, other: TimesByReplicate) -> Estimate:
    """The difference of two times as they are shown, with the spread that it has within replicates."""
    spread = estimate(list(_differences(times, other).values()))
    return spread.at(call_time(times.values()).value - call_time(other.values()).value)


def _less(step: Step, named: Sequence[Step]) -> Step:
    """A step without the part of it that other steps explain."""
    return replace(
        step,
        seconds=minus(step.seconds, [other.seconds for other in named]),
        share=minus(step.share, [other.share for other in named]),
    )


# Between two profiled calls


def between(last: Profile, reference: Profile, eager: Profile | None = None) -> tuple[Step, ...]:
    """The differences between two profiled calls; empty if nothing is known of them.

    Products in different libraries are a step of their own, and so are other products in the same library, such as many
    small ones for a large one. The others come from both breakdowns, outside kernels and in kernels. If a call can't be
    taken apart, there is only one other step, `besides`: the rest of the difference. `eager` is a profile that shows
    the products of `last`, if `last` is compiled and does not show them.
    """
    if not (last.works and reference.works):
        return ()
    products = last.products or (None if eager is None else eager.products)
    of_products: list[Step] = []
    are_known = False
    if products is not None and reference.products is not None:
        of_products = _of_products(products, reference.products)
        ends = (last, products), (reference, reference.products if reference.products.seconds else products)
        are_known = all(
            _fits(own, profile, library)
            for (profile, own), library in zip(ends, (products.library, reference.products.library), strict=True)
        )
    if not (in_one_piece(last) or in_one_piece(reference)):
        steps = []
        for kind, is_overhead in (("overhead", True), ("kernels", False)):
            own, other = (
                [share.seconds for share in breakdown(profile) if (share.what in OVERHEADS) == is_overhead]
                for profile in (last, reference)
            )
            steps.append(Step(kind, "", _sum_of([*own, *map(_negative, other)])))
    elif are_known:
        first, second = (estimate(list(profile.times["call"])) for profile in (last, reference))
        steps = [Step("besides", "", minus(first, [second]))]
    else:
        return ()
    if not are_known:
        return tuple(steps)
    rest = minus(steps[-1].seconds, [step.seconds for step in of_products])
    return (*of_products, *steps[:-1], Step(steps[-1].kind, "", rest))


def faster_library(profile: Profile) -> Step | None:
    """What another library would save of the call's products, the way to it included; None if none saves beyond chance.

    Weights are packed before the call, as code can do whose weights stay the same.
    """
    products = profile.products
    if products is None or products.library not in products.seconds:
        return None
    own = np.asarray(products.seconds[products.library])
    others = {name: np.asarray(seconds) for name, seconds in products.seconds.items() if name != PACKING}
    best = min(others, key=lambda name: float(np.median(others[name])))
    saved = estimate((own - others[best]).tolist())
    if best == products.library or not saved.lower > 0 or saved.value < MIN_SAVED * np.median(profile.times["call"]):
        return None
    libraries = Libraries(products.library, best, float(np.median(own) / np.median(others[best])))
    return Step("library", "", saved, calls=products.calls, libraries=libraries)


def in_fastest_library(profile: Profile) -> Profile:
    """The profile of a call whose products are made as `prepacked` makes them: in the fastest library measured."""
    products = profile.products
    if products is None:
        return profile
    measured = {library: in_library(products, library) for library in products.seconds if library != PACKING}
    medians = {library: float(np.median(seconds)) for library, seconds in measured.items() if seconds is not None}
    if not medians:
        return profile
    return replace(profile, products=replace(products, library=min(medians, key=medians.__getitem__)))


def in_library(products: Products, library: str) -> np.ndarray | None:
    """Seconds of the arithmetic of all products in a library, for each round; None if it was not measured there.

    The way to a library, which differs for each operator, is subtracted. Products that take no longer than that, as
    those of a few numbers may, count as not measured. Packing each weight once is included, as oneDNN's layers do in
    each call.
    """

    def arithmetic(name: str) -> np.ndarray | None:
        if name not in products.seconds or name not in products.idle_seconds:
            return None
        difference = np.asarray(products.seconds[name]) - np.asarray(products.idle_seconds[name])
        above: np.ndarray = np.maximum(difference, 0.0)  # below 0 by noise
        return above if name == PACKING or np.median(above) > 0 else None

    seconds = arithmetic(library)
    packing = arithmetic(PACKING) if library.endswith(PACKED) else None
    return seconds if seconds is None or packing is None else seconds + packing


def _of_products(products: Products, of_reference: Products) -> list[Step]:
    """What another library costs, and what other products than the reference's cost in the reference's library.

    The first is missing if it is the same library or was not measured, the second if the reference's products were not
    seen, as in a fused layer.
    """
    steps = []
    own, other = in_library(products, products.library), in_library(products, of_reference.library)
    if own is not None and other is not None and products.library != of_reference.library:
        libraries = Libraries(products.library, of_reference.library, float(np.median(own) / np.median(other)))
        seconds = estimate((own - other).tolist())
        steps.append(Step("library", "", seconds, calls=products.calls, libraries=libraries))
    its = in_library(of_reference, of_reference.library)
    if other is not None and its is not None:
        steps.append(Step("products", "", _sum_of([estimate(other.tolist()), _negative(estimate(its.tolist()))])))
    return steps


def _fits(products: Products, profile: Profile, library: str) -> bool:
    """Whether products were measured, and took no longer than their call, as at a busy moment."""
    seconds = in_library(products, library)
    return seconds is not None and bool(np.median(seconds) <= (1 + MAX_EXCESS) * np.median(profile.times["call"]))


def _sum_of(parts: Sequence[Estimate]) -> Estimate:
    return minus(Estimate(0.0, 0.0, 0.0), [_negative(part) for part in parts])


def _negative(part: Estimate) -> Estimate:
    return Estimate(-part.value, -part.upper, -part.lower)


# Shares of a measured whole, whose intervals account for the errors of the part and of the whole (Fieller 1954,
# doi:10.1111/j.2517-6161.1954.tb00159.x): they contain every share s for which the part does not differ significantly
# from s times the whole. They are exact if the errors are normal.


def share_of(part: Estimate, whole: Estimate) -> Estimate:
    """The share of a part that was measured independently of the whole.

    Returns NaN if the whole has no interval, or one that contains zero.
    """
    of_part, of_whole = ((interval.upper - interval.lower) / 2 for interval in (part, whole))
    return _fieller(part.value, whole.value, of_part**2, of_whole**2, 0.0)


def paired_share_of(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """The share of a part that was measured together with the whole, with one value of both for each replicate.

    Returns NaN if the interval of the whole contains zero. The bounds are NaN for a single replicate. Raises ValueError
    if there is no replicate.
    """
    part, whole, n = estimate(parts).value, estimate(wholes).value, len(parts)
    if n == 1:
        return replace(UNKNOWN, value=part / whole) if whole > 0 else UNKNOWN
    variances = np.cov(parts, wholes) * (t_quantile((1 + CONFIDENCE) / 2, n - 1) ** 2 / n)
    return _fieller(part, whole, float(variances[0, 0]), float(variances[1, 1]), float(variances[0, 1]))


def _fieller(part: float, whole: float, of_part: float, of_whole: float, of_both: float) -> Estimate:
    """The roots of `(part - s whole)^2 = of_part - 2 s of_both + s^2 of_whole`, the squares of half intervals."""
    certain = whole**2 - of_whole
    if not (whole > 0 and certain > 0):
        return UNKNOWN
    middle = part * whole - of_both
    root = math.sqrt(max(0.0, middle**2 - certain * (part**2 - of_part)))
    value = part / whole
    return Estimate(value, min(value, (middle - root) / certain), max(value, (middle + root) / certain))
