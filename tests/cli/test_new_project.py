"""Ten commits of a new project, each checked against the one before it, as a team that begins with rnnbench has."""

import json
import re
from pathlib import Path

import pytest

from tests.doubles import repository
from tests.doubles.commands import MINE, cells, rnnbench

HELPER = "def prepared(x):\n    return x\n"
SLOW_HELPER = "import time\n\n\ndef prepared(x):\n    time.sleep(0.0005)\n    return x\n"
WITH_HELPER = f"from helper import prepared\n{cells('input = prepared(input)')}"
UNTIMED = "runs the same code on both sides"


def suite(*named: str) -> str:
    """Return the suite with these cells."""
    return re.sub("^cell = .*$", f"cell = {json.dumps(named)}", MINE, flags=re.MULTILINE)


# Each commit: its subject, its files, the exit code of its check, and why each case was not timed, or its verdict.
COMMITS: tuple[tuple[str, dict[str, str], int, dict[str, str]], ...] = (
    ("Start", {"README.md": "# mine\n"}, 2, {}),
    (
        "A cell",
        {"mine.py": cells(), "mine.toml": suite("mine.py:Mine"), ".gitignore": "results/\n"},
        0,
        {"mine": UNTIMED},
    ),
    (
        "Tools",
        {"Makefile": "all:\n", "mkdocs.yml": "site_name: mine\n", ".circleci/config.yml": "version: 2\n"},
        0,
        {"mine": UNTIMED},
    ),
    ("Data", {"data/table.csv": "1,2\n", ".python-version": "3.12\n"}, 0, {"mine": UNTIMED}),
    ("A helper", {"helper.py": HELPER, "mine.py": WITH_HELPER}, 0, {"mine": "unchanged"}),
    ("Slow", {"helper.py": SLOW_HELPER}, 1, {"mine": "regressed"}),
    ("Words", {"README.md": "# mine\n\nIt is a cell.\n"}, 0, {"mine": UNTIMED}),
    ("Fast again", {"helper.py": HELPER}, 0, {"mine": "improved"}),
    (
        "A second cell",
        {"second.py": cells(), "mine.toml": suite("mine.py:Mine", "second.py:Mine")},
        0,
        {"mine": UNTIMED, "second": "only in the head"},
    ),
    (
        "The first one leaves",
        {"mine.toml": suite("second.py:Mine")},
        0,
        {"mine": "only in the base", "second": UNTIMED},
    ),
)


@pytest.mark.slow
@pytest.mark.weekly
def test_each_commit_of_a_new_project_gets_the_answer_that_its_team_needs(tmp_path: Path) -> None:
    for subject, files, code, expected in COMMITS:
        commit = repository.commit(tmp_path, files, subject)
        base = "HEAD" if subject == "Start" else "HEAD~1"
        done = rnnbench("check", "mine.toml", "--base", base, "--json", cwd=tmp_path)
        rows = list(map(json.loads, done.stdout.splitlines()))
        found = {row["cell"].partition(".")[0]: row["reason"] or row["verdict"] for row in rows}
        assert (subject, done.returncode, found) == (subject, code, expected)
        if subject == "Slow":
            ends = ("--good", "HEAD~3", "--bad", "HEAD", "--json")
            answer = json.loads(rnnbench("bisect", "mine.toml", *ends, cwd=tmp_path, code=0).stdout)
            assert [cause["commit"]["sha"] for cause in answer["causes"]] == [commit]
    shown = rnnbench("report", "results", "--history", "--suite", "mine", cwd=tmp_path, code=0).stdout
    assert "none became slower or faster" in shown  # the commit that made it slow is mended
