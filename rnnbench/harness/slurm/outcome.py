"""The content of `run.json` for a run whose parts were measured by jobs."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rnnbench.analysis.replicate import times_by_case
from rnnbench.harness.coordinator.budget import wider_than_asked
from rnnbench.harness.coordinator.resume import RunState, read_state
from rnnbench.harness.slurm.job import JOBS, first_machine, nodes
from rnnbench.harness.slurm.watch import Watch
from rnnbench.harness.turns.needed import TimeNeeded, longest
from rnnbench.harness.turns.planner import Planner, has_ratio
from rnnbench.store.ceilings import Ceiling, best_of
from rnnbench.store.folder import read_info
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import Settings
from rnnbench.text import plural

SLURM = "slurm"  # key of the environment


def summed_up(path: Path, info: RunInfo, watch: Watch, settings: Settings, *, finished: bool) -> RunInfo:
    """`info` with what all parts have recorded, and notes about all of them together."""
    names = [status.part.name for status in watch.statuses]
    part_infos = [read_info(path, name) for name in names if (path / f"run-{name}.json").exists()]
    first = first_machine(path)
    # The machines are alike, so the best that any of them reached is the limit of all.
    ceilings = best_of(ceiling for part_info in part_infos for ceiling in map(Ceiling.from_json, part_info.ceilings))
    stages = {stage for part_info in part_infos for stage in part_info.stage_seconds}
    notes = [*info.notes, *_notes(info, part_infos, watch)]
    if finished:
        notes += _imprecise(path, names, settings)
    return replace(
        info,
        status="finished" if finished else "interrupted",
        seconds=_seconds(info, watch),
        replicates=max((part_info.replicates for part_info in part_infos), default=0),
        ceilings=[ceiling.to_json() for ceiling in ceilings],
        stage_seconds={
            stage: max(part_info.stage_seconds.get(stage, 0.0) for part_info in part_infos) for stage in sorted(stages)
        },
        notes=list(dict.fromkeys(notes)),
        environment=_environment(path, info, first, watch),
    )


def _environment(path: Path, info: RunInfo, first: RunInfo | None, watch: Watch) -> dict[str, Any]:
    """The environment of the first job, which all others share, and what Slurm did for the whole run."""
    shared = info.environment if first is None else first.environment
    environment = {name: value for name, value in shared.items() if name != JOBS}
    slurm = {
        "options": info.environment[SLURM]["options"],
        "jobs": len(watch.statuses),
        "nodes": sorted(set().union(*(nodes(path, status.part.name) for status in watch.statuses))),
        "nodes left out": sorted(watch.left_out),
        "jobs lost": _lost(info, watch),
    }
    return environment | {SLURM: slurm}


def _lost(info: RunInfo, watch: Watch) -> dict[str, int]:
    """The number of lost jobs by what was the matter, also before the run was resumed."""
    lost = Counter(info.environment[SLURM].get("jobs lost", {}))
    lost.update(why for status in watch.statuses for why in status.lost)
    return dict(lost)


def _notes(info: RunInfo, part_infos: list[RunInfo], watch: Watch) -> list[str]:
    """Each note of the parts once; nodes that were left out; jobs that were lost."""
    notes = Counter(note for part_info in part_infos for note in part_info.notes)
    return [
        *(note if count == 1 else f"{note} ({count} jobs)" for note, count in notes.items()),
        *(f"node {node} was left out, since {why}" for node, why in watch.left_out.items()),
        *(f"{plural(count, 'job')} lost, since {why}" for why, count in _lost(info, watch).items()),
    ]


def _imprecise(path: Path, names: list[str], settings: Settings) -> list[str]:
    """A note about imprecise ratios; parts are read one by one, since all windows at once might be too many."""
    missed = groups = 0
    needed: list[TimeNeeded] = []
    for name in names:
        state = read_state(path, name)
        planner = Planner(state.groups, settings)
        planner.add_start(_between_visits(path, name, state))
        for visit in state.visits:
            planner.add_visit(visit.group, visit.seconds, times_by_case(visit.windows))
        missed += sum(has_ratio(group, state.measurements) for group in planner.missed())
        groups += len(state.groups)
        if more := planner.time_needed():
            needed.append(more)
    return wider_than_asked(missed, groups, settings, longest(needed), jobs=len(names))


def _between_visits(path: Path, part: str, state: RunState) -> float:
    """Seconds of a replicate of a part in which no group is timed, such as the start of a worker."""
    if not state.replicates or not (path / f"run-{part}.json").exists():
        return 0.0
    info = read_info(path, part)
    timing = (info.seconds or 0.0) - sum(info.stage_seconds.values())
    return max(0.0, timing - sum(visit.seconds for visit in state.visits)) / state.replicates


def _seconds(info: RunInfo, watch: Watch) -> float:
    """Wall time of the whole run, without the time from an interruption to its resumption, if that is known."""
    since = (datetime.now(UTC) - datetime.fromisoformat(info.started)).total_seconds()
    return round(since if info.seconds is None else info.seconds + watch.seconds, 1)
