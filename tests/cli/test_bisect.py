"""`bisect` end to end: real workers, real git. The slow commits sleep, so that any machine sees them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.check.commits import CommitRunner
from rnnbench.errors import Interrupted
from tests.doubles import repository
from tests.doubles.commands import MINE, cells, rnnbench
from tests.doubles.repository import git

FAST, BROKEN = "pass", "raise RuntimeError('not today')"
SLEEPS = "time.sleep(0.001)"  # no counter sees it
SLOWER = "time.sleep(0.001); h = h + 0"


def history(folder: Path, *bodies: str) -> list[str]:
    """A commit for each body of the step, with the suite from the second on; returns the commits."""
    shas = []
    for number, body in enumerate(bodies):
        files = {"mine.py": f"NUMBER = {number}\n{cells(body)}"} | ({"mine.toml": MINE} if number else {})
        shas.append(repository.commit(folder, files, f"change {number}"))
    return shas


def bisect(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return rnnbench("bisect", "mine.toml", "--out", "out", "--only", "cell=mine.py:Mine", *arguments, cwd=folder)


def answer(folder: Path) -> dict[str, object]:
    [file] = (folder / "out").glob("mine-bisect-*/bisect.json")
    return dict(json.loads(file.read_text()))


@pytest.mark.slow
def test_the_commit_whose_counts_grow_is_named_and_one_that_does_not_run_is_skipped(tmp_path: Path) -> None:
    shas = history(tmp_path, FAST, BROKEN, SLOWER)
    done = bisect(tmp_path, "--good", shas[0][:7])
    assert done.returncode == 0, done.stderr + done.stdout
    assert "change 2" in done.stdout
    found: Any = answer(tmp_path)
    assert list(found["skipped"]) == [shas[1][:7]]
    assert [cause["commit"]["sha"] for cause in found["causes"]] == [shas[2]]
    assert "worktree" not in git(tmp_path, "worktree", "list", "--porcelain").replace(f"worktree {tmp_path}", "")
    assert git(tmp_path, "status", "--porcelain", "--untracked-files=no") == ""


@pytest.mark.slow
def test_a_commit_that_only_the_clock_sees_is_named(tmp_path: Path) -> None:
    shas = history(tmp_path, FAST, FAST, SLEEPS)
    done = bisect(tmp_path, "--good", shas[0], "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    [cause] = json.loads(done.stdout)["causes"]
    assert (cause["commit"]["sha"], cause["witness"]) == (shas[2], "time")


def test_an_interrupted_check_of_a_search_names_the_folder_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted("what was measured is in the folder of a check; no verdict")

    monkeypatch.setattr(CommitRunner, "compare", interrupted)
    done = bisect(tmp_path, "--good", history(tmp_path, FAST, SLEEPS)[0])
    [folder] = (tmp_path / "out").iterdir()
    assert done.returncode == 130
    where = folder.relative_to(tmp_path)
    assert f"what was measured is in {where}; no answer\n" in done.stderr


def test_ends_that_are_equally_fast_or_unknown_or_not_in_order_are_refused(
    tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    shas = history(tmp_path, FAST, FAST)
    commands = {
        "an unknown commit": ("--good", "nowhere"),
        "the same commit": ("--good", shas[1]),
        "not an ancestor": ("--good", shas[1], "--bad", shas[0]),
        "only torch.nn": ("--good", shas[0], "--only", "implementation=torch.nn"),
        "no commit": (),
    }
    told = {}
    for kind, arguments in commands.items():
        done = rnnbench("bisect", "mine.toml", "--out", "out", *arguments, cwd=tmp_path, code=2)
        message = done.stderr.splitlines()[0].replace(str(tmp_path), "FOLDER")
        told[kind] = message.replace(shas[0][:7], "FIRST").replace(shas[1][:7], "SECOND")
    assert told == snapshot
    assert not (tmp_path / "out").exists()
