"""Two stored runs against each other, by each case's ratio to the torch.nn layer of the same group and run.

Absolute times of another day or machine mean little; a ratio within a run shares that run's noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rnnbench.analysis.comparison import Comparison, Finding, finding, one_sided, ordered
from rnnbench.analysis.location import Location, shift
from rnnbench.analysis.summary import complete_visits, reference_ratios, replicate_times
from rnnbench.analysis.verdict import Trial, located
from rnnbench.errors import UserError
from rnnbench.store.folder import RunInfo
from rnnbench.store.records import Case, Measurement

# What changes a ratio to torch.nn though no cell has changed. A clock rate that was measured is not among it.
MACHINE = ("cpu", "cgroup_cpu_limit")
WORKER = ("protocol", "python", "torch", "cuda", "cudnn", "onednn", "cpu_capability", "settings", "gpus")
MEASURE = ("windows", "window_seconds", "cold_cache")


@dataclass(frozen=True)
class StoredRun:
    """A run as it was read: `frame` as `rnnbench.load` gives it."""

    name: str
    info: RunInfo
    measurements: Mapping[str, Measurement]  # case key -> its last line
    frame: pd.DataFrame


def common_cases(base: Mapping[str, Any], head: Mapping[str, Case]) -> list[Case]:
    """The cases of the head that the base has too, torch.nn's own left out; raises UserError where there is none."""
    cases = [case for key, case in head.items() if key in base and not case.is_reference]
    if not cases:
        raise UserError("the two have no hand-written case in common; `rnnbench list cases SUITE` shows a suite's")
    return cases


def compare(base: StoredRun, head: StoredRun, margins: Mapping[str, float]) -> Comparison:
    """One finding for each case, with one look at all the data; `margins` by case key.

    Raises UserError where no case is in both runs.
    """
    both = common_cases(base.measurements, {key: one.case for key, one in head.measurements.items()})
    apart = differences(base.info, head.info)
    if apart:
        findings = [Finding(case, "incomparable", margins[case.key], "; ".join(apart)) for case in both]
    else:
        findings = _findings(base, head, both, margins)
    findings += one_sided(_own(base, without=head), "in the base") + one_sided(_own(head, without=base), "in the head")
    notes = (head.info.caches,) if head.info.caches else ()
    return Comparison(head.info.suite, f"run {base.name}", f"run {head.name}", "stored", ordered(findings), notes)


def differences(base: RunInfo, head: RunInfo) -> list[str]:
    """The keys of two environments that matter and are not the same, each with both values."""
    then, now = _matters(base), _matters(head)
    return [f"{key} was {then[key]!r} and is {now[key]!r}" for key in then if then[key] != now[key]]


def _matters(info: RunInfo) -> dict[str, Any]:
    machine = info.environment.get("machine", {})
    worker = info.environment.get("worker", {})
    measure = {"cold_cache": False} | info.resolved.get("measure", {})  # older runs could not flush
    return {
        **{key: machine.get(key) for key in MACHINE},
        "cores": len(machine.get("cores_allowed") or ()),
        **{key: worker.get(key) for key in WORKER},
        "variables": info.environment.get("software", {}).get("variables"),
        **{key: measure.get(key) for key in MEASURE},
    }


def _findings(base: StoredRun, head: StoredRun, cases: list[Case], margins: Mapping[str, float]) -> list[Finding]:
    trial = Trial(margins)
    then, now = _located(base.frame), _located(head.frame)
    for case in cases:
        if case.key in then and case.key in now:
            low, mean = (shift(before, after) for before, after in zip(then[case.key], now[case.key], strict=True))
            trial.look(case.key, low, mean)
    verdicts, counts = trial.verdicts(), _replicates(base.frame, head.frame)
    return [
        finding(
            base.measurements[case.key],
            head.measurements[case.key],
            verdicts.get(case.key),
            margins[case.key],
            counts.get(case.key, 0),
            "not timed beside torch.nn in both runs",
        )
        for case in cases
    ]


def _located(frame: pd.DataFrame) -> dict[str, tuple[Location, Location]]:
    """Where each case's log-ratios to torch.nn lie, of the low quantile and of the mean."""
    ratios = reference_ratios(replicate_times(complete_visits(frame)))
    found = [
        located({str(case): logs.to_list() for case, logs in ratios.groupby("case")[column]})
        for column in ("log_ratio", "log_mean_ratio")
    ]
    return {case: (found[0][case], found[1][case]) for case in found[0]}


def _replicates(*frames: pd.DataFrame) -> dict[str, int]:
    """How many replicates a case has in the run that has fewer."""
    counts = [frame.groupby("case")["replicate"].nunique() for frame in frames]
    return {str(case): int(count) for case, count in pd.concat(counts).groupby(level=0).min().items()}


def _own(run: StoredRun, *, without: StoredRun) -> list[Case]:
    """The hand-written cases that the other run lacks."""
    return [
        one.case
        for key, one in run.measurements.items()
        if key not in without.measurements and not one.case.is_reference
    ]
