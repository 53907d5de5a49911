"""The deadlines of requests to a worker."""

from typing import Any

import pytest

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.asking import deadline_seconds
from rnnbench.harness.protocol import Building, Request
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.visits import TURNS

BUILDING, EAGER, COMPILED = Building("", 16), small.case("gru"), small.case("gru", "compiled")


@pytest.mark.parametrize(
    ("asked", "settings", "seconds"),
    [
        (BUILDING.observe(EAGER), {}, 120.0),
        (BUILDING.observe(COMPILED), {}, 600.0),
        (BUILDING.energy(COMPILED, 0.01), {"compile_deadline_seconds": 50.0, "deadline_seconds": 40.0}, 50.0),
        (BUILDING.prepare(COMPILED, 0.01, None), {"deadline_seconds": 900.0}, 900.0),  # never less than others
        (BUILDING.count(EAGER, "callgrind"), {}, 2400.0),
        (protocol.visit([COMPILED], [TURNS], [], "run", 2.0), {}, 160.0),  # it is compiled by then
        (protocol.release(), {}, 120.0),
    ],
)
def test_what_compiles_or_counts_has_a_deadline_of_its_own_and_a_visit_one_that_follows_from_its_turns(
    asked: Request, settings: dict[str, Any], seconds: float
) -> None:
    assert deadline_seconds(asked, Settings.model_validate(settings)) == seconds
