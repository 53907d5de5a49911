"""Tables say how they were made: of which commit, and real times on which processor, and how quiet it was."""

import math
from pathlib import Path

import pandas as pd
import pytest

from tests.validation import __main__ as program
from tests.validation import made
from tests.validation.__main__ import Table

ABOUT = made.Made("1234abc", "AMD EPYC family 25 model 1 stepping 1", 0.914)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of tables."""
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    return tmp_path


def test_a_simulated_table_says_its_commit_and_one_of_real_times_the_machine_too() -> None:
    simulated = pd.DataFrame({"row": [1, 2]}).assign(**made.Made("1234abc").columns())
    real = pd.DataFrame({"row": [1, 2]}).assign(**ABOUT.columns())
    assert made.said_of(simulated) == "commit 1234abc"
    assert made.said_of(real) == "commit 1234abc; AMD EPYC family 25 model 1 stepping 1, 91% of pulses quiet"
    assert made.without(real).columns.tolist() == ["row"]
    assert made.said_of(pd.DataFrame({"row": [1]})) == ""


def test_a_table_is_kept_with_what_it_was_made_of_and_its_page_begins_with_that(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(program.TABLES, "tried", Table(pd.DataFrame, is_live=True))
    program._keep("tried", pd.DataFrame({"row": [1], "share": [0.5]}), 12.0, ABOUT)
    kept = pd.read_csv(folder / "tried.csv")
    assert kept.to_dict("records") == [{"row": 1, "share": 0.5, **ABOUT.columns()}]
    first, _, table = (folder / "tried.md").read_text().partition("\n\n")
    assert first == f"`python -m tests.validation tried`, 12 s; {made.said_of(kept)}"
    assert table.splitlines()[0] == "| row | share |"


def test_rows_that_say_themselves_how_quiet_the_core_was_keep_it_and_the_page_says_their_mean(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(program.TABLES, "tried", Table(pd.DataFrame, is_live=True, adds=True))
    for share in (0.2, 0.4):
        program._keep("tried", pd.DataFrame({"row": [1], made.QUIET: [share]}), 12.0, ABOUT)
    assert pd.read_csv(folder / "tried.csv")[made.QUIET].tolist() == [0.2, 0.4]
    assert "AMD EPYC family 25 model 1 stepping 1, 30% of pulses quiet" in (folder / "tried.md").read_text()


def test_the_goals_end_the_program_with_1_if_one_is_missed_and_nothing_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = []

    def coverage(runs: int) -> pd.DataFrame:
        sizes.append(runs)
        share = 0.5 if len(sizes) == 2 else 0.95
        return pd.DataFrame(
            {"the core is": ["quiet", "always shared"], "cases": runs, "covered": share, "undisturbed": [1.0, 0.0]}
        )

    monkeypatch.setitem(program.TABLES, "shared-simulated", Table(coverage, 2000))
    for code in (0, 1):
        with pytest.raises(SystemExit) as ended:
            program.main(["shared-simulated", "--goals", "--share", "0.25"])
        assert ended.value.code == code
    assert sizes == [500, 500]
    assert "1 of 2 shares miss their goals" in capsys.readouterr().out
    assert not [*folder.iterdir()]


def test_the_share_of_quiet_pulses_is_one_and_the_processor_has_a_name() -> None:
    assert 0 <= made.quiet_share() <= 1
    assert made.this_processor()
    assert not math.isnan(made.Made("1234abc", "any", 0.5).quiet_pulses)
