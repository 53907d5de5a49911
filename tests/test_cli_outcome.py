"""A command that measured nothing fails and names the budget that it needs."""

import re
from pathlib import Path

import pandas as pd
import pytest

from rnnbench import load, summarize
from rnnbench.cli.outcome import in_words, refuse_no_profile, refuse_nothing
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.profile_run import NOT_REACHED
from rnnbench.store.folder import read_info
from rnnbench.store.profiles import Profile
from tests.test_cli import SUITE, rnnbench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(SUITE)
    return tmp_path


def test_a_budget_that_is_too_small_is_an_error_and_the_least_that_is_needed_is_named(folder: Path) -> None:
    done = rnnbench("run", "tiny.toml", "--budget", "0.5s", cwd=folder)
    (path,) = (folder / "results").iterdir()
    run = f"results/{path.name}"
    assert done.returncode == 2
    message = done.stderr.splitlines()[-1]
    named = re.fullmatch(
        rf"rnnbench: {run}: no case was measured within the budget, which ended at case 0 of 6; at least --budget "
        rf"(\d+)s is needed; --resume {run} goes on with what it has",
        message,
    )
    assert named, message
    assert done.stdout.splitlines()[-1] == run
    assert re.search(
        r"^budget: 6 of 6 cases were not reached; at least \d+ s more is needed", done.stdout, re.MULTILINE
    )
    assert read_info(path).status == "finished"
    resumed = rnnbench("run", "tiny.toml", "--resume", run, "--budget", f"{4 * int(named[1])}s", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    summary = summarize(load(path))
    assert set(summary["status"]) == {"measured", "skipped"}  # nothing is pending
    assert not [note for note in read_info(path).notes if note.startswith("budget: ")]


def test_a_profile_with_a_budget_that_is_too_small_is_an_error(folder: Path) -> None:
    done = rnnbench("profile", "tiny.toml", "--budget", "1s", cwd=folder)
    assert done.returncode == 2
    assert re.search(r": no case was measured within the budget, .*; at least --budget \d+s is needed$", done.stderr)
    assert not (folder / "reports").exists()


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        ([("measured", ""), ("failed", "why"), ("pending", "not reached")], ""),
        ([("skipped", "why")], ""),
        ([], ""),
        (
            [("pending", "why"), ("failed", "broken"), ("skipped", "")],
            "no case was measured, and 1 of 3 failed; the first: broken",
        ),
        ([("pending", "the job was lost")], "and 1 of 1 were not reached; the first: the job was lost"),
    ],
)
def test_only_what_was_skipped_is_no_fault(tmp_path: Path, cases: list[tuple[str, str]], words: str) -> None:
    summary = pd.DataFrame(cases, columns=["status", "reason"])
    if not words:
        refuse_nothing(tmp_path, summary)
        return
    with pytest.raises(UserError) as raised:
        refuse_nothing(tmp_path, summary)
    assert words in str(raised.value)


def test_a_budget_that_ends_before_the_first_profile_is_an_error(tmp_path: Path) -> None:
    missed = {name: Profile(name, "failed", NOT_REACHED) for name in "ab"}
    with pytest.raises(UserError, match=r"since measuring alone took 20 s; at least --budget 20s is needed"):
        refuse_no_profile(tmp_path, missed, 10.0, 14.2)
    refuse_no_profile(tmp_path, missed | {"c": Profile("c", "failed", "broken")}, 10.0, 14.2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1, "10s"), (10, "10s"), (10.1, "20s"), (119, "120s"), (121, "3m"), (7201, "3h")]
)
def test_a_duration_is_rounded_up_to_what_the_option_takes(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
