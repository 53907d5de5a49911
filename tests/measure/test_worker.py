"""Requests and replies, in this process."""

from typing import Any

import pytest

from rnnbench.measure.worker import Worker
from rnnbench.store.records import Case
from tests import workload as small


def prepare(worker: Worker, case: Case, root: object = ".", **changes: Any) -> dict[str, Any]:
    request = {"op": "prepare", "case": case.axes(), "root": str(root), "window_seconds": 0.002, "describe": True}
    return worker.handle(request | {"plan": None} | changes)


def test_a_prepared_case_can_be_timed_and_is_forgotten_on_release() -> None:
    worker, case = Worker(), small.case("gru")
    reply = prepare(worker, case)
    assert reply["ok"]
    assert reply["measurement"]["parity"] == "agrees"
    assert reply["measurement"]["warmup_windows"] >= 2
    window = worker.handle({"op": "window", "case": case.key})
    assert window["ok"]
    assert window["calls"] == reply["plan"]["batches"] * reply["plan"]["batch"]
    assert worker.handle({"op": "release"})["ok"]
    assert not worker.handle({"op": "window", "case": case.key})["ok"]


def test_a_plan_that_is_given_is_kept() -> None:
    plan = {"batches": 3, "batch": 2, "seconds": 0.001}
    assert prepare(Worker(), small.case("gru"), plan=plan, describe=False) == {"ok": True, "plan": plan}


@pytest.mark.parametrize(
    ("case", "status", "reason"),
    [
        (small.case("combined", "hoisted"), "skipped", "nothing to hoist"),
        (small.case("gru", device="tpu"), "skipped", "no device 'tpu'"),
        (small.case("gru", threads=4096), "skipped", "threads=4096, and"),
        (small.case("gru", hidden_size=10**9), "failed", "out of memory: "),
    ],
)
def test_a_case_that_can_not_be_prepared_says_why(case: Case, status: str, reason: str) -> None:
    reply = prepare(Worker(), case)
    assert (reply["ok"], reply["status"]) == (False, status)
    assert reply["reason"].startswith(reason)


CELL = """
import torch
from torch import nn
class Mine(nn.RNNCell):
    def forward(self, input, h):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('on purpose\\nsecond line')", "RuntimeError: on purpose (mine.py:6)"),
        ("return h[:, :2] @ h", "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ("return 1 / 0", "ZeroDivisionError: division by zero (mine.py:6)"),
    ],
)
def test_what_a_users_cell_raises_is_told_with_its_line(tmp_path, body: str, reason: str) -> None:
    (tmp_path / "mine.py").write_text(CELL.format(body=body))
    reply = prepare(Worker(), Case("mine.py:Mine", "loop", small.workload(dtype="float32")), tmp_path)
    assert reply["status"] == "failed"
    assert reply["reason"].startswith(reason)


def test_an_unknown_request_is_answered() -> None:
    assert "KeyError" in Worker().handle({"op": "dance"})["reason"]
