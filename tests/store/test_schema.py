"""The schema of a run's records: a message names the wrong value, what was expected and what was found."""

import json
from dataclasses import replace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.store import schema
from rnnbench.store.profiles import Kernels, Profile
from rnnbench.store.records import Measurement
from tests.doubles import stored
from tests.doubles import workload as small
from tests.profiling.profiles import cause, profile
from tests.validation.fuzz.inputs import DELETED, changed

CASE = small.case("gru")
WINDOW = stored.window(CASE, 0, [0.002, 0.003]).to_json() | {"quantiles": [0.002, 0.003], "cores": [0]}
MEASUREMENT = Measurement(CASE, "measured", parity="agrees", metrics={"parameters": 7}).to_json()
INFO: dict[str, Any] = {
    **{"suite": "s", "description": "", "command": "c", "started": "2026", "resolved": {}, "environment": {}},
    **{"ceilings": [], "notes": ["a"], "seconds": None, "stage_seconds": {"ceilings": 0.5}, "status": "finished"},
}
ODD = stored.PROCESSOR.to_json() | {"caches": [{"level": 3}]}
TAKEN = replace(profile(causes=(cause(),), backward=4e-5), kernels=Kernels(3, {"products": 1e-5}))
PROFILE, FAILED = (json.loads(json.dumps(entry.to_json())) for entry in (TAKEN, Profile("a", "failed", "busy")))


def test_what_rnnbench_writes_is_as_it_must_be() -> None:
    assert schema.window_fault(WINDOW) == ""
    assert schema.measurement_fault(MEASUREMENT) == ""
    assert schema.info_fault(INFO) == ""
    assert schema.info_fault(INFO | {"environment": {"machine": stored.MACHINE}}) == ""
    assert schema.profile_fault(PROFILE) == ""
    assert schema.profile_fault(FAILED) == ""


WINDOWS: list[Any] = [
    {"calls": 0},
    {"calls": True},
    {"order": 10**30},
    {"seconds": float("nan")},
    {"seconds": 10**400},
    {"quantiles": []},
    {"quantiles": [0.0]},
    {"cores": "all"},
    {"worker": "../../x"},
    {"order": 1, "turns": 1},
    {"run": "../x"},
    {"case": "\ud800"},
]


def test_a_window_that_is_none_is_told(snapshot: SnapshotAssertion) -> None:
    assert [schema.window_fault(WINDOW | change) for change in WINDOWS] == snapshot


MEASUREMENTS: list[Any] = [
    {"status": "done"},
    {"reference": 3},
    {"batch_size": 0},
    {"batch_size": 4},
    {"parameters": "7"},
    {"missing": {"macs": 3}},
]


def test_a_measurement_that_is_none_is_told(snapshot: SnapshotAssertion) -> None:
    assert [schema.measurement_fault(MEASUREMENT | change) for change in MEASUREMENTS] == snapshot


def deep(levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(levels):
        tree = {"a": tree}
    return tree


INFOS: list[Any] = [
    {"suite": "../../x"},
    {"id": "/abs"},
    {"notes": "a"},
    {"ceilings": [{}]},
    {"environment": {"machine": 3}},
    {"environment": {"machine": {"cores_allowed": 3}}},
    {"environment": {"machine": {"processor": 3}}},
    {"environment": {"machine": {"processor": ODD}}},
    {"environment": deep(60)},
    {"environment": deep(900)},
    {"environment": {"git": "abc"}},
    {"environment": {"slurm": [1]}},
    {"environment": {"software": {"packages": "torch"}}},
    {"environment": {"worker": {"devices": []}}},
    {"environment": {"worker": {"devices": {"cuda": [{}]}}}},
    {"resolved": {"measure": {"period_seconds": "1ms"}}},
    {"resolved": {"measure": {"precision": [2]}}},
    {"resolved": {"check": []}},
]


def test_a_run_json_that_is_none_is_told(snapshot: SnapshotAssertion) -> None:
    assert [schema.info_fault(INFO | change) for change in INFOS] == snapshot


PROFILES: list[Any] = [
    (("case",), 3),
    (("status",), "done"),
    (("steps",), 0),
    (("times", "call"), []),
    (("operators",), [3]),
    (("operators", 1, "category"), "new"),
    (("operators", 1, "part"), ""),
    (("operators", 1, "seconds"), [1e-6]),
    (("times", "forward"), [1e-6]),
    (("causes", 0, "kind"), "magic"),
    (("causes", 0, "seconds"), [float("nan")] * 3),
    (("kernels",), 3),
    (("kernels", "launches"), -1),
    (("kernels", "seconds"), {"new": 1.0}),
    (("files",), {"trace": None}),
]


def test_a_profile_that_is_none_is_told(snapshot: SnapshotAssertion) -> None:
    assert [schema.profile_fault(changed(PROFILE, at, value)) for at, value in PROFILES] == snapshot


@pytest.mark.parametrize(
    "at",
    [
        *((name,) for name in ("case", "status", "times")),
        *(("times", arm) for arm in ("call",)),
        *(("operators", 0, name) for name in ("name", "shapes", "category", "part", "calls")),
        *(("causes", 0, name) for name in ("kind", "what", "calls")),
        *(("kernels", name) for name in ("launches", "seconds")),
    ],
)
def test_what_a_profile_lacks_is_told(at: tuple[Any, ...]) -> None:
    fault = schema.profile_fault(changed(PROFILE, at, DELETED))
    assert fault == "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in at)[1:] + ": missing"


@pytest.mark.parametrize("name", schema.WINDOW_KEYS)
def test_what_a_window_lacks_is_told(name: str) -> None:
    assert schema.window_fault({key: value for key, value in WINDOW.items() if key != name}) == f"{name}: missing"
