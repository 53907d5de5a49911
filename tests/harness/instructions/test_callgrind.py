"""The programs of valgrind: found or not, switched on or not, and what they leave behind."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.instructions import callgrind
from rnnbench.store.readings import Unavailable
from tests.doubles import repository


class FakeProcess:
    pid = 123


def test_without_valgrind_the_reason_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert callgrind.why_not().startswith("valgrind and vgdb can't be found; install valgrind")
    for name in callgrind.PROGRAMS:
        repository.executable(tmp_path / name, "exit 0")
    assert not callgrind.why_not()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo no such process >&2; exit 1", "callgrind can't be switched on: no such process"),
        ("exit 3", "callgrind can't be switched on: vgdb exited with 3"),
        ("sleep 60", "callgrind can't be switched on: .* timed out"),
    ],
)
def test_a_worker_that_can_not_be_switched_on_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, reason: str
) -> None:
    repository.executable(tmp_path / "vgdb", program)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(callgrind, "SWITCH_SECONDS", 0.5)
    worker: Any = FakeProcess()
    with pytest.raises(Unavailable, match=reason):
        callgrind.switch_on(worker, tmp_path)


def test_the_request_names_the_process_and_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository.executable(tmp_path / "vgdb", f'echo "$@" > {tmp_path}/asked')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    worker: Any = FakeProcess()
    callgrind.switch_on(worker, tmp_path)
    assert (tmp_path / "asked").read_text() == f"--vgdb-prefix={tmp_path}/vgdb --pid=123 instrumentation on\n"
    assert f"--vgdb-prefix={tmp_path}/vgdb" in callgrind.command(tmp_path, "base-0")


def test_every_second_dump_is_that_of_a_call_and_all_are_removed(tmp_path: Path) -> None:
    for number in range(1, 13):  # more than nine: sorted by number, not by name
        (tmp_path / f"base-0.{number}").write_text(f"fn=f\n0 {number}\nsummary: {number}\n")
    (tmp_path / "head-0.1").write_text("summary: 0\n")
    assert [dump.functions.total() for dump in callgrind.take_dumps(tmp_path, "base-0")] == [2, 4, 6, 8, 10, 12]
    assert [file.name for file in tmp_path.iterdir()] == ["head-0.1"]


def test_a_dump_that_was_cut_off_is_told(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"base-0.{number}").write_text("fn=f\n0 5\nsummary: 6\n")
    with pytest.raises(WorkerLost, match="what callgrind wrote can't be read: the functions have 5"):
        callgrind.take_dumps(tmp_path, "base-0")
