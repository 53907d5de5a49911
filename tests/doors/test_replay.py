"""The loop of docs/checks.md, run as it stands over a small history from before the suite was there."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.doubles import repository
from tests.doubles.commands import MINE, cells, environment
from tests.rules import example_history

SUITE = MINE.replace('["mine.py:Mine", "mine.py:Other"]', '["bench_cells.py:Mine"]')


def test_the_example_is_of_thirty_commits_and_the_page_tells_what_it_shows() -> None:
    checks = pd.read_csv(example_history.EXAMPLE / "tables" / "checks.csv")
    changes = pd.read_csv(example_history.EXAMPLE / "tables" / "checks_changes.csv")
    page = example_history.PAGE.read_text()
    assert len(checks) == 30
    assert f"{example_history.FIRST} to {example_history.LAST}" in page
    assert checks["head_commit"].iloc[0].startswith(example_history.LAST)  # the newest first
    assert len(changes) == 1
    assert f"faster by {100 * (1 - changes['change'].iloc[0]):.1f}%" in page
    assert f"{(checks['unchanged'] == 4).sum()} of the checks all cases are unchanged" in page
    assert checks["undecided"].sum() == 6
    assert "six cases stayed undecided" in page


def test_the_loop_of_the_page_can_be_given_the_commits_of_the_example() -> None:
    loop = example_history.loop_of_the_example()
    assert f"first={example_history.FIRST} last={example_history.LAST}\n" in loop
    assert f"--budget {example_history.BUDGET} " in loop


@pytest.mark.slow
@pytest.mark.weekly
def test_the_loop_prints_a_line_for_each_commit_of_a_history_without_a_suite(tmp_path: Path) -> None:
    top = tmp_path / "there"
    repository.commit(top, {"mypkg/__init__.py": "from mypkg.inner import Mine\n", "mypkg/inner.py": cells()})
    repository.git(top, "tag", "v1.0")
    repository.commit(top, {"README.md": "more"}, "documents")
    repository.commit(top, {"mypkg/inner.py": "Mine = not_there\n"}, "breaks")
    repository.commit(top, {"mypkg/inner.py": cells()}, "repairs")
    (top / "bench.toml").write_text(SUITE)
    (top / "bench_cells.py").write_text("from mypkg import Mine\n")
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", example_history.loop_of_the_page()],
        cwd=top,
        env=environment({"PATH": folders}),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
    assert [line.partition(": ")[0] for line in lines] == ["documents", "breaks", "repairs"], done.stdout
    assert lines[0] == "documents: exit 0: ● Nothing regressed: 1 of 1 case unchanged within 90%"
    assert lines[1].startswith("breaks: exit 1: ")
    assert lines[2].startswith("repairs: exit 0: ▼ ")
    assert not (tmp_path / "there-replay").exists()
    assert repository.git(top, "worktree", "list").count("\n") == 0
