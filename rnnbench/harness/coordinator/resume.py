"""What an earlier part of a run left behind, so that `--resume` goes on where it ended."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnbench.analysis.environments import differences
from rnnbench.errors import UserError
from rnnbench.store.folder import last_measurements
from rnnbench.store.records import Group, Measurement, Window, Workload
from rnnbench.store.run_info import RunInfo
from rnnbench.suite.suites import Suite, grouped

# A group's complete visit: the windows of cases that count as measured (a case that has failed since has no time), and
# the seconds from the start of its first window to the end of its last.
Visit = tuple[Group, list[Window], float]


@dataclass(frozen=True)
class RunState:
    """The state of a run; empty for a new one."""

    measurements: dict[str, Measurement] = field(default_factory=dict)  # case key -> its last line
    groups: list[Group] = field(default_factory=list)  # of the whole run, in their order
    visits: list[Visit] = field(default_factory=list)
    replicates: int = 0
    workers: int = 0
    seconds: float = 0.0  # from the run's start to its last window's end


def read_state(path: Path, part: str | None = None) -> RunState:
    """The state of a stored run, or of a part; incomplete visits are left out, as everywhere."""
    from rnnbench.store.frames import read_windows  # here, since it imports pandas

    measurements = last_measurements(path, part)
    groups = {group.workload: group for group in grouped(known.case for known in measurements.values())}
    windows = list(read_windows(path, measurements, part))
    visits: dict[tuple[str, Workload], list[Window]] = {}
    for window in windows:
        visits.setdefault((window.worker, measurements[window.case].case.workload), []).append(window)
    return RunState(
        measurements=measurements,
        groups=list(groups.values()),
        visits=[
            (
                groups[workload],
                [window for window in taken if measurements[window.case].status == "measured"],
                taken[-1].started + taken[-1].host_seconds - taken[0].started,
            )
            for (_, workload), taken in visits.items()
            if len(taken) == taken[0].turns
        ],
        replicates=max((window.replicate + 1 for window in windows), default=0),
        workers=max((int(window.worker.rpartition("-")[2]) + 1 for window in windows), default=0),
        seconds=max((window.started + window.host_seconds for window in windows), default=0.0),
    )


def refuse_other_machine(path: Path, info: RunInfo, environment: dict[str, Any]) -> None:
    """Raise UserError if resuming would mix two machines or environments in one run."""
    here = replace(info, environment=environment, ceilings=[])  # its rates are not measured yet
    apart = differences(info, here)
    then, now = (each.get("machine", {}).get("cores_allowed") for each in (info.environment, environment))
    if not apart and then != now:  # its workers stay on the same ones
        apart = [f"allowed cores were {then} and are {now}"]
    if apart:
        raise UserError(f"{path}: can't be resumed here: {'; '.join(apart)}; start a new run")


def refuse_other_suite(path: Path, info: RunInfo, suite: Suite) -> None:
    """Raise UserError if a run belongs to another suite, or the suite's sweeps have changed since."""
    if info.suite != suite.name:
        raise UserError(f"{path}: it is a run of the suite {info.suite!r}, not of {suite.name!r}; give that suite")
    if info.resolved.get("sweep") != suite.model_dump(mode="json")["sweep"]:
        raise UserError(f"{path}: the sweeps of {suite.name!r} have changed since; start a new run")
