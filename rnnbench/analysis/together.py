"""Several runs side by side, by each case's ratio to the reference of the same group and run.

Times of two machines, or of two days, are never divided by each other. Each run's cells are compared with the reference
that was measured beside them, and these ratios are compared between runs; the machine, torch or the code may differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnbench.analysis.environments import machine_differences
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.stored import StoredRun, estimated_ratios, judged_shifts, located_ratios, shifts_between
from rnnbench.analysis.verdict import Judged
from rnnbench.errors import UserError
from rnnbench.store.processor import Processor
from rnnbench.store.records import Case
from rnnbench.store.run_info import RunInfo

LOADS = ("load", "load_at_the_end")  # keys of the environment that always differ


@dataclass(frozen=True)
class TogetherRow:
    """One case over the runs; None if a run has no ratio of it."""

    case: Case
    ratios: tuple[Estimate | None, ...]  # of the typical call, one for each run
    changes: tuple[Judged | None, ...]  # each later run against the first; None if the machines differ too


@dataclass(frozen=True)
class Together:
    """All cases that two runs or more have, and what differs between the runs' environments."""

    runs: tuple[tuple[str, RunInfo], ...]
    margin: float
    rows: tuple[TogetherRow, ...]
    alone: int  # cases that only one run has
    unlike: Mapping[str, tuple[Any, ...]]  # key of the environment -> its value in each run
    machines: tuple[tuple[str, ...], ...]  # what differs in each later run's from the first one's


def together(runs: Sequence[StoredRun], margin: float) -> Together:
    """Line up the runs' cases; up to `margin` is no difference. A run of another machine gets no verdicts.

    Raises UserError if no case is in two runs.
    """
    located, estimated = [located_ratios(run) for run in runs], [estimated_ratios(run) for run in runs]
    cases = {
        key: measurement.case
        for run in runs
        for key, measurement in run.measurements.items()
        if not measurement.case.is_reference
    }
    counts = {key: sum(key in of_run for of_run in located) for key in cases}
    common = [key for key, count in counts.items() if count > 1]
    if not common:
        names = " and ".join(run.name for run in runs)
        raise UserError(f"{names} have no case with a ratio in common; `rnnbench list cases SUITE` shows a suite's")
    judged = []
    machines = [tuple(machine_differences(runs[0].info, run.info, ("the first run", "this run"))) for run in runs[1:]]
    for other, apart in zip(located[1:], machines, strict=True):
        judged.append(
            {} if apart else judged_shifts(*shifts_between(located[0], other, common), dict.fromkeys(common, margin))
        )
    rows = [
        TogetherRow(
            cases[key],
            tuple(of_run.get(key) for of_run in estimated),
            tuple(verdicts.get(key) for verdicts in judged),
        )
        for key in common
    ]
    alone = sum(count == 1 for count in counts.values())
    infos = tuple((run.name, run.info) for run in runs)
    return Together(infos, margin, tuple(rows), alone, unlike([run.info for run in runs]), tuple(machines))


def unlike(infos: Sequence[RunInfo]) -> dict[str, tuple[Any, ...]]:
    """The keys of the environments that differ between runs, with each run's value; None if it has none."""
    flat = [_flat({key: value for key, value in info.environment.items() if key not in LOADS}) for info in infos]
    keys = dict.fromkeys(key for environment in flat for key in environment)
    by_key = {key: tuple(environment.get(key) for environment in flat) for key in keys}
    return {key: values for key, values in by_key.items() if any(value != values[0] for value in values)}


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a: b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{above}: {key}" if above else key
        if key == "processor":
            flat[name] = Processor.from_json(value)  # one line of a table, not ten
        else:
            flat |= _flat(value, name) if isinstance(value, Mapping) else {name: value}
    return flat
