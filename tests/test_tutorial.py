"""The tutorial, run as a reader would, with fewer replicates."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rnnbench import load, summarize

ROOT = Path(__file__).parents[1]
FEWER = "replicates = 1\nmost_replicates = 1\nwindows = 2\nwindow_seconds = 0.002"  # in place of the suite's budget


def blocks() -> list[str]:
    """The commands of each block of the section."""
    section = (ROOT / "rnnbench/cells/README.md").read_text().partition("## Tutorial: ")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine on which rnnbench is installed and git knows its user."""
    command = tmp_path / "bin" / "rnnbench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rnnbench "$@"\n')
    command.chmod(0o755)
    who = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | who | {"PATH": path, "GITHUB_ACTIONS": "", "COLUMNS": "120"}


def test_the_tutorial_works_as_it_is_written(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "my-cell"
    folder.mkdir()

    def run(commands: str, budget: str = "10m", code: int = 0) -> str:  # replicates end a run, its budget ends a check
        shell = ["bash", "-euo", "pipefail", "-c", re.sub(r"--budget \w+", f"--budget {budget}", commands)]
        done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    run("git init --quiet")
    start, measure, why, faster, gate = blocks()
    run(start)
    suite = folder / "MyGRU.toml"
    suite.write_text(suite.read_text().replace("budget_seconds = 20", FEWER))
    run("git commit --quiet --all --amend --no-edit")

    said = run(measure)
    assert "nothing to hoist: the cell has no `project` and `advance`" in said
    [page] = folder.glob("reports/*/index.html")
    assert str(page.relative_to(folder)) in said

    assert " operators a step, " in run(why)
    [profiles] = folder.glob("results/*/profiles.jsonl")
    assert summarize(load(profiles.parent))["parity"].tolist() == ["agrees", "", "is the reference"]

    run(faster)
    run(gate, budget="1s", code=2)  # of one replicate, which decides nothing
    [verdicts] = folder.glob("results/*/verdicts.json")
    [found] = [one for one in json.loads(verdicts.read_text())["findings"] if one["implementation"] == "loop"]
    changed = {one["metric"]: one["head"] / one["base"] for one in found["changes"]}
    assert changed["operators"] < 0.5
    assert found["verdict"] != "regressed"
    run(measure.splitlines()[-1])  # the report's line, whose pattern finds the check as well by now
