"""The deadlines of requests to a worker."""

from typing import Any

import pytest

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.asking import ask
from rnnbench.harness.protocol import Building, PlanFields, Request
from rnnbench.store.records import Implementation
from rnnbench.suite_file import Settings
from tests import workload as small

PLAN = PlanFields(batches=1, batch=1, seconds=0.01, cold=False)


class Patient:
    """A worker that records the deadlines that it was given."""

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        return {"ok": True, "deadline": deadline_seconds}


def deadline(request: Request[Any], settings: Settings) -> float:
    reply: Any = ask(Patient(), request, settings)  # type: ignore[arg-type]
    return float(reply["deadline"])


def deadlines(implementation: Implementation, **settings: float) -> set[float]:
    """The deadlines of all requests that build a case."""
    building, case = Building("", 16), small.case("gru", implementation)
    requests: list[Request[Any]] = [
        building.observe(case),
        building.energy(case, 0.01),
        building.profile(case, ""),
        building.prepare(case, 0.01, None, cold_cache=False),
    ]
    return {deadline(request, Settings.model_validate(settings)) for request in requests}


def test_a_case_that_compiles_has_a_deadline_of_its_own() -> None:
    assert deadlines("loop") == {120.0}
    assert deadlines("compiled") == {600.0}
    assert deadlines("compiled", compile_deadline_seconds=50.0, deadline_seconds=40.0) == {50.0}


def test_a_case_that_compiles_never_has_less_time_than_others() -> None:
    assert deadlines("compiled", deadline_seconds=900.0) == {900.0}


@pytest.mark.parametrize("request_", [protocol.window(small.case("gru", "compiled"), PLAN), protocol.release()])
def test_what_compiles_nothing_has_the_common_deadline(request_: Request[Any]) -> None:
    assert deadline(request_, Settings()) == 120.0
