import json
import os
import resource
import subprocess
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from rnnbench.harness.coordinator import environment
from rnnbench.harness.devices import cpu
from rnnbench.harness.machine import cores
from rnnbench.harness.machine import git as repository


def test_the_environment_says_what_a_reader_needs_and_fits_into_json(tmp_path: Path) -> None:
    facts = environment.describe(tmp_path)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["machine"]["cpu"]
    assert facts["machine"]["cores_allowed"] == cores.allowed_cores()
    assert facts["software"]["packages"]["torch"]
    assert facts["git"] is None


def test_the_commit_is_named_and_a_change_to_it_is_seen(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    state = repository.state(tmp_path)
    assert state is not None
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    (tmp_path / "file").write_text("two")
    changed = repository.state(tmp_path)
    assert changed is not None
    assert changed["dirty"]


class Times(NamedTuple):
    user: float = 0.0
    idle: float = 0.0
    steal: float = 0.0


def no_answer() -> tuple[float, float, float]:
    raise OSError("Load averages are unobtainable")


def test_a_sandbox_without_proc_tells_less_and_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (-1, -1))
    monkeypatch.setattr(cpu, "memory_limits", list)
    assert environment.describe(tmp_path)["machine"]["memory_bytes"] is None
    assert environment.load()["steal_share"] is None
    assert cpu.Cpu().memory_bytes() is None


def test_a_sandbox_that_counts_no_time_has_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_times", Times)
    monkeypatch.setattr(os, "getloadavg", no_answer, raising=False)
    assert environment.load() == {"load_average": None, "steal_share": None}
    monkeypatch.setattr(psutil, "cpu_times", lambda: Times(70.0, 20.0, 10.0))
    assert environment.load() == {"load_average": None, "steal_share": 0.1}
