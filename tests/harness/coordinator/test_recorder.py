"""How long a worker may take for a request."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.store.records import Implementation
from rnnbench.suite_file import Settings
from tests import workload as small


class Patient:
    """A worker that answers with the seconds that it was given."""

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        return {"ok": True, "deadline": deadline_seconds}


def deadlines(implementation: Implementation, **settings: float) -> set[float]:
    """Of all requests that build a case."""
    wanted = Settings.model_validate(settings)
    recorder, worker, case = Recorder(Path(), wanted, {}), Patient(), small.case("gru", implementation)
    requests = [recorder.observe_request(case), recorder.energy_request(case), recorder.profile_request(case, Path())]
    requests.append(recorder.observe_request(case) | {"op": "prepare"})
    return {recorder.ask(worker, request)["deadline"] for request in requests}  # type: ignore[arg-type]


def test_a_case_that_compiles_has_a_deadline_of_its_own() -> None:
    assert deadlines("loop") == {120.0}
    assert deadlines("compiled") == {600.0}
    assert deadlines("compiled", compile_deadline_seconds=50.0, deadline_seconds=40.0) == {50.0}


def test_a_case_that_compiles_never_has_less_time_than_others() -> None:
    assert deadlines("compiled", deadline_seconds=900.0) == {900.0}


@pytest.mark.parametrize("request_", [{"op": "window", "case": "cell=gru implementation=compiled"}, {"op": "release"}])
def test_what_compiles_nothing_has_the_common_deadline(request_: dict[str, Any]) -> None:
    worker: Any = Patient()
    assert Recorder(Path(), Settings(), {}).ask(worker, request_)["deadline"] == 120.0
