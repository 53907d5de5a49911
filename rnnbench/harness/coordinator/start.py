"""The start of a run: the first worker describes itself and the devices, and the run is planned accordingly."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.asking import Asker, hello
from rnnbench.harness.coordinator.lanes import Lane, plan_lanes
from rnnbench.harness.coordinator.process import WorkerProcess, compiler_cache
from rnnbench.harness.devices import Card
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.machine.variables import library_notes
from rnnbench.harness.protocol import DeviceReply
from rnnbench.store.records import Group, Workload
from rnnbench.suite_file import Settings

OBSERVER = "observer"  # name of the workers that time nothing


@dataclass(frozen=True)
class RunStart:
    """What is known about a run before anything is measured, and the worker that reported it."""

    first: Asker  # its worker sees all devices
    hello: dict[str, Any]
    devices: dict[str, DeviceReply]  # of the groups, by name
    stages: list[list[Lane]]  # one after another; the lanes of a stage at the same time
    notes: list[str]
    began: float  # on the clock of the run
    worker_seconds: float  # that the worker took to start
    kernels: Path  # a folder for kernels that workers build for this machine

    @property
    def unusable(self) -> dict[str, str]:
        """The devices of the groups that can't be used, with the reason."""
        return {name: reply["reason"] for name, reply in self.devices.items() if reply["reason"]}

    @property
    def software(self) -> dict[str, Any]:
        """The worker's hello, and the cards that are used of each device."""
        cards: dict[str, list[dict[str, Any]]] = {}
        for lane in (lane for stage in self.stages for lane in stage):
            if lane.card.uuid:
                cards.setdefault(lane.device, []).append({"name": lane.card.name, "uuid": lane.card.uuid})
        return self.hello | {"devices": cards}


@contextmanager
def started(
    groups: Sequence[Group],
    settings: Settings,
    *,
    previous_cards: Mapping[Workload, str] | None = None,
    start_worker: Callable[..., WorkerProcess] = WorkerProcess,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[RunStart]:
    """Start the first worker, which ends with the context; workers of the context share a cache of torch.compile.

    `previous_cards`: the UUIDs of the cards that groups were measured on before, and will be again. Raises UserError if
    no worker can start or one of these cards is missing.
    """
    began = now()
    with compiler_cache(), scratch("kernels") as kernels:
        worker = start_worker(OBSERVER)
        first = Asker(settings, partial(start_worker, OBSERVER), worker)
        try:
            about = hello(worker)
            worker_seconds = now() - began
            devices = {name: _device(first, name) for name in dict.fromkeys(group.workload.device for group in groups)}
            stages, notes = plan_lanes(groups, devices, previous_cards or {})
            yield RunStart(first, about, devices, stages, [*library_notes(), *notes], began, worker_seconds, kernels)
        finally:
            first.close()


def _device(first: Asker, name: str) -> DeviceReply:
    reply = first.ask(protocol.device(name), allowed_cores())
    if reply["ok"]:
        return reply
    # The driver lists the device, but it does not work.
    return DeviceReply(ok=True, reason=reply["reason"], no_energy=reply["reason"], cards=[asdict(Card())])
