"""The deadlines of requests to a worker."""

import pytest

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.asking import deadline_seconds
from rnnbench.harness.protocol import Building, Request
from rnnbench.store.records import Implementation
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.visits import TURNS


def deadlines(implementation: Implementation, **settings: float) -> set[float]:
    """The deadlines of all requests that build a case."""
    building, case = Building("", 16), small.case("gru", implementation)
    requests: list[Request] = [
        building.observe(case),
        building.energy(case, 0.01),
        building.profile(case, "", 0.01),
        building.prepare(case, 0.01, None),
    ]
    return {deadline_seconds(request, Settings.model_validate(settings)) for request in requests}


def test_a_case_that_compiles_has_a_deadline_of_its_own() -> None:
    assert deadlines("loop") == {120.0}
    assert deadlines("compiled") == {600.0}
    assert deadlines("compiled", compile_deadline_seconds=50.0, deadline_seconds=40.0) == {50.0}


def test_a_case_that_compiles_never_has_less_time_than_others() -> None:
    assert deadlines("compiled", deadline_seconds=900.0) == {900.0}


@pytest.mark.parametrize(
    "request_", [protocol.visit([small.case("gru", "compiled")], [TURNS], [], "run", 0.0), protocol.release()]
)
def test_what_compiles_nothing_has_the_common_deadline(request_: Request) -> None:
    assert deadline_seconds(request_, Settings()) == 120.0
