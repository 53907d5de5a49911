"""Known cheats, in the requests of a worker: each one fails."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.visits import operations, visit

SIZES: dict[str, Any] = {"batch_size": 4, "hidden_size": 8, "dtype": "float32"}
BUILDING = Building(str(Path(__file__).parent), 64)
TURNS = Turns(turns=2, blocks=3, calls=5, is_warm=False)
VISITS = 2


def case_of(name: str, **axes: Any) -> Case:
    return Case(f"cells.py:{name}", "sequence", small.workload(**{**SIZES, **axes}))


def outcome(case: Case, visits: int = VISITS) -> str:
    """Do what a run does with one case; returns the first reason for which it fails."""
    observer, worker = (operations() for _ in range(2))
    observed: Any = observer.handle({**BUILDING.observe(case)})
    if not observed["ok"]:
        return str(observed["reason"])
    requests = [BUILDING.prepare(case, 0.001, 1e-4), *[visit(case, turns=TURNS)] * visits]
    requests += [BUILDING.verify(case)]
    replies: list[Any] = []
    for request in requests:
        replies.append(worker.handle({**request}))
        if not replies[-1]["ok"]:
            return str(replies[-1]["reason"])
    return ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MemoByIdentity", "parity after timing: final h is off by"),
        ("MemoByAddress", "parity after timing: final h is off by"),
        ("FirstResult", "parity after timing: final h is off by"),
        ("EarlyReturn", "parity after timing: final h is off by"),
        ("MemoUncompared", "parity after timing: output is off by"),
    ],
)
def test_a_cheat_fails_with_its_reason(name: str, reason: str) -> None:
    assert outcome(case_of(name)).startswith(reason)


@pytest.mark.parametrize("phase", ["inference", "training", "step", "epoch"])
def test_an_honest_module_does_not_fail(phase: str) -> None:
    assert outcome(case_of("Honest", phase=phase, samples=6 if phase == "epoch" else 0)) == ""


@pytest.mark.parametrize("name", ["HonestUncompared", "RandomUncompared"])
def test_a_class_that_can_not_be_compared_may_draw_numbers_but_keep_nothing(name: str) -> None:
    assert outcome(case_of(name)) == ""
