"""The acceptance run reports failures, ends tasks that take too long, and keeps all output in one archive."""

import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import acceptance
from tests.gpu.acceptance import ARCHIVE, Outcome, main, run, table
from tests.gpu.steps import MAX_STEP_SECONDS, ROOT, Task, steps

STEPS = ["smoke", "truth", "run", "gate", "more"]


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def outcome(out: Path, text: str, limit: int = 30, **changes: Any) -> Outcome:
    return run("step", Task("task", limit, program(text), **changes), out)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_each_step_ends_within_nine_minutes_whatever_its_programs_do(device: str, tmp_path: Path) -> None:
    known = steps(device, tmp_path)
    assert list(known) == STEPS
    for tasks in known.values():
        assert sum(task.limit_seconds for task in tasks) <= MAX_STEP_SECONDS == 9 * 60
        assert len({task.name for task in tasks}) == len(tasks)


def test_what_must_be_shown_ends_within_25_minutes_in_all(tmp_path: Path) -> None:
    known = steps("cuda", tmp_path)
    seconds = [task.limit_seconds for step in ("smoke", "truth", "run", "gate") for task in known[step]]
    assert sum(seconds) <= 25 * 60


def test_a_wheel_that_can_not_be_unpacked_does_not_keep_the_others_out(tmp_path: Path) -> None:
    wheels, out = tmp_path / "wheels", tmp_path / "out"
    wheels.mkdir()
    (wheels / "broken-1-py3-none-any.whl").write_text("no archive")
    with zipfile.ZipFile(wheels / "good_wheel-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("good_wheel.py", "")
    environment = os.environ | {"PYTHON": sys.executable, "OUT": str(out), "DEVICE": "cpu", "WHEELS": str(wheels)}
    script = ROOT / "tests" / "gpu" / "acceptance.sh"
    done = subprocess.run([script, "none"], env=environment, capture_output=True, text=True, check=False)
    assert "not unpacked: " in done.stderr
    assert "no step 'none'" in done.stderr
    assert [file.name for file in (out / "packages").iterdir()] == ["good_wheel.py"]


def test_every_program_of_a_step_is_there(tmp_path: Path) -> None:
    for task in (task for tasks in steps("cuda", tmp_path).values() for task in tasks):
        module = task.command[2] if task.command[1] == "-m" else ""
        if module.startswith("tests."):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_a_program_that_ends_well_is_ok_and_its_last_line_is_shown(tmp_path: Path) -> None:
    result = outcome(tmp_path, "print('much'); print('8 of 8 cases measured'); print()")
    assert (result.fault, result.last_line) == ("", "8 of 8 cases measured")
    assert (tmp_path / "logs" / "step-task.txt").read_text().startswith("much\n")
    [line] = table([result])
    assert line.split()[:2] == ["step", "task"]
    assert line.endswith("ok                   8 of 8 cases measured")


@pytest.mark.parametrize(
    ("text", "changes", "fault"),
    [
        ("raise SystemExit(3)", {}, "exit code 3"),
        ("print('5 skipped')", {"needs": r"\d+ passed"}, r"its output lacks '\\d+ passed'"),
        ("print('not profiled: x')", {"refuses": "not profiled:"}, "its output has 'not profiled:'"),
    ],
)
def test_a_program_that_fails_says_how(tmp_path: Path, text: str, changes: dict[str, Any], fault: str) -> None:
    assert outcome(tmp_path, text, **changes).fault == fault


def test_a_program_that_is_not_there_and_a_run_that_was_not_made_fail_in_words(tmp_path: Path) -> None:
    missing = run("step", Task("task", 5, ("no-such-program-anywhere",)), tmp_path)
    assert missing.fault == "exit code 127"
    assert "no-such-program-anywhere" in missing.last_line
    unmatched = run("step", Task("task", 5, ("true", str(tmp_path / "run-*"))), tmp_path)
    assert unmatched.last_line.endswith("the task before has left no run")


def test_a_star_becomes_the_newest_path(tmp_path: Path) -> None:
    for age, name in enumerate(["run-b", "run-a", "run-c"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    result = run("step", Task("task", 5, ("echo", str(tmp_path / "run-*"))), tmp_path)
    assert result.last_line == str(tmp_path / "run-b")


def test_a_program_that_goes_on_too_long_is_interrupted_and_then_killed_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "KILL_SECONDS", 0.3)
    text = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    result = outcome(tmp_path, text, limit=1)
    assert result.fault == "longer than 1 s"
    child = Path(f"/proc/{result.last_line}/stat")
    end = time.monotonic() + 10
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_exit_code_tells_of_a_failed_task_and_the_archive_holds_all_but_packages_and_what_is_huge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = {"smoke": [Task("good", 30, program("print('fine')")), Task("bad", 30, program("raise SystemExit(1)"))]}
    monkeypatch.setattr(acceptance, "steps", lambda device, out: tasks)
    monkeypatch.setattr(acceptance, "MAX_KEPT_BYTES", 1 << 16)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "pydantic.py").write_text("")
    (tmp_path / "trace.json").write_bytes(bytes(1 << 17))
    for _ in range(2):  # the second archive must not contain the first
        assert main(["--out", str(tmp_path), "smoke"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "smoke: at most 60 s"
    assert [line.split()[1] for line in printed[-2:]] == ["good", "bad"]
    assert "not in the archive, since it is larger than 0 MiB: trace.json" in printed
    with tarfile.open(tmp_path / ARCHIVE) as archive:
        names = sorted(archive.getnames())
    logs = ["smoke-bad.txt", "smoke-good.txt", "table-smoke.txt"]
    assert names == [f"acceptance/logs/{name}" for name in logs]
    tasks["smoke"].pop()
    assert main(["--out", str(tmp_path), "smoke"]) == 0


@pytest.mark.parametrize(("arguments", "words"), [([], "name the steps to run"), (["smok"], "no step 'smok'")])
def test_the_script_says_which_steps_there_are(tmp_path: Path, arguments: list[str], words: str) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "OUT": str(tmp_path), "DEVICE": "cpu"}
    script = ROOT / "tests" / "gpu" / "acceptance.sh"
    done = subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert all(step in done.stdout + done.stderr for step in STEPS)
