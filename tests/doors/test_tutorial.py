"""The tutorial, run as a reader would run it, with fewer replicates."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rnnbench import load, summarize
from rnnbench.profiling.breakdown import TOO_LONG

ROOT = Path(__file__).parents[2]
TRIES = 3  # to explain a gap
FEWER = "replicates = 1\nmax_replicates = 1\nwindows = 2\nwindow_seconds = 0.002"  # replaces the suite's budget


def blocks() -> list[str]:
    """The commands of each step of the tutorial."""
    page = (ROOT / "docs/tutorial.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which rnnbench is installed and git knows its user."""
    command = tmp_path / "bin" / "rnnbench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rnnbench "$@"\n')
    command.chmod(0o755)
    who = {f"GIT_{role}_{key}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | who | {"PATH": path, "GITHUB_ACTIONS": "", "COLUMNS": "120"}


@pytest.mark.weekly
@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "my-cell"
    folder.mkdir()

    def run(commands: str, budget: str = "10m", codes: tuple[int, ...] = (0,)) -> str:
        # Replicates end a run, the budget a check.
        shell = ["bash", "-euo", "pipefail", "-c", re.sub(r"--budget \w+", f"--budget {budget}", commands)]
        done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in codes, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    run("git init --quiet")
    start, measure, why, faster, gate = blocks()
    run(start)
    suite = folder / "MyGRU.toml"
    suite.write_text(suite.read_text().replace("budget_seconds = 20", FEWER))
    run("git commit --quiet --all --amend --no-edit")

    output = run(measure)
    assert "nothing to hoist: the cell has no `project` and `advance`" in output
    [page] = folder.glob("reports/*/index.html")
    assert str(page.relative_to(folder)) in output

    # With so short a budget, noise may leave nothing to take apart: then the words say so, and it is repeated.
    explanations = (" ".join(run(why).split()) for _ in range(TRIES))
    explanation = next((words for words in explanations if TOO_LONG not in words), TOO_LONG)
    assert " of its call is dispatch and Python" in explanation  # how many operators is said unless noise hides them
    profiles = max(folder.glob("results/*/profiles.jsonl"))
    assert summarize(load(profiles.parent))["parity"].tolist() == ["agrees", "", "is the reference"]

    run(faster)
    run(gate, budget="1s", codes=(0, 3))  # so short a check may decide nothing
    [verdicts] = folder.glob("results/*/verdicts.json")
    [finding] = [
        finding for finding in json.loads(verdicts.read_text())["findings"] if finding["implementation"] == "loop"
    ]
    changed = {change["metric"]: change["head"] / change["base"] for change in finding["changes"]}
    assert changed["operators"] < 0.5
    assert finding["verdict"] != "regressed"
    run(measure.splitlines()[-1])  # the report's command, whose pattern now matches the check too
