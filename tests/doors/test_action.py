"""The composite actions for other people's repositories, and the workflows of this one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
FILES = sorted(GITHUB.rglob("*.yml"))


def action(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((GITHUB / "actions" / name / "action.yml").read_text())
    return read


def workflow(name: str) -> dict[Any, Any]:
    read: dict[Any, Any] = yaml.safe_load((GITHUB / "workflows" / f"{name}.yml").read_text())
    return read


def step(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [step for step in action("check")["runs"]["steps"] if step.get("name") == name]
    return found[0]


def test_no_linter_of_workflows_finds_a_fault() -> None:
    zizmor = shutil.which("zizmor", path=Path(sys.executable).parent) or shutil.which("zizmor")
    if zizmor is None:
        pytest.skip("zizmor is not installed: pip install zizmor")
    command = [zizmor, "--offline", "--no-progress", "--min-severity=medium", str(GITHUB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(GITHUB)) for file in FILES])
def test_each_step_is_pinned_and_no_text_of_a_pull_request_becomes_a_script(file: Path) -> None:
    for uses in re.findall(r"^[^#\n]*\buses: (.*)", file.read_text(), re.MULTILINE):
        assert uses.startswith("./") or re.fullmatch(r"actions/[a-z-]+(/[a-z]+)?@[0-9a-f]{40} # v\d+\.\d+\.\d+", uses)
    read = yaml.safe_load(file.read_text())
    for job in [read["runs"]] if "runs" in read else read["jobs"].values():
        for each in job["steps"]:
            assert "${{" not in each.get("run", "")
            assert "runs" not in read or "uses" in each or each["shell"] == "bash"


def test_the_code_of_a_pull_request_runs_with_a_token_that_can_only_read() -> None:
    assert workflow("check")["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow("check")["jobs"].values())
    comments = workflow("comment")
    assert (comments["permissions"], set(comments[True])) == ({}, {"workflow_run"})
    checkout = comments["jobs"]["comment"]["steps"][0]  # of the main branch: no ref of the pull request
    assert set(checkout["with"]) == {"persist-credentials"}


def named(tmp_path: Path, name: str) -> str:
    """The name of caches and artifacts, as the step makes it."""
    output = tmp_path / "output"
    output.unlink(missing_ok=True)
    environment = {"NAME": name, "GITHUB_OUTPUT": str(output), "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", step("Name")["run"]], env=environment, check=True)
    return dict(line.split("=", 1) for line in output.read_text().splitlines())["safe"]


def test_caches_and_artifacts_of_two_suites_or_jobs_of_a_matrix_have_different_names(tmp_path: Path) -> None:
    names = [
        named(tmp_path, f"{suite} {label} check Linux {python}")
        for suite in ("ci", "ci-gpu", "bench/mine.toml")
        for label in ("", "gpu")
        for python in ("3.12", "3.13")
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._]+", name) for name in names)  # no artifact's name has a slash
    for name in names:  # a prefix of keys ends with a whole name
        assert not any(other.startswith(f"{name}_") for other in names if other != name)
    steps = action("check")["runs"]["steps"]
    keys = [each["with"]["key"] for each in steps if "cache/" in each.get("uses", "")]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert "github.run_attempt" in keys[0]
    artifacts = [each["with"]["name"] for each in steps if "upload-artifact" in each.get("uses", "")]
    assert len(set(artifacts)) == 2
    assert all("steps.name.outputs.safe" in name for name in artifacts)


def test_what_a_check_found_is_kept_also_if_it_regressed_and_only_of_this_check() -> None:
    steps = action("check")["runs"]["steps"]
    after = steps[[each.get("id") for each in steps].index("check") + 1 :]
    assert {each["if"] for each in after} == {"always() && steps.check.outputs.check != ''"}
    [verdicts, _] = [each["with"] for each in after if "upload-artifact" in each.get("uses", "")]
    assert verdicts["path"] == "${{ steps.check.outputs.check }}"
