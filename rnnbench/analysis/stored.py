"""Stored runs against each other, by each case's ratio to the reference of the same group and run.

Absolute times of another day or machine mean little; a ratio within a run shares that run's noise. Two runs are judged
(`compare`), or several are lined up (`together`), of which the machine, torch or the code may differ.

The ratio of a case is that of the run's report: undisturbed if the run has enough quiet blocks, and otherwise the shift
of all blocks. These are two estimands, so two runs are compared by one of them: by the undisturbed ratios if both have
one, and otherwise by the shifts.

Runs of equal code vary, for example with the state of the machine or the layout of memory. The replicates of a run do
not show this variation. Its typical size is estimated from all cases of two runs: if the
code is equal, the changes of the cases scatter by their own errors and by the variation between runs. The scatter is
measured by Qn (Rousseeuw & Croux 1993, doi:10.1080/01621459.1993.10476408), the lower quartile of the distances between
all pairs of cases. Qn needs no centre, and stays useful if up to half of the cases have changed. A change that all
cases share can't be told from a change of the code.

Cases are unlike: some differ more from run to run than the typical case, and two runs do not show which. A large change
of an unlike case and a slowdown look the same. The errors therefore have few degrees of freedom (`MAX_FREEDOM`), so
that only changes far beyond the scatter of the typical case are called. `tests/validation/stored_simulated.py` measures
how often that is wrong, and which slowdowns are still found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.comparison import USUAL_MEMORY, Comparison, Finding, MemoryMargin, ordered
from rnnbench.analysis.decide import Evidence, finding_of, one_sided
from rnnbench.analysis.environments import clock_difference, differences, machine_differences
from rnnbench.analysis.estimate import (
    ENDS,
    MIN_QUIET_REPLICATES,
    Location,
    estimates_of,
    from_logs,
    locations,
    shift,
    with_runs,
)
from rnnbench.analysis.run_times import noted_of_runs, read_whole
from rnnbench.analysis.summary import UNDISTURBED, drifts, reference_ratios
from rnnbench.analysis.verdict import Judged, Trial
from rnnbench.errors import UserError
from rnnbench.store.folder import is_check
from rnnbench.store.records import Case, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.text import writable

NOT_LOCATED = Location(math.nan, math.nan, 0.0)
MIN_CASES = 6  # for an estimate of the variation between runs
MAX_SCATTERED = 500  # used for the estimate; the number of pairs grows with the square
QN_TO_SPREAD = 2.2219  # for a normal distribution
# Degrees of freedom of a change between two runs, at most. They stand for how unlike the cases are, which two runs do
# not show: fewer miss slowdowns of 20%, and more make false verdicts (`tests/validation/stored_simulated.py`).
MAX_FREEDOM = 4.0
TOO_FEW = (
    f"fewer than {MIN_CASES} cases have an interval in both runs, so the normal variation between runs is not known"
)
MAX_TIMES = 25.0  # as many replicates; a case that would take more lies so near the margin that they do not help
IN_TURNS = "`rnnbench check --base` measures both sides in turns, and decides more"
RATIO = [f"ratio_to_reference{end}" for end in ENDS]
RATIO_COLUMNS = [
    *("case", "log_ratio", "log_mean_ratio", "quiet_log_ratio", "log_quiet_mean_ratio"),
    *("started", "pulses", "quiet_pulses"),
]
CHANGE_TO_FIRST = [f"change_to_first_run{end}" for end in ENDS]


@dataclass(frozen=True)
class StoredRun:
    """What is needed of a run to compare it with another; the windows themselves are not kept."""

    name: str
    info: RunInfo
    measurements: Mapping[str, Measurement]  # case key -> its last line
    # A row for each case and replicate: `case`, `log_ratio` and `log_mean_ratio` to the reference, NaN without one, and
    # `quiet_log_ratio` and `log_quiet_mean_ratio` of quiet blocks, NaN if there are too few.
    ratios: pd.DataFrame
    clocks: Mapping[str, float] = field(default_factory=dict)  # case key -> MHz of its GPU, where they are known


@dataclass(frozen=True)
class Together:
    """All cases that two runs or more have."""

    runs: tuple[tuple[str, RunInfo], ...]
    margin: float
    cases: Mapping[str, Case]  # by their keys
    # A row for each `case` and run `at`: `RATIO` of the typical call, and of a later run `CHANGE_TO_FIRST`, the
    # `verdict`, and the ratio that it is `decided_by`.
    rows: pd.DataFrame
    alone: int  # cases that only one run has
    machines: tuple[tuple[str, ...], ...]  # what differs in each later run's from the first one's


def read_stored_run(path: Path) -> StoredRun:
    """Read a run folder; raises UserError if it is not one, or can't be read."""
    info, measurements, times = read_whole(path)
    ratios = reference_ratios(times.replicates)[RATIO_COLUMNS].astype({"case": object})
    resolved = path.resolve()
    name = f"{resolved.parent.name}/{resolved.name}" if is_check(resolved.parent) else resolved.name
    clocks = times.replicates.astype({"case": object}).groupby("case")["sm_clock_mhz"].median().dropna()
    return StoredRun(
        writable(name), info, measurements, ratios, {str(key): float(rate) for key, rate in clocks.items()}
    )


def case_ratios(run: StoredRun) -> pd.DataFrame:
    """Return a row for each case with a ratio to its reference, by the case's key; the references are left out.

    Columns: `shift` and `mean`, the `Location` of its log-ratios by all blocks for the typical call and for the mean;
    `quiet` and `quiet_mean`, the same by quiet blocks, without freedom unless it `is_undisturbed`; `RATIO`, with its
    95% interval, as a report shows it; and the number of `replicates`.
    """
    samples = run.ratios.dropna(subset="log_ratio").groupby("case", sort=False)
    by_all = [values.to_numpy() for _, values in samples["log_ratio"]]
    means = [values.to_numpy() for _, values in samples["log_mean_ratio"]]
    replicates = samples.size()
    drifts_of_all = drifts(run.ratios.dropna(subset="log_ratio"), "case").reindex(replicates.index).to_numpy()
    frame = pd.DataFrame(_intervals(by_all, drifts_of_all), replicates.index, RATIO, dtype=float)
    of_all: dict[str, Any] = {"shift": locations(by_all), "mean": locations(means)}
    frame = frame.assign(**of_all, replicates=replicates)
    of_quiet = run.ratios.dropna(subset="quiet_log_ratio")
    of_quiet = of_quiet[of_quiet.groupby("case")["case"].transform("size") >= MIN_QUIET_REPLICATES]
    quiet_samples = of_quiet.groupby("case", sort=False)
    by_quiet = [values.to_numpy() for _, values in quiet_samples["quiet_log_ratio"]]
    quiet_means = [values.to_numpy() for _, values in quiet_samples["log_quiet_mean_ratio"]]
    undisturbed = quiet_samples.size().index
    frame["is_undisturbed"] = frame.index.isin(undisturbed)
    frame.loc[undisturbed, RATIO] = _intervals(by_quiet)
    for name, samples_of_cases in (("quiet", by_quiet), ("quiet_mean", quiet_means)):
        located = dict(zip(undisturbed, locations(samples_of_cases), strict=True))
        frame[name] = [located.get(case, NOT_LOCATED) for case in frame.index]
    return frame.loc[[key for key in frame.index if not run.measurements[key].case.is_reference]]


def _intervals(samples: Sequence[np.ndarray], drifts_of_samples: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the ratios of samples of log-ratios with their 95% intervals, as a report shows them: (n, 3)."""
    logs = np.array([astuple(each) for each in estimates_of(samples)]).reshape(-1, len(RATIO))
    return from_logs(with_runs(logs, drifts_of_samples))


def common_cases(base: Mapping[str, Any], head: Mapping[str, Case]) -> list[Case]:
    """Return the cases of the head that the base has too, without references; raises UserError if there are none."""
    cases = [case for key, case in head.items() if key in base and not case.is_reference]
    if not cases:
        raise UserError("the two runs have no case in common; `rnnbench list cases SUITE` shows a suite's")
    return cases


def compare(
    base: StoredRun,
    head: StoredRun,
    margins: Mapping[str, float],
    memory: MemoryMargin = USUAL_MEMORY,
) -> Comparison:
    """Compare two runs: one finding for each case, with one look at all the data; `margins` by case key.

    Raises UserError if no case is in both runs.
    """
    in_base = {key: each.case for key, each in base.measurements.items()}
    in_head = {key: each.case for key, each in head.measurements.items()}
    common = common_cases(in_base, in_head)
    findings: list[Finding] = []
    needed = ""
    if apart := differences(base.info, head.info):
        why = "; ".join(apart)
        findings += [finding_of(Evidence(case=case, margin=margins[case.key], apart=why)) for case in common]
    else:
        sides = case_ratios(base), case_ratios(head)
        judged = judged_shifts(*sides, {case.key: margins[case.key] for case in common})
        for case in common:
            of_case = judged.get(case.key)
            why = "not timed beside torch.nn in both runs" if of_case is None else _without_interval(of_case)
            evidence = Evidence(
                case=head.measurements[case.key].case,
                margin=margins[case.key],
                memory=memory,
                base=base.measurements[case.key],
                head=head.measurements[case.key],
                judged=of_case,
                replicates=min(int(side["replicates"].get(case.key, 0)) for side in sides),
                open_because=why,
                unlike_clocks=clock_difference(base.clocks.get(case.key), head.clocks.get(case.key)),
            )
            findings.append(finding_of(evidence))
        if any(each.verdict == "undecided" for each in findings):
            needed = IN_TURNS
    findings += [each for each in one_sided(in_base, in_head) if not each.case.is_reference]
    notes = tuple(noted_of_runs((side.name, side.info) for side in (base, head)))
    return Comparison(
        head.info.suite, f"run {base.name}", f"run {head.name}", "stored", ordered(findings), notes, needed
    )


def _without_interval(judged: Judged) -> str:
    """Return why a case without an interval stays undecided; empty if it has one."""
    return "" if judged.low.has_interval else TOO_FEW


def together(runs: Sequence[StoredRun], margin: float) -> Together:
    """Line up the runs' cases; up to `margin` is no difference. A run of another machine gets no verdicts.

    Raises UserError if no case is in two runs.
    """
    frames = [case_ratios(run) for run in runs]
    cases: dict[str, Case] = {}
    for run in runs:
        of_run = {key: measurement.case for key, measurement in run.measurements.items()}
        cases |= {key: case for key, case in of_run.items() if not case.is_reference}
    counts = {key: sum(key in frame.index for frame in frames) for key in cases}
    common = [key for key, count in counts.items() if count > 1]
    if not common:
        names = " and ".join(run.name for run in runs)
        raise UserError(f"{names} have no case with a ratio in common; `rnnbench list cases SUITE` shows a suite's")
    machines = [tuple(machine_differences(runs[0].info, run.info)) for run in runs[1:]]
    parts = []
    for at, apart in enumerate([(), *machines]):
        part = (
            frames[at]
            .reindex(common)[RATIO]
            .assign(at=at, verdict=None, decided_by=None, **dict.fromkeys(CHANGE_TO_FIRST))
        )
        if apart:
            part.loc[part.index.isin(frames[0].index) & part["ratio_to_reference"].notna(), "verdict"] = "incomparable"
        elif at:
            for key, judged in judged_shifts(frames[0], frames[at], dict.fromkeys(common, margin)).items():
                if clock_difference(runs[0].clocks.get(key), runs[at].clocks.get(key)):
                    part.loc[key, "verdict"] = "incomparable"
                    continue
                part.loc[key, ["verdict", "decided_by"]] = judged.verdict, judged.decided_by
                if judged.deciding.has_interval:
                    part.loc[key, CHANGE_TO_FIRST] = astuple(judged.deciding)
        parts.append(part.rename_axis("case").reset_index())
    rows = pd.concat(parts, ignore_index=True).astype(dict.fromkeys(CHANGE_TO_FIRST, float))
    alone = sum(count == 1 for count in counts.values())
    infos = tuple((run.name, run.info) for run in runs)
    return Together(infos, margin, cases, rows, alone, tuple(machines))


def judged_shifts(base: pd.DataFrame, head: pd.DataFrame, margins: Mapping[str, float]) -> dict[str, Judged]:
    """Judge the changes of the cases that have a margin and a ratio in both runs, which are frames of `case_ratios`.

    The variation between runs, which the replicates do not show, is part of the errors.
    """
    keys = [key for key in margins if key in base.index and key in head.index]
    are_undisturbed = base.loc[keys, "is_undisturbed"] & head.loc[keys, "is_undisturbed"]
    trial = Trial(margins)
    for low_name, mean_name, state in (("quiet", "quiet_mean", UNDISTURBED), ("shift", "mean", "")):
        of_kind = [key for key in keys if are_undisturbed[key] == (state == UNDISTURBED)]
        low = _shifts(base.loc[of_kind, low_name], head.loc[of_kind, low_name])
        mean = _shifts(base.loc[of_kind, mean_name], head.loc[of_kind, mean_name])
        for key in of_kind:
            trial.look(key, low[key], mean[key], state=state)
    return trial.verdicts()


def _shifts(base: "pd.Series[Any]", head: "pd.Series[Any]") -> dict[str, Location]:
    """Return the change of each case, whose error has the variation between runs."""
    return with_run_to_run(dict(zip(base.index, map(shift, base, head), strict=True)))


def with_run_to_run(shifts: Mapping[str, Location]) -> dict[str, Location]:
    """Add the variance between runs to the error of each case's change between two runs.

    No error is known if fewer than `MIN_CASES` cases have one of their own: then every verdict is `undecided`.
    """
    with_error = [shift for shift in shifts.values() if shift.freedom]
    if len(with_error) < MIN_CASES:
        return {case: replace(shift, error=math.nan, freedom=0.0) for case, shift in shifts.items()}
    typical = float(np.median([shift.error**2 for shift in with_error]))
    variance = max(0.0, scatter(np.array([shift.value for shift in with_error])) ** 2 - typical)
    wider = {case: shift.plus(variance) for case, shift in shifts.items()}
    return {case: replace(shift, freedom=min(shift.freedom, MAX_FREEDOM)) for case, shift in wider.items()}


def scatter(values: np.ndarray) -> float:
    """Estimate the standard deviation by Qn, from at least two values."""
    values = values[:: math.ceil(len(values) / MAX_SCATTERED)]
    n = len(values)
    half = n // 2 + 1
    distances = np.abs(np.subtract.outer(values, values))[np.triu_indices(n, 1)]
    small = n / (n + 1.4) if n % 2 else n / (n + 3.8)  # for few values, from the same paper
    return small * QN_TO_SPREAD * float(np.partition(distances, math.comb(half, 2) - 1)[math.comb(half, 2) - 1])


def times_as_many(finding: Finding) -> float:
    """Return how many times the replicates an undecided case takes until its interval lies on one side of the margin.

    An interval gets narrower with the square root of the number of replicates. Infinite if the case has no interval,
    or lies on the margin; at least 1.
    """
    estimate = finding.deciding
    if estimate is None:
        return math.inf
    centre = math.log(estimate.value)
    half = max(math.log(estimate.upper) - centre, centre - math.log(estimate.lower))
    distance = abs(abs(centre) - math.log1p(finding.margin))
    return max(1.0, (half / distance) ** 2) if distance else math.inf
