"""The start of a run: the first worker describes itself and the devices, and measures the best rates of the machine."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.process import OBSERVER, Asker, WorkerProcess, compiler_cache, ready
from rnnbench.harness.devices import BACKENDS
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.protocol import Reply
from rnnbench.store.records import Group, Workload
from rnnbench.suite.file import Settings


@dataclass(frozen=True)
class RunStart:
    """What is known about a run before anything is measured, and the worker that reported it."""

    first: Asker
    software: dict[str, Any]  # the worker's hello, with the settings that its cases get, and the card of each device
    devices: dict[str, Reply]  # of the groups, by name
    began: float  # on the clock of the run
    worker_seconds: float  # that the worker took to start
    kernels: Path  # a folder for kernels that workers build for this machine

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
) -> Iterator[RunStart]:
    """Start the first worker, which ends with the context; workers of the context share a cache of torch.compile.

    Raises UserError if no worker can start.
    """
    began = now()
    with compiler_cache(), scratch("kernels") as kernels, ExitStack() as stack:
        start = partial(start_worker, OBSERVER)
        worker, about = ready(start)
        first = stack.enter_context(closing(Asker(settings, start, worker)))
        worker_seconds = now() - began
        devices: dict[str, Reply] = {}
        for name in dict.fromkeys(group.workload.device for group in groups):
            devices[name] = reply = first.ask(protocol.device(name), allowed_cores())
            if not reply["ok"]:  # the driver lists the device, but it does not work
                devices[name] = reply | {"no_energy": reply["reason"], "name": "", "uuid": None}
        cards = {
            name: [{"name": reply["name"], "uuid": reply["uuid"]}] for name, reply in devices.items() if reply["uuid"]
        }
        of_cases = about.get("settings", {}) | case_settings(group.workload for group in groups)
        software = about | {"settings": of_cases, "devices": cards}
        yield RunStart(first, software, devices, began, worker_seconds, kernels)


def case_settings(workloads: Iterable[Workload]) -> dict[str, str]:
    """The settings of torch that cases get for their device and dtype, by name; each value with its cases if several.

    A worker's hello has the values before its first case, which say nothing of the cases.
    """
    values: dict[str, dict[str, dict[str, None]]] = {}  # setting -> value -> device and dtype
    for workload in workloads:
        kind = workload.device.partition(":")[0]
        for name, value in BACKENDS[kind].settings(workload.dtype).items() if kind in BACKENDS else ():
            values.setdefault(name, {}).setdefault(str(value), {})[f"{workload.device} {workload.dtype}"] = None
    return {
        name: next(iter(by_value))
        if len(by_value) == 1
        else "; ".join(f"{value}: {', '.join(places)}" for value, places in by_value.items())
        for name, by_value in values.items()
    }
