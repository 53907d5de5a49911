"""What the cases of a pytest session share: a worker that observes them, and torch's settings at the start."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import pytest

from rnnbench.harness.coordinator.asking import Asker
from rnnbench.harness.coordinator.origin import COMPILE_ALONE
from rnnbench.harness.coordinator.process import WorkerProcess, compiler_cache
from rnnbench.harness.coordinator.start import OBSERVER
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.global_state import TorchState, capture
from rnnbench.harness.protocol import Building
from rnnbench.pytest_plugin.collecting import Chosen
from rnnbench.store.records import Measurement
from rnnbench.suite_file import Settings

NO_ENERGY = {"energy_joules": "not measured under pytest"}


@dataclass
class ObservingSession:
    """Observes cases in a worker, as `rnnbench run` does: probes change their process, and so its times."""

    observers: dict[tuple[Path, Settings], Asker] = field(default_factory=dict)  # of each suite

    @cached_property
    def torch_state(self) -> TorchState:
        """torch's settings before the first case."""
        return capture()

    def observe(self, chosen: Chosen) -> Measurement:
        """Everything known about a case beside its time; if that fails, skips or fails the test with a reason."""
        __tracebackhide__ = True
        suite = chosen.root, chosen.settings
        if suite not in self.observers:
            self.observers[suite] = Asker(chosen.settings, partial(WorkerProcess, OBSERVER))
        building = Building(str(chosen.root.resolve()), chosen.settings.compiled_steps)
        reply = self.observers[suite].ask(building.observe(chosen.case), allowed_cores())
        if not reply["ok"]:
            end = pytest.skip if reply["status"] == "skipped" else partial(pytest.fail, pytrace=False)
            end(reply["reason"])
        return Measurement.from_json(reply["measurement"])

    def close(self) -> None:
        """End all workers."""
        for asker in self.observers.values():
            asker.close()


@contextmanager
def open_session() -> Iterator[ObservingSession]:
    """A session whose worker and this process share the cache of torch.compile."""
    with compiler_cache(), pytest.MonkeyPatch.context() as patch:
        for name, value in COMPILE_ALONE.items():
            if name not in os.environ:
                patch.setenv(name, value)
        session = ObservingSession()
        try:
            yield session
        finally:
            session.close()
