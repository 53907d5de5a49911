"""`check` and `compare` end to end: real workers, real git. Only slowdowns of several times are told from nothing."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rnnbench.store.folder import read_info
from tests import repository, stored
from tests import workload as small
from tests.test_cli import rnnbench

SUITE = """
name = "mine"
[measure]
windows = 2
window_seconds = 0.002
[check]
margin = 0.9
budget_seconds = 30
[[sweep]]
cell = ["mine.py:Mine", "mine.py:Other"]
reference = "gru"
implementation = ["loop", "torch.nn"]
batch_size = 2
seq_len = 5
hidden_size = 8
"""
CELL = """
from torch import nn
class Mine(nn.GRUCell):
    def forward(self, input, h):
        for _ in range({times}):
            out = super().forward(input, h)
        return out
class Other(nn.GRUCell):
    def forward(self, input, h):
        {other}
        return super().forward(input, h)
"""


def cell(times: int = 1, other: str = "") -> str:
    return CELL.format(times=times, other=other)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    repository.commit(folder, {"mine.toml": SUITE, "mine.py": cell()})
    return folder


def test_a_summary_that_can_not_be_written_is_told_and_the_verdict_stands(tmp_path: Path) -> None:
    own, layer = small.case("vanilla"), small.reference_case()
    base, head = (
        stored.folder(tmp_path / name, {own: [[slower + 0.001 * place] for place in range(6)], layer: [[1.0]] * 6})
        for name, slower in (("base", 2.0), ("head", 3.0))
    )
    done = rnnbench("compare", base, head, cwd=tmp_path, GITHUB_STEP_SUMMARY=tmp_path / "none" / "summary.md")
    assert done.returncode == 1
    assert "1 of 1 case regressed" in done.stdout
    assert done.stderr.splitlines()[-1].endswith("/none/summary.md: No such file or directory")


@pytest.mark.alone
def test_a_cell_that_became_slower_fails_the_check_and_every_output_says_so(there: Path, tmp_path: Path) -> None:
    (there / "mine.py").write_text(cell(times=8))
    summary = tmp_path / "summary.md"
    done = rnnbench(
        "check", "mine.toml", "--base", "HEAD", cwd=there, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=summary
    )
    assert done.returncode == 1, done.stderr
    assert "with uncommitted changes" in done.stdout
    assert "1 of 2 cases regressed: mine.py:Mine" in " ".join(done.stdout.split())
    assert "more operator calls" in done.stdout
    assert "::error title=Regressed%3A mine.py%3AMine" in done.stdout
    assert summary.read_text().startswith("## 1 of 2 cases regressed")
    (folder,) = (there / "results").iterdir()
    found = json.loads((folder / "verdicts.json").read_text())["findings"]
    assert [(one["cell"], one["verdict"]) for one in found] == [
        ("mine.py:Mine", "regressed"),
        ("mine.py:Other", "unchanged"),
    ]
    assert found[0]["ratio"] > 3
    suite = ElementTree.parse(folder / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert {read_info(folder / side).status for side in ("base", "head")} == {"finished"}
    assert repository.git(there, "worktree", "list").count("\n") == 0


def test_a_repository_that_holds_rnnbench_is_checked_with_each_sides_own_cells(there: Path) -> None:
    code = Path(__file__).parents[1] / "rnnbench"
    shutil.copytree(code, there / "rnnbench", ignore=shutil.ignore_patterns("__pycache__"))
    (there / "own.toml").write_text(SUITE.replace('["mine.py:Mine", "mine.py:Other"]\nreference = "gru"', '"gru"'))
    repository.commit(there, {})
    cell = there / "rnnbench" / "cells" / "gru.py"
    step = "        i_r, i_z, i_n = projected.chunk(3, dim=-1)\n"
    assert step in cell.read_text()
    slow = "        for _ in range(60):\n            projected = projected + 0\n"
    cell.write_text(cell.read_text().replace(step, slow + step))
    for folder in (there, there.parent):  # from the repository itself, and from elsewhere
        # One replicate, which decides nothing: whose code it was is told by what is counted.
        done = rnnbench("check", there / "own.toml", "--base", "HEAD", "--json", "--budget", "1s", cwd=folder)
        assert done.returncode == 0, done.stderr
        (found,) = map(json.loads, done.stdout.splitlines())
        changed = {one["metric"]: one["head"] - one["base"] for one in found["changes"]}
        assert changed["operators"] == 60 * 5  # of a step, in five steps
        assert "allocations" in changed


@pytest.mark.alone
def test_unchanged_code_passes_and_a_single_margin_can_be_given(there: Path) -> None:
    done = rnnbench("check", "mine.toml", "--base", "HEAD", "--margin", "90%", "--strict", "--json", cwd=there)
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["verdict"] for line in done.stdout.splitlines()} == {"unchanged"}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("raise ValueError('on purpose')", "fails now: ValueError: on purpose"),
        ("import os; os.kill(os.getpid(), 11)", "fails now: the worker was killed by SIGSEGV"),
    ],
)
def test_a_case_that_newly_fails_is_a_regression(there: Path, other: str, reason: str) -> None:
    (there / "mine.py").write_text(cell(other=other))
    done = rnnbench("check", "mine.toml", "--base", "HEAD", "--budget", "1s", "--json", cwd=there)
    assert done.returncode == 1, done.stderr
    found = {line["cell"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert found["mine.py:Other"]["verdict"] == "regressed"
    assert found["mine.py:Other"]["reason"].startswith(reason)
    assert found["mine.py:Mine"]["verdict"] == "inconclusive"  # of one replicate


def test_two_folders_and_cases_of_one_side_only(there: Path, tmp_path: Path) -> None:
    shutil.copytree(there, tmp_path / "base")
    (tmp_path / "base" / "mine.toml").write_text(SUITE.replace("batch_size = 2", "batch_size = [2, 3]"))
    done = rnnbench(
        "check", "mine.toml", "--base", tmp_path / "base", "--budget", "1s", "--only", "cell=mine.py:Mine", cwd=there
    )
    assert done.returncode == 0, done.stderr
    assert "only in the base: " in done.stdout


def test_two_interpreters_compare_torch_nn_too(there: Path, tmp_path: Path) -> None:
    other = tmp_path / "other-python"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    done = rnnbench("check", "mine.toml", "--base-python", other, "--budget", "1s", "--json", cwd=there)
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["cell"] for line in done.stdout.splitlines()} == {
        "mine.py:Mine",
        "mine.py:Other",
        "torch.nn.GRU",
    }


def test_an_interpreter_without_torch_is_told_in_words(there: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # without site-packages
    bare.chmod(0o755)
    done = rnnbench("check", "mine.toml", "--base-python", bare, cwd=there)
    assert done.returncode == 2
    assert "no worker can start" in done.stderr
    assert "No module named 'torch'" in done.stderr
    assert not (there / "results").exists()


def test_an_interrupted_check_leaves_no_worktree_and_no_verdict(there: Path) -> None:
    command = [sys.executable, "-m", "rnnbench", "check", "mine.toml", "--base", "HEAD", "--budget", "100s"]
    (there / "mine.toml").write_text(SUITE.replace("margin = 0.9", "margin = 0.000001"))  # never decided
    process = subprocess.Popen(command, cwd=there, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            if list(there.glob("results/*/head/windows-*.jsonl")):
                break
            time.sleep(0.1)
        assert repository.git(there, "worktree", "list").count("\n") == 1
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted; no verdict; what was measured is in results/mine-check-" in errors
    assert repository.git(there, "worktree", "list").count("\n") == 0
    (folder,) = (there / "results").iterdir()
    assert read_info(folder / "head").status == "interrupted"
    assert not (folder / "verdicts.json").exists()


@pytest.mark.alone
def test_stored_runs_are_compared_by_their_ratio_to_torch_nn(there: Path) -> None:
    (there / "mine.toml").write_text(SUITE.replace("windows = 2", "windows = 2\nreplicates = 4\nmost_replicates = 4"))
    base = rnnbench("run", "mine.toml", cwd=there).stdout.splitlines()[-1]
    same = rnnbench("compare", base, base, "--json", cwd=there)
    assert same.returncode == 0, same.stderr
    ratios = {json.loads(line)["ratio"] for line in same.stdout.splitlines()}
    assert ratios == {1.0}  # how wide its interval is depends on the machine
    (there / "mine.py").write_text(cell(times=8))
    slower = rnnbench("check", "mine.toml", "--baseline", base, "--json", cwd=there)
    assert slower.returncode == 1, slower.stderr
    found = {line["cell"]: line["verdict"] for line in map(json.loads, slower.stdout.splitlines())}
    assert found["mine.py:Mine"] == "regressed"
    head = slower.stderr.splitlines()[-1]
    assert (there / head / "junit.xml").exists()
    info = json.loads((there / base / "run.json").read_text())
    info["environment"]["worker"]["torch"] = "1.0"
    (there / base / "run.json").write_text(json.dumps(info))
    apart = rnnbench("compare", base, head, cwd=there)
    assert apart.returncode == 2
    assert "torch was '1.0' and is" in " ".join(apart.stdout.split())
    info["schema_version"] = 99
    (there / base / "run.json").write_text(json.dumps(info))
    other = rnnbench("check", "mine.toml", "--baseline", base, cwd=there)
    assert other.returncode == 2
    assert "schema_version is 99" in other.stderr


def test_a_margin_for_what_the_head_does_not_have_is_refused_and_one_of_an_old_base_is_not(there: Path) -> None:
    stale = SUITE.replace("margin = 0.9", "margin = 0.9\nmargins = [{only = 'cell=mine.py:Gone', margin = 0.5}]")
    (there / "mine.toml").write_text(stale)
    done = rnnbench("check", "mine.toml", "--base", "HEAD", cwd=there)
    assert done.returncode == 2
    assert "mine.toml: check.margins[0].only: cell=mine.py:Gone" in done.stderr
    repository.commit(there, {})
    (there / "mine.toml").write_text(SUITE)
    done = rnnbench("check", "mine.toml", "--base", "HEAD", "--budget", "1s", "--only", "cell=mine.py:Mine", cwd=there)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base", "nowhere"], "neither a folder nor a revision"),
        ([], "nothing differs: name what to compare with"),
        (["--base", "HEAD", "--baseline", "x"], "--baseline is a stored run; leave out --base"),
        (["--baseline", "x"], "x: not a run folder"),
        (["--base", "HEAD", "--only", "cell=lstm"], "--only cell=lstm: the suite has cell=mine.py:Mine,mine.py:Other"),
        (["--base", "HEAD", "--only", "cell=mine.py:Mine,mine.py:Othr"], "(did you mean 'mine.py:Other'?): the suite"),
        (["--base", "HEAD", "--only", ""], "it is empty; is the variable set that it comes from?"),
        (["--base", ""], "Invalid value for '--base': it is empty; is the variable set that it comes from?"),
        (["--base", "HEAD", "--margin", "250%"], "is not a share"),
    ],
)
def test_what_can_not_be_checked_is_told_before_anything_runs(there: Path, arguments: list[str], words: str) -> None:
    done = rnnbench("check", "mine.toml", *arguments, cwd=there)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4
    assert not (there / "results").exists()
