"""Which two runs are of one machine and one environment, and what is said of two that are not."""

from dataclasses import replace
from typing import Any

import pytest

from rnnbench.analysis.environments.differences import differences, machine_differences
from tests.doubles.ceilings import ceiling as made_up_ceiling
from tests.doubles.stored import INFO, PROCESSOR, on

UNRECORDED = "made by an rnnbench that did not record the machine's identity"


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        (("machine", "cgroup_cpu_limit"), "50000 100000", "cgroup_cpu_limit was None and is '50000 100000'"),
        (("machine", "cgroup_cpu_limit"), "max 100000", None),
        (("machine", "cores_allowed"), [0], "cores was 2 and is 1"),
        (("worker", "torch"), "2.9", "torch was '2.8' and is '2.9'"),
        (("software", "variables"), {"OMP_NUM_THREADS": "2"}, "variables was {} and is {'OMP_NUM_THREADS': '2'}"),
        (("machine", "clock_mhz"), 900, None),
    ],
)
def test_what_changes_a_ratio_though_no_cell_has_changed_is_told(
    where: tuple[str, str], value: Any, expected: str | None
) -> None:
    facts: dict[str, dict[str, Any]] = {
        "machine": {"processor": PROCESSOR.to_json(), "cores_allowed": [0, 1], "clock_mhz": 1000},
        "worker": {"torch": "2.8"},
        "software": {"variables": {}},
    }
    room, key = where
    other = facts | {room: facts[room] | {key: value}}
    base, head = (replace(INFO, environment=environment) for environment in (facts, other))
    assert differences(base, head) == ([expected] if expected else [])


def test_an_older_run_is_taken_for_what_it_was() -> None:
    older, newer = (replace(INFO, resolved={"measure": measure}) for measure in ({}, {"cold_cache": False}))
    assert differences(older, newer) == []


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        (on(None), on(PROCESSOR), f"the first run was {UNRECORDED}"),
        (on(PROCESSOR), on(None), f"this run was {UNRECORDED}"),
        (on(None), on(None), f"the first run and this run were {UNRECORDED}"),
    ],
)
def test_a_run_without_an_identity_is_like_no_other_and_only_that_is_told(base: Any, head: Any, expected: str) -> None:
    head = replace(head, resolved={"measure": {"windows": 2}})
    for told in (differences, machine_differences):
        assert told(base, head, ("the first run", "this run")) == [expected]


def rate(value: float, **worker: str) -> Any:
    """A run on a machine with one measured rate."""
    ceiling = made_up_ceiling("cpu", "float32", 1, value, [(1024, 1e9)], 1e-6, None).to_json()
    info = on(PROCESSOR, [ceiling])
    return replace(info, environment=info.environment | {"worker": worker})


def test_machines_of_one_name_and_other_rates_are_two() -> None:
    expected = ["products in BLAS reach 55 GMAC/s and reached 127 GMAC/s before (cpu float32, 1 thread)"]
    for told in (differences, machine_differences):
        assert told(rate(127e9), rate(55e9)) == expected
        assert told(rate(127e9), rate(120e9)) == []
        assert told(rate(127e9), on(PROCESSOR)) == []  # not measured


@pytest.mark.parametrize("load", [0.6, None, "much"])
def test_rates_of_a_busy_machine_say_nothing(load: Any) -> None:
    quiet, slow = rate(127e9), rate(55e9)
    busy = replace(slow, environment=slow.environment | {"load": {"load_average": load}})
    for told in (differences, machine_differences):
        assert told(quiet, slow)
        assert told(quiet, busy) == told(busy, quiet) == []


def test_rates_of_another_torch_say_nothing_about_the_machine() -> None:
    base, head = rate(127e9, torch="2.8"), rate(55e9, torch="2.9")
    assert differences(base, head) == ["torch was '2.8' and is '2.9'"]
    assert machine_differences(base, head) == []


def test_the_names_of_gpus_are_those_that_the_driver_tells_and_else_those_of_an_older_runs_worker() -> None:
    base = on(PROCESSOR)
    by_driver, by_worker = (
        replace(base, environment=base.environment | more)
        for more in ({"gpu 0": {"name": "L4"}, "gpu": "no driver"}, {"worker": {"gpus": ["L4"]}})
    )
    assert machine_differences(by_driver, by_worker) == []
    assert machine_differences(base, by_driver) == ["gpus was [] and is ['L4']"]


def test_a_machine_is_its_cores_and_gpus_too_and_not_its_software() -> None:
    base = on(PROCESSOR)
    machine = base.environment["machine"]
    fewer = replace(base, environment={"machine": machine | {"cores_allowed": [0]}})
    assert machine_differences(base, fewer) == ["cores was 0 and is 1"]
    others = replace(base, environment=base.environment | {"worker": {"gpus": ["L4"], "torch": "2.9"}})
    assert machine_differences(base, others) == ["gpus was [] and is ['L4']"]
    assert differences(base, others) == ["gpus was [] and is ['L4']", "torch was None and is '2.9'"]
