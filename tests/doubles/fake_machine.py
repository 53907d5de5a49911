"""A machine with GPUs, whose workers speak the protocol, and runs on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.harness.coordinator.resume import RunState, read_state
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.start import started
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import FakeClock, FakeWorker
from tests.doubles.stored import INFO, rows

A, B = "aaaa", "bbbb"


def gpu_groups(count: int, device: str = "cuda") -> list[Group]:
    """Groups of a hand-written cell and its reference, in order of batch size."""
    return [
        Group(
            small.workload(batch_size=size, device=device),
            (
                small.case("vanilla", batch_size=size, device=device),
                small.reference_case(batch_size=size, device=device),
            ),
        )
        for size in range(1, count + 1)
    ]


class OnMachine(FakeWorker):
    """A worker on the machine."""

    def __init__(self, name: str, machine: "Machine") -> None:
        super().__init__(name, machine.clock, lambda message: None, lambda key: 0.01)
        self.machine = machine

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        if message["op"] == "device":
            return {"ok": True, "reason": "", "no_energy": "", **self._card(message["device"])}
        if message["op"] == "energy":
            return {"ok": True, "values": {"energy_joules": 0.5}, "missing": {}}
        reply = super().request(message, deadline_seconds)
        for window in reply.get("windows", ()):
            device = window["case"].partition("device=")[2].partition(" ")[0]
            self.machine.timed.append((self.name, device))
            window["device_uuid"] = self._card(device)["uuid"]
        return reply

    def _card(self, device: str) -> dict[str, Any]:
        if device == "cpu":
            return {"name": "", "uuid": None}
        uuid = list(self.machine.cards)[int(device.partition(":")[2] or 0)]
        return {"name": self.machine.cards[uuid], "uuid": uuid}


class Machine:
    """Cards by UUID with their models, in the driver's order."""

    def __init__(self, cards: Mapping[str, str], kind: type[OnMachine] = OnMachine) -> None:
        self.cards = dict(cards)
        self.clock = FakeClock()
        self.workers: list[OnMachine] = []
        self.timed: list[tuple[str, str]] = []  # worker and device of each window
        self._kind = kind

    def start(self, name: str) -> Any:
        """Start a worker."""
        self.workers.append(self._kind(name, self))
        return self.workers[-1]


class Run:
    """A run on a machine, into a new or an existing folder."""

    def __init__(self, parent: Path, machine: Machine, groups: Sequence[Group], path: Path | None = None) -> None:
        self.machine = machine
        self.state = read_state(path) if path else RunState()
        self.groups = self.state.groups if path else groups
        self.folder = RunFolder(path) if path else RunFolder.create(parent, "test")

    def go(self) -> pd.DataFrame:
        """Measure all groups; returns the run's windows."""
        settings = Settings(replicates=3, windows=2, precision=None)
        options: dict[str, Any] = {"start_worker": self.machine.start, "now": self.machine.clock}
        root = self.folder.path.parent
        try:
            with started(self.groups, settings, **options) as start:
                self.said = start.software | {"unusable": start.unusable}
                self.runner = Runner(
                    self.groups, settings, start, self.folder, root=root, state=self.state, seed=1, **options
                )
                self.folder.write_info(INFO)
                self.runner.run()
        finally:
            self.folder.close()
        assert all(worker.closed for worker in self.machine.workers)
        return rows(self.folder.path)
