"""The distance between a cell and its reference, taken apart: what each rung of the ladder and each cause explains."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pandas as pd

from rnnbench.analysis.estimate import ENDS, UNKNOWN, Estimate, as_ratio, estimate, estimate_columns, minus
from rnnbench.analysis.gaps.between import Step, between, in_fastest_library
from rnnbench.analysis.gaps.rescaled import is_alike, rescaled
from rnnbench.analysis.gaps.shares import paired_share_of, share_of
from rnnbench.analysis.runs.run_times import RunTimes
from rnnbench.store.profiles import Cause, CauseKind, Profile
from rnnbench.store.records import GRAPH_BACKENDS, REFERENCES, WORKLOAD_AXES, Implementation

TimesByReplicate = Mapping[Any, float]  # replicate -> seconds per call

# From the version that one writes first to the fastest; each rung is compared with the one before it.
LADDER: tuple[Implementation, ...] = ("loop", "sequence", "hoisted", "transposed", "compiled", "prepacked", "cudagraph")
UNLIKE = (
    "the profiled calls took much longer or shorter than the timed ones, as on a busy machine: they explain no more"
)
NOT_PROFILED = "not profiled, so the difference between the two is not explained"
MIN_SHARE = 0.01  # of the call; a smaller cause is not reported
IN_KERNELS: tuple[CauseKind, ...] = ("weight gradients",)  # that cost kernels their time, and less the dispatcher
HOISTING: tuple[CauseKind, ...] = ("not hoisted",)  # what the rung `hoisted` removes


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
    last: str = ""  # the last rung; `rest` lies between it and the reference
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
    named = [_cause(cause, gap) for cause in worth_saying(causes, call_time(start.values()).value, rungs)]
    rest = rung(last, reference, "rest")
    steps += [replace(step, share=share_of(step.seconds, gap)) for step in below]
    rest = _less(rest, steps[len(steps) - len(below) :])
    for cause in named:
        index = _shared(cause, steps)
        if index is None:
            rest = _less(rest, [cause])
        else:
            steps[index] = _less(steps[index], [cause])
    replicates = sorted(start.keys() & reference.keys())
    ratio = estimate([math.log(start[replicate] / reference[replicate]) for replicate in replicates])
    return Gap(
        names[0],
        call_time(start.values()),
        call_time(reference.values()),
        gap,
        as_ratio(ratio),
        (*named, *steps),
        rest,
        names[-1],
    )


def own_causes(profile: Profile | None, reference: Profile | None) -> tuple[Cause, ...]:
    """The causes of a profile, without the kinds that cost the reference's code time, too."""
    if profile is None:
        return ()
    both = set() if reference is None else {cause.kind for cause in reference.causes}
    return tuple(cause for cause in profile.causes if cause.kind not in both)


def worth_saying(causes: Sequence[Cause], call_seconds: float, rungs: Iterable[str] = ()) -> list[Cause]:
    """The causes that cost something beyond chance, and that no rung removes; the largest first."""
    kept = []
    for cause in causes:
        if not cause.seconds or (cause.kind in HOISTING and "hoisted" in rungs):
            continue
        size = estimate(cause.seconds)
        if size.value >= MIN_SHARE * call_seconds and not size.lower <= 0:
            kept.append(cause)
    return sorted(kept, key=lambda cause: -estimate(cause.seconds).value)


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
    measured = [*rungs.values(), reference]
    *of_rungs, end = (
        rescaled(profile, call_time(times.values()).value) if profile is not None and profile.works else None
        for profile, times in zip((*profiles, of_reference), measured, strict=True)
    )
    below: tuple[Step, ...] = ()
    note = ""
    if of_rungs[-1] is not None and end is not None:
        if all(
            is_alike(profile, call_time(times.values()).value)
            for profile, times in zip((profiles[-1], of_reference), measured[-2:], strict=True)
        ):
            shows_products = (profile for profile in reversed(of_rungs) if profile and _shows_products(profile))
            shown = next(shows_products, None)
            if shown is not None and [*rungs][-1] == "prepacked":
                shown = in_fastest_library(shown)
            below = between(of_rungs[-1], end, shown)
        else:
            note = UNLIKE
    elif any((*profiles, of_reference)):
        ends = {list(rungs)[-1]: of_rungs[-1], "its reference": end}
        missing = [name for name, profile in ends.items() if profile is None]
        note = f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} {NOT_PROFILED}"
    return replace(take_apart(rungs, reference, own_causes(of_rungs[0], end), below), note=note)


def is_fitting(run: RunTimes, profile: Profile) -> bool:
    """Whether the calls of a profile took about as long as those of its case in the run."""
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


def _shows_products(profile: Profile) -> bool:
    return profile.products is not None and bool(profile.products.seconds)


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
            rows_of = {str(name): rows for name, rows in own.groupby("implementation", observed=True) if name in LADDER}
            rungs: dict[str, TimesByReplicate] = {
                name: _by_replicate(rows_of[name]) for name in LADDER if name in rows_of
            }
            if not rungs or not all(rung.keys() & reference.keys() for rung in rungs.values()):
                continue
            case, end = (str(rows["case"].iloc[0]) for rows in (rows_of[next(iter(rungs))], references))
            of_rungs = [profiles.get(str(rows_of[name]["case"].iloc[0])) for name in rungs]
            gap = of_profiled(rungs, reference, of_rungs, profiles.get(end))
            axes = {"cell": str(cell), **dict(zip(WORKLOAD_AXES, workload, strict=True))}
            result.append(replace(gap, axes=axes, case=case, reference=end))
    return result


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


def call_time(seconds: Iterable[float]) -> Estimate:
    """The time of a call from those of its replicates, as in the tables of a run."""
    return as_ratio(estimate([math.log(value) for value in seconds]))


def _difference(times: TimesByReplicate, other: TimesByReplicate) -> Estimate:
    """The difference of two times as they are shown, with the spread that it has within replicates."""
    spread = estimate(list(_differences(times, other).values()))
    return spread.at(call_time(times.values()).value - call_time(other.values()).value)


def _cause(cause: Cause, gap: Estimate) -> Step:
    """A cause as a step. Its times are another process's, which can't be paired with the gap's replicates."""
    size = estimate(cause.seconds)
    return Step(cause.kind, cause.what, size, share_of(size, gap), cause.calls)


def _shared(cause: Step, steps: Sequence[Step]) -> int | None:
    """The index of the step that also removes a cause, and so contains it; None if there is none."""
    kinds = [step.kind for step in steps]
    below = "kernels" if cause.kind in IN_KERNELS else "overhead"
    return next((kinds.index(kind) for kind in (*GRAPH_BACKENDS, below, "besides") if kind in kinds), None)


def _less(step: Step, named: Sequence[Step]) -> Step:
    """A step without the part of it that other steps explain."""
    return replace(
        step,
        seconds=minus(step.seconds, [other.seconds for other in named]),
        share=minus(step.share, [other.share for other in named]),
    )
