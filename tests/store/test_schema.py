"""The schema of a run's records: a message names the wrong value, what was expected and what was found."""

import json
from dataclasses import replace
from typing import Any

import pytest

from rnnbench.store import schema
from rnnbench.store.profiles import Kernels, Profile
from rnnbench.store.records import Measurement
from tests.analysis.profiles import cause, profile
from tests.doubles import stored
from tests.doubles import workload as small
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"calls": 0}, "calls: expected a whole number of 1 or more, found 0"),
        ({"calls": True}, "calls: expected a whole number of 1 or more, found True"),
        ({"order": 10**30}, "order: expected a whole number of 0 or more, found a number that is too large"),
        ({"seconds": float("nan")}, "seconds: expected a number above 0, found nan"),
        ({"seconds": 10**400}, "seconds: expected a number above 0, found a number that is too large"),
        ({"quantiles": []}, r"quantiles: expected a list, each a number above 0, found \[\]"),
        ({"quantiles": [0.0]}, "quantiles: expected a list"),
        ({"cores": "all"}, "cores: expected a list"),
        ({"worker": "../../x"}, "worker: expected a number, after a part's name where there is one, found"),
        ({"order": 1, "turns": 1}, "order: expected less than turns, which is 1, found 1"),
        ({"run": "../x"}, "run: expected an id of at most 32 letters and digits, found"),
        ({"case": "\ud800"}, r"case: expected text, found '\\ud800'"),
    ],
)
def test_a_window_that_is_none_is_told(change: dict[str, Any], words: str) -> None:
    assert_told(schema.window_fault(WINDOW | change), words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "done"}, "status: expected one of pending, measured, skipped, failed, found 'done'"),
        ({"reference": 3}, "reference: expected"),
        ({"batch_size": 0}, "batch_size: expected a whole number of 1 or more"),
        ({"batch_size": 4}, "case: is not that of its axes, 'cell=gru implementation=loop"),
        ({"parameters": "7"}, "parameters: expected a number, or null, found '7'"),
        ({"missing": {"macs": 3}}, "missing: expected an object, each text"),
    ],
)
def test_a_measurement_that_is_none_is_told(change: dict[str, Any], words: str) -> None:
    assert_told(schema.measurement_fault(MEASUREMENT | change), words)


def deep(levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(levels):
        tree = {"a": tree}
    return tree


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"suite": "../../x"}, "suite: expected letters, digits, '.', '_' and '-', none of these three first, found"),
        ({"id": "/abs"}, "id: expected an id of at most 32 letters and digits, found '/abs'"),
        ({"notes": "a"}, "notes: expected a list, each text, found 'a'"),
        ({"ceilings": [{}]}, "ceilings: expected a list, each the limits of a machine"),
        ({"environment": {"machine": 3}}, "environment.machine: expected an object, found 3"),
        ({"environment": {"machine": {"cores_allowed": 3}}}, "environment.machine.cores_allowed: expected a list"),
        ({"environment": {"machine": {"processor": 3}}}, "environment.machine.processor: expected the identity of a"),
        ({"environment": {"machine": {"processor": ODD}}}, "environment.machine.processor: expected the identity of a"),
        ({"environment": deep(60)}, "environment: expected an object of plain values, found {'a': {"),
        ({"environment": deep(900)}, "environment: expected an object of plain values, found "),
        ({"environment": {"git": "abc"}}, "environment.git: expected an object, or null, found 'abc'"),
        ({"environment": {"slurm": [1]}}, "environment.slurm: expected an object, or null"),
        ({"environment": {"software": {"packages": "torch"}}}, "environment.software.packages: expected an object, or"),
        ({"environment": {"worker": {"devices": []}}}, "environment.worker.devices: expected an object, each a list"),
        ({"environment": {"worker": {"devices": {"cuda": [{}]}}}}, "environment.worker.devices: expected an object"),
        (
            {"resolved": {"measure": {"period_seconds": "1ms"}}},
            "resolved.measure.period_seconds: expected a number above 0, or null, found '1ms'",
        ),
        (
            {"resolved": {"measure": {"precision": [2]}}},
            "resolved.measure.precision: expected a number above 0, or null",
        ),
        ({"resolved": {"check": []}}, r"resolved.check: expected an object, found \[\]"),
    ],
)
def test_a_run_json_that_is_none_is_told(change: dict[str, Any], words: str) -> None:
    assert_told(schema.info_fault(INFO | change), words)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (("case",), 3, "case: expected text, found 3"),
        (("status",), "done", "status: expected one of profiled, failed, found 'done'"),
        (("steps",), 0, "steps: expected a whole number of 1 or more, found 0"),
        (("times", "call"), [], "times: expected an object, each a list, each a number above 0"),
        (("operators",), [3], "operators: expected a list, each an object"),
        (("operators", 1, "category"), "new", r"operators\[1\].category: expected one of products, pointwise,"),
        (("operators", 1, "part"), "", r"operators\[1\].part: expected one of forward, backward, optimizer, found ''"),
        (("operators", 1, "seconds"), [1e-6], r"operators\[1\].seconds: expected 3 rounds, as times.call has, found 1"),
        (("times", "forward"), [1e-6], "times.forward: expected 3 rounds, as times.call has, found 1"),
        (("causes", 0, "kind"), "magic", r"causes\[0\].kind: expected one of copy, concatenation, "),
        (("causes", 0, "seconds"), [float("nan")] * 3, r"causes\[0\].seconds: expected a list, each a number, found"),
        (("kernels",), 3, "kernels: expected an object, or null, found 3"),
        (("kernels", "launches"), -1, "kernels.launches: expected a whole number of 0 or more"),
        (
            ("kernels", "seconds"),
            {"new": 1.0},
            "kernels.seconds: expected an object, each a number of 0 or more by one of",
        ),
        (("memory",), [[0.0]], r"memory: expected a list, each \[seconds, bytes\]"),
        (("memory_parts",), [["", 0.0]], r"memory_parts: expected a list, each \[part, seconds\]"),
        (("files",), {"trace": None}, "files: expected an object, each a path inside the run's folder"),
    ],
)
def test_a_profile_that_is_none_is_told(at: tuple[Any, ...], value: Any, words: str) -> None:
    assert_told(schema.profile_fault(changed(PROFILE, at, value)), words)


@pytest.mark.parametrize(
    "at",
    [
        *((name,) for name in ("case", "status", "times")),
        *(("times", arm) for arm in ("call", "unprofiled", "profiled")),
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


def assert_told(fault: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        raise ValueError(fault)
