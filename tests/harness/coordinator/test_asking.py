"""The deadlines of requests to a worker."""

from typing import Any

import pytest

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.asking import ask, deadline_seconds
from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.protocol import Building, PlanFields, Request
from rnnbench.store.records import Implementation
from rnnbench.suite_file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import FakeWorkers

PLAN = PlanFields(batches=1, batch=1, seconds=0.01)


def deadlines(implementation: Implementation, **settings: float) -> set[float]:
    """The deadlines of all requests that build a case."""
    building, case = Building("", 16), small.case("gru", implementation)
    requests: list[Request[Any]] = [
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


@pytest.mark.parametrize("request_", [protocol.window(small.case("gru", "compiled"), PLAN), protocol.release()])
def test_what_compiles_nothing_has_the_common_deadline(request_: Request[Any]) -> None:
    assert deadline_seconds(request_, Settings()) == 120.0


def replying(reply: dict[str, Any]) -> Any:
    """A worker with one reply to everything."""
    return FakeWorkers(edit=lambda *_: reply)()


BUILDING, CASE = Building("", 16), small.case("gru")
FAILED = {"ok": False, "status": "failed", "reason": "it raises"}
FITTING: list[tuple[Request[Any], dict[str, Any]]] = [
    (BUILDING.observe(CASE), {"ok": True, "measurement": {}, "imported": {}}),
    (BUILDING.energy(CASE, 0.01), {"ok": True, "values": {}, "missing": {}}),
    (BUILDING.profile(CASE, "", 0.01), {"ok": True, "profile": {}}),
    (BUILDING.prepare(CASE, 0.01, None), {"ok": True, "plan": {**PLAN}, "warmup_windows": 1}),
    (protocol.release(), {"ok": True}),
]


@pytest.mark.parametrize(("request_", "reply"), [*FITTING, *((request, FAILED) for request, _ in FITTING)])
def test_a_reply_that_fits_the_request_is_returned(request_: Request[Any], reply: dict[str, Any]) -> None:
    worker = replying(reply)
    assert ask(worker, request_, Settings()) == reply
    assert not worker.closed


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        *((request, {}) for request, _ in FITTING),
        *((request, {"ok": False}) for request, _ in FITTING),
        *((request, {"ok": True}) for request, _ in FITTING[:-1]),
        *((request, dict.fromkeys(reply, "text") | {"ok": True}) for request, reply in FITTING[:-1]),
        (protocol.window(CASE, PLAN), {"ok": True, "seconds": 1.0}),
    ],
)
def test_a_reply_that_a_case_has_forged_ends_the_worker(request_: Request[Any], reply: dict[str, Any]) -> None:
    worker = replying(reply)
    with pytest.raises(WorkerLost, match="no reply to this request, but "):
        ask(worker, request_, Settings())
    assert worker.closed
