"""What the cases of a session share, with a fake worker."""

from pathlib import Path

import pytest

from rnnbench.pytest_plugin import session
from rnnbench.pytest_plugin.clock import BlockClock
from rnnbench.pytest_plugin.collecting import Chosen
from rnnbench.suite_file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import FakeWorkers


def test_each_suite_of_a_folder_is_observed_by_its_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_steps: list[int] = []
    workers = FakeWorkers(lambda request: compiled_steps.append(request["compiled_steps"]))
    monkeypatch.setattr(session, "WorkerProcess", workers)
    with session.open_session() as shared:
        for steps in (32, 8, 32):
            shared.observe(Chosen(small.case("gru"), tmp_path, Settings(compiled_steps=steps), BlockClock()))
    assert compiled_steps == [32, 8, 32]
    assert len(workers.started) == 2
    assert workers.are_closed
