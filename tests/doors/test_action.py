"""The composite action for other people's repositories, and the script that keeps one comment up to date."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.doubles import repository

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "check"
GH = """
echo "$@" >> "$LOG"
case "$*" in
    *--paginate*) test "$MARKER" = "<!-- rnnbench check mine -->" && echo $FOUND ;;
esac
exit 0
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for stamp, text in (("20261126T080000Z", "old"), ("20261127T080000Z", "new")):
        folder = tmp_path / "results" / f"mine-check-{stamp}-ab12"
        folder.mkdir(parents=True)
        (folder / "verdicts.md").write_text(f"<!-- rnnbench check mine -->\n## {text}\n")
    (tmp_path / "results" / "zz-check-20261125T080000Z-ab12").mkdir()
    repository.executable(tmp_path / "gh", GH)
    return tmp_path


def comment(folder: Path, found: str) -> list[str]:
    """The requests of one run of the script; `found`: the comment that is there."""
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "LOG": str(folder / "log"),
        "FOUND": found,
        "GITHUB_REPOSITORY": "me/mine",
    }
    done = subprocess.run(
        ["bash", str(ACTION / "comment.sh"), "7"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_the_first_comment_is_new_and_holds_the_newest_check(results: Path) -> None:
    [asked, posted] = comment(results, "")
    assert asked.startswith("api --paginate repos/me/mine/issues/7/comments")
    new = "results/mine-check-20261127T080000Z-ab12/verdicts.md"
    assert posted == f"api --silent --method POST repos/me/mine/issues/7/comments --field body=@{new}"


def test_a_later_one_replaces_it(results: Path) -> None:
    assert comment(results, "55")[1].startswith("api --silent --method PATCH repos/me/mine/issues/comments/55 --field")


def test_without_a_check_there_is_no_comment(tmp_path: Path) -> None:
    assert comment(tmp_path, "") == []


def test_the_action_and_the_workflow_name_what_exists() -> None:
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    inputs = set(action["inputs"])
    text = (ACTION / "action.yml").read_text()
    assert {name.split("}")[0].strip() for name in text.split("inputs.")[1:] for name in [name.split(" ")[0]]} <= inputs
    for step in action["runs"]["steps"]:
        assert "uses" in step or step["shell"] == "bash"
        # What a pull request can choose must reach the shell as a variable, never as text of the script.
        assert "${{" not in step.get("run", "")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())
    triggers = workflow[True]  # `on`, which YAML reads as a truth value
    assert triggers["pull_request"]["paths"] == triggers["push"]["paths"]
    for pattern in triggers["push"]["paths"]:
        assert (ROOT / pattern.removesuffix("/**")).exists()
    [*_, step] = workflow["jobs"]["check"]["steps"]
    assert (ROOT / step["uses"]).is_dir()
    assert set(step["with"]) <= inputs
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
