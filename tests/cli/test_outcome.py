"""A command that measured nothing fails and names the budget that it needs."""

import contextlib
import re
from pathlib import Path

import pandas as pd
import pytest

from rnnbench.cli.outcome import refuse_missing
from rnnbench.errors import UserError
from rnnbench.store.records import NOT_REACHED
from tests.doubles.commands import SUITE, rnnbench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(SUITE)
    return tmp_path


@pytest.mark.parametrize("command", ["run", "profile"])
def test_a_budget_that_can_not_fit_a_replicate_is_an_error_before_anything_is_written(
    folder: Path, command: str
) -> None:
    done = rnnbench(command, "tiny.toml", "--budget", "0.5s", cwd=folder, code=2)
    assert re.fullmatch(
        r"rnnbench: --budget 0.5s: the budget is too short: a single replicate takes about \d+ s here; "
        r"give --budget \d+s or more\n",
        done.stderr,
    )
    assert not (folder / "results").exists()


def test_a_run_that_lacks_something_ends_with_what_to_type(folder: Path) -> None:
    precise = "run", "tiny.toml", "--precision", "0.01%", "--budget", "25s"
    done = rnnbench(*precise, cwd=folder)
    assert "precision: ±0.01% was not reached in 2 of 2 groups; raise max_replicates, which is 2\n" in done.stdout
    (folder / "tiny.toml").write_text(SUITE.replace("max_replicates = 2", "max_replicates = 1_000"))
    done = rnnbench(*precise, cwd=folder, code=0)
    *_, note, to_continue, run = done.stdout.splitlines()
    assert re.fullmatch(r"precision: ±0\.01% was not reached in \d of \d groups?", note)
    assert re.fullmatch(rf"To continue: rnnbench run tiny.toml --resume {run} --budget \d+[smh]", to_continue)
    rnnbench(*to_continue.split()[3:5], "--resume", run, "--budget", "26s", cwd=folder, code=0)


@pytest.mark.parametrize(
    ("cases", "nothing", "missing"),
    [
        ([("measured", ""), ("skipped", "why"), ("pending", NOT_REACHED)], "", ""),
        ([], "", ""),
        (
            [("measured", ""), ("failed", "broken"), ("pending", "the job was lost")],
            "",
            "2 of 3 cases could not be measured; the first: broken; with --allow-missing this is no error",
        ),
        ([("skipped", "no GPU")] * 2, *["no case was measured: 2 of 2 were skipped; the first: no GPU"] * 2),
        (
            [("pending", NOT_REACHED), ("failed", "broken"), ("skipped", "")],
            *["no case was measured: 1 of 3 could not be measured; the first: broken"] * 2,
        ),
        (
            [("pending", "the job was lost")],
            *["no case was measured: 1 of 1 could not be measured; the first: the job was lost"] * 2,
        ),
    ],
)
def test_what_could_not_be_measured_is_an_error(
    tmp_path: Path, cases: list[tuple[str, str]], nothing: str, missing: str
) -> None:
    summary = pd.DataFrame(cases, columns=["status", "reason"])
    for some_may_fail, words in ((True, nothing), (False, missing)):
        with pytest.raises(UserError, match=f": {re.escape(words)}$") if words else contextlib.nullcontext():
            refuse_missing(tmp_path, summary, some_may_fail=some_may_fail)
