"""How a run starts: what an earlier part of it left behind, and the first worker, which reports about the devices."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnbench.analysis.environments import differences
from rnnbench.errors import UserError
from rnnbench.harness import protocol
from rnnbench.harness.coordinator.origin import Origins
from rnnbench.harness.coordinator.process import OBSERVER, Asker, WorkerProcess, WorkerStart, compiler_cache, ready
from rnnbench.harness.devices import BACKENDS, backend, is_forkable, kinds_to_ask, nvml
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import Reply
from rnnbench.store.folder import last_measurements
from rnnbench.store.records import Group, Measurement, Window, Workload
from rnnbench.store.run_info import RunInfo
from rnnbench.store.user_cache import private_folder
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import grouped
from rnnbench.suite.suites import Suite
from rnnbench.temporary import scratch

# A group's complete visit: the windows of cases that count as measured (a case that has failed since has no time), and
# the seconds of its turns.
Visit = tuple[Group, list[Window], float]


@dataclass(frozen=True)
class EarlierRun:
    """What a run has measured before it goes on; empty for a new one."""

    measurements: dict[str, Measurement] = field(default_factory=dict)  # case key -> its last line
    groups: list[Group] = field(default_factory=list)  # of the whole run, in their order
    visits: list[Visit] = field(default_factory=list)
    replicates: int = 0
    workers: int = 0
    seconds: float = 0.0  # from the run's start to its last window's end
    part: str | None = None  # if it is of a part, whose jobs measure beside those of others
    ceilings: Sequence[Mapping[str, Any]] = ()  # as `run.json` has them


NEW_RUN = EarlierRun()


def read_earlier_run(path: Path, part: str | None = None) -> EarlierRun:
    """Return what a stored run, or a part of one, has measured; incomplete visits are left out, as everywhere."""
    from rnnbench.store.frames import read_windows  # here, since it imports pandas

    measurements = last_measurements(path, part)
    groups = {group.workload: group for group in grouped(measurement.case for measurement in measurements.values())}
    windows = list(read_windows(path, measurements, part))
    visits: dict[tuple[str, Workload], list[Window]] = {}
    for window in windows:
        visits.setdefault((window.worker, measurements[window.case].case.workload), []).append(window)
    return EarlierRun(
        measurements=measurements,
        groups=list(groups.values()),
        visits=[
            (
                _visited(groups[workload], taken, measurements),
                [window for window in taken if measurements[window.case].status == "measured"],
                sum(window.host_seconds for window in taken),
            )
            for (_, workload), taken in visits.items()
            if len(taken) == taken[0].turns
        ],
        replicates=max((window.replicate + 1 for window in windows), default=0),
        workers=max((int(window.worker.rpartition("-")[2]) + 1 for window in windows), default=0),
        seconds=max((window.started + window.host_seconds for window in windows), default=0.0),
        part=part,
    )


def _visited(group: Group, windows: Sequence[Window], measurements: Mapping[str, Measurement]) -> Group:
    """Return the group that a visit with these windows was to: without the cases of another subgroup."""
    keys = {window.case for window in windows}
    is_in = [case.key in keys or measurements[case.key].status != "measured" for case in group.cases]
    return replace(group, cases=tuple(itertools.compress(group.cases, is_in)))


def refuse_other_machine(path: Path, info: RunInfo, environment: dict[str, Any]) -> None:
    """Raise UserError if resuming would mix two machines or environments in one run."""
    here = replace(info, environment=environment, ceilings=[])  # its rates are not measured yet
    apart = differences(info, here)
    then = info.environment.get("machine", {}).get("cores_allowed")
    now = environment.get("machine", {}).get("cores_allowed")
    if not apart and then != now:  # its workers stay on the same ones
        apart = [f"allowed cores were {then} and are {now}"]
    if apart:
        raise UserError(f"{path}: can't be resumed here: {'; '.join(apart)}; start a new run")


def refuse_other_suite(path: Path, info: RunInfo, suite: Suite) -> None:
    """Raise UserError if a run belongs to another suite, or the suite's sweeps have changed since."""
    if info.suite != suite.name:
        raise UserError(f"{path}: this run is of the suite {info.suite!r}, not of {suite.name!r}; give its suite")
    if info.resolved.get("sweep") != suite.model_dump(mode="json")["sweep"]:
        raise UserError(f"{path}: the sweeps of {suite.name!r} have changed since this run began; start a new one")


@dataclass(frozen=True)
class RunStart:
    """What is known about a run before anything is measured, and the worker that reported it."""

    first: Asker
    software: dict[str, Any]  # the worker's hello, with the settings that its cases get, and the card of each device
    devices: dict[str, Reply]  # of the groups, by name
    began: float  # on the clock of the run
    worker_seconds: float  # that the worker took to start
    kernels: Path  # a folder for kernels that workers build for this machine
    origins: Origins  # of the workers of the run
    start_worker: Callable[..., WorkerProcess]
    now: Callable[[], float]  # the clock of the run
    seed: int | None  # of what is drawn, such as the order of turns; None for another one in each run

    @property
    def unusable(self) -> dict[str, str]:
        """The devices of the groups that can't be used, with the reason."""
        return {name: reply["reason"] for name, reply in self.devices.items() if reply["reason"]}


@contextmanager
def started(
    groups: Sequence[Group],
    settings: Settings,
    *,
    start_worker: Callable[..., WorkerProcess] = WorkerProcess,
    now: Callable[[], float] = time.monotonic,
    seed: int | None = None,
) -> Iterator[RunStart]:
    """Start the first worker, which ends with the context; workers of the context share a cache of torch.compile.

    Workers are forked, unless a case is on a device of which nobody knows whether forks can use it. If a forked worker
    can't use a card that the driver lists, no worker is forked from then on.

    Raises UserError if no worker can start.
    """
    began = now()
    with compiler_cache(), ExitStack() as stack:
        kernels = private_folder() or stack.enter_context(scratch("kernels"))
        names = list(dict.fromkeys(group.workload.device for group in groups))
        origins = Origins(may_fork=all(map(is_forkable, names)), kinds=kinds_to_ask(names))
        stack.enter_context(closing(origins))

        def start() -> WorkerProcess:
            return start_worker(OBSERVER, WorkerStart(origin=origins.current))

        worker, about = ready(start)
        first = stack.enter_context(closing(Asker(settings, start, worker)))
        worker_seconds = now() - began
        devices = _about_devices(first, names)
        if origins.current is not None and (lost := why_not_forked(devices)):
            origins.give_up(lost)
            first.close()
            devices = _about_devices(first, names)
        cards = {name: [_card(reply)] for name, reply in devices.items() if reply["uuid"]}
        of_cases = about.get("settings", {}) | case_settings(group.workload for group in groups)
        software = about | {"settings": of_cases, "devices": cards}
        yield RunStart(
            first,
            software,
            devices,
            began,
            worker_seconds,
            kernels,
            origins,
            start_worker=start_worker,
            now=now,
            seed=seed,
        )


def _about_devices(asker: Asker, names: Iterable[str]) -> dict[str, Reply]:
    """Ask a worker about each device; returns its replies by the names of the devices."""
    devices: dict[str, Reply] = {}
    for name in names:
        devices[name] = reply = asker.ask(protocol.device(name), allowed_cores())
        if not reply["ok"]:  # the driver lists the device, but it does not work
            devices[name] = reply | {"no_energy": reply["reason"], "name": "", "uuid": None}
    return devices


def why_not_forked(devices: Mapping[str, Reply]) -> str:
    """Return why the worker that gave these replies should not have been forked, as a clause; empty if it may.

    It should not if a card that the driver lists could not be used: whatever the origin imports may have used it.
    """
    unusable = [name for name, reply in devices.items() if reply["reason"] and backend(name).is_listed(name)]
    if not unusable:
        return ""
    return f"a forked worker could not use {unusable[0]}: {devices[unusable[0]]['reason']}"


def _card(reply: Reply) -> dict[str, Any]:
    """Return the properties of the card behind a device that a measurement does not change."""
    readings = nvml.open_gpu(reply["uuid"]).read(nvml.FIXED_READINGS - {"name"})
    return {"name": reply["name"], "uuid": reply["uuid"], **readings.values}


def case_settings(workloads: Iterable[Workload]) -> dict[str, str]:
    """Return the settings of torch for the devices and dtypes of cases, by name; each with its cases if several.

    A worker's hello has the values before its first case, which say nothing of the cases.
    """
    values: dict[str, dict[str, dict[str, None]]] = {}  # setting -> value -> device and dtype
    for workload in workloads:
        kind = workload.device.partition(":")[0]
        for name, value in BACKENDS[kind].settings(workload.dtype).items() if kind in BACKENDS else ():
            values.setdefault(name, {}).setdefault(str(value), {})[f"{workload.device} {workload.dtype}"] = None
    settings: dict[str, str] = {}
    for name, by_value in values.items():
        if len(by_value) == 1:
            settings[name] = next(iter(by_value))
        else:
            settings[name] = "; ".join(f"{value}: {', '.join(places)}" for value, places in by_value.items())
    return settings
