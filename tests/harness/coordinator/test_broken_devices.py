"""A case that breaks a device fails alone: its process gets no further request."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.store.folder import RunFolder
from rnnbench.store.frames import missing_reasons
from rnnbench.store.records import Case, Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fake_machine import A, Machine, OnMachine, Run, gpu_groups
from tests.doubles.fakes import Failing, run_into
from tests.doubles.stored import rows

ILLEGAL = "AcceleratorError: CUDA error: an illegal memory access was encountered"
REASONS = [
    "out of memory: CUDA out of memory. Tried to allocate 20.00 GiB.",
    ILLEGAL,
    "AcceleratorError: CUDA error: unspecified launch failure",
]


class Poisoned(OnMachine):
    """A worker that fails at a request for one case and at every later request."""

    reason = ILLEGAL
    op = "turn"
    culprit: Case
    at_ceiling = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_broken = False
        self._fault = self._break

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        if message["op"] == self.op:
            self.is_broken |= message.get("case") in (None, self.culprit.key, self.culprit.axes())
        if self.is_broken:
            return {"ok": False, "status": "failed", "reason": self.reason}
        return super().request(message, deadline_seconds)

    def _break(self, message: dict[str, Any]) -> None:
        self.is_broken |= self.op == message["op"] == "turn" and message["case"] == self.culprit.key
        if self.is_broken:
            raise Failing({"ok": False, "status": "failed", "reason": self.reason})


def measure(parent: Path, monkeypatch: pytest.MonkeyPatch, op: str, reason: str = ILLEGAL) -> Any:
    """The frame, the run and the culprit, on a machine on which one case breaks every process that runs it."""
    groups = gpu_groups(3)
    culprit = groups[1].cases[0]
    for name, value in {"op": op, "culprit": culprit, "reason": reason}.items():
        monkeypatch.setattr(Poisoned, name, value, raising=False)
    run = Run(parent, Machine({A: "H100"}, Poisoned), groups)
    return run.go(), run, culprit


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("op", ["observe", "prepare", "turn"])
def test_the_case_fails_alone_and_the_others_are_measured_by_other_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, op: str, reason: str
) -> None:
    frame, run, culprit = measure(tmp_path, monkeypatch, op, reason)
    cases = frame.drop_duplicates("case").set_index("case")[["status", "reason"]]
    assert list(cases.loc[culprit.key]) == ["failed", reason]
    assert set(cases.drop(culprit.key)["status"]) == {"measured"}
    others = frame[frame["case"] != culprit.key]
    last = others["worker"] == others.groupby(["replicate", "batch_size"])["worker"].transform("max")
    assert set(others[last].groupby(["case", "replicate"]).size()) == {2}
    assert set(others["energy_joules"]) == {0.5}
    assert len([worker for worker in run.machine.workers if worker.is_broken]) == 1


def test_a_device_that_breaks_while_energy_is_measured_loses_the_energy_of_one_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, *_ = measure(tmp_path, monkeypatch, "energy")
    cases = frame.drop_duplicates("case").set_index("case")
    culprit = Poisoned.culprit.key
    assert missing_reasons(cases.loc[culprit, "missing"]) == {"energy_joules": ILLEGAL}
    assert set(cases.drop(culprit)["energy_joules"]) == {0.5}
    assert set(cases["status"]) == {"measured"}


def test_a_device_that_breaks_at_its_ceiling_loses_that_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, run, _ = measure(tmp_path, monkeypatch, "ceiling")
    assert set(frame["status"]) == {"measured"}
    assert f"the limits of cuda in float64 were not measured: {ILLEGAL}" in run.runner.notes


def test_a_device_that_breaks_when_it_is_first_asked_for_is_unusable_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run, _ = measure(tmp_path, monkeypatch, "device")
    assert run.said["unusable"] == {"cuda": ILLEGAL}


def test_a_gpu_that_is_gone_leaves_what_was_measured_and_ends_the_run(tmp_path: Path) -> None:
    gone = "torch finds no CUDA device or driver"
    visits = 0

    class Vanishing(OnMachine):
        def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
            nonlocal visits
            visits += message["op"] == "visit"
            if visits > 4 and message["op"] == "visit":
                return {"ok": False, "status": "failed", "reason": "AcceleratorError: CUDA error: unknown error"}
            if visits > 4 and message["op"] == "prepare":
                return {"ok": False, "status": "skipped", "reason": gone}
            return super().request(message, deadline_seconds)

    run = Run(tmp_path, Machine({A: "H100"}, Vanishing), gpu_groups(2))
    frame = run.go()
    statuses = frame.drop_duplicates("case")["status"].tolist()
    assert sorted(statuses) == ["failed", "measured", "measured", "measured"]
    assert f"3 cases got fewer replicates: {gone}" in run.runner.notes
    assert frame["replicate"].nunique() == 2


CELLS = """
import torch
from torch import nn

def look():
    if getattr(torch, "_broken", False):
        raise getattr(torch, "AcceleratorError", RuntimeError)(
            "CUDA error: an illegal memory access was encountered\\nmore")

class Good(nn.RNNCell):
    def forward(self, input, h):
        look()
        return super().forward(input, h)

class Bad(nn.RNNCell):
    def forward(self, input, h):
        torch._calls = getattr(torch, "_calls", 0) + 1
        torch._broken = getattr(torch, "_broken", False) or torch._calls > {most_calls}
        look()
        return super().forward(input, h)
"""


@pytest.mark.parametrize("most_calls", [1, 150])  # observing takes some 40 calls, timing many more
def test_real_workers_are_replaced_after_an_illegal_access(tmp_path: Path, most_calls: int) -> None:
    (tmp_path / "cells.py").write_text(CELLS.format(most_calls=most_calls))
    workload = small.workload(dtype="float32")
    bad, good = (Case(f"cells.py:{name}", "loop", workload) for name in ("Bad", "Good"))
    groups = [Group(workload, (bad, good, small.reference_case(dtype="float32")))]
    settings = Settings(replicates=1, windows=2, window_seconds=0.05, precision=None)
    folder = RunFolder.create(tmp_path, "test")
    try:
        run_into(folder, groups, settings)
    finally:
        folder.close()
    cases = rows(folder.path).drop_duplicates("case").set_index("case")
    assert cases.loc[bad.key, "status"] == "failed"
    assert "CUDA error: an illegal memory access was encountered (cells.py:" in str(cases.loc[bad.key, "reason"])
    assert set(cases.drop(bad.key)["status"]) == {"measured"}
