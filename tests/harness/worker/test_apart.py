"""What a worker is asked in a fork of its own leaves nothing behind, and a fork that ends early is told."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.worker import apart
from rnnbench.harness.worker.apart import answered_apart, may_fork
from rnnbench.harness.worker.user_files import UsedFiles

REQUEST: dict[str, Any] = {"op": "reach", "case": {"device": "cpu"}, "tree": "/"}
INSTANCES: list[str] = []  # as a class may keep all of its objects


def request(folder: Path) -> dict[str, Any]:
    return {**REQUEST, "tree": str(folder)}


def test_a_reply_has_the_files_that_the_fork_used_and_the_process_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "cell.py").write_text("def f(): pass\n")

    def handle(asked: dict[str, Any]) -> dict[str, Any]:
        INSTANCES.append("of this case")
        assert asked["apart"]
        files = {"imported": {"of_fork": "a.py"}, "opened": ["/a"], "read": ["/a"]}
        return {"ok": True, "code": ["cell.py:f 1", "numpy:<import> numpy"], **files}

    reply = answered_apart(request(tmp_path), handle, UsedFiles())
    assert INSTANCES == []
    assert reply["ok"]
    assert reply["apart"]
    assert reply["imported"]["of_fork"] == "a.py"
    assert len(reply["imported"]) > 1  # what this process has imported
    assert (reply["opened"], reply["read"]) == (["/a"], ["/a"])


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda: os._exit(3), "its process ended with status 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "its process ended by signal SIGKILL"),
    ],
)
def test_a_fork_that_ends_early_fails_its_case_alone(tmp_path: Path, end: Any, reason: str) -> None:
    reply = answered_apart(request(tmp_path), lambda asked: end() or {}, UsedFiles())
    assert not reply["ok"]
    assert (reply["status"], reply["reason"], reply["apart"]) == ("failed", reason, True)


def test_a_process_with_threads_or_for_another_device_is_not_forked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tasks = tmp_path / "task"
    (tasks / "1").mkdir(parents=True)
    monkeypatch.setattr(apart, "TASKS", tasks)
    assert may_fork(REQUEST)
    assert not may_fork({**REQUEST, "apart": True})
    assert not may_fork({**REQUEST, "case": {"device": "cuda"}})
    (tasks / "2").mkdir()
    assert not may_fork(REQUEST)
    monkeypatch.undo()
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    assert not may_fork(REQUEST)
    event.set()
    thread.join()
