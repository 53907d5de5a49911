"""The checks of a suite over time, in words, as a figure and as a table."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.page.page import html, page_of_several
from rnnbench.report.table import Table
from rnnbench.report.verdicts.history import bars, frame_of_checks, section_of_checks
from tests.doubles import checks
from tests.doubles import workload as small
from tests.doubles.commands import rnnbench
from tests.doubles.pages import Page, shown
from tests.report.verdicts import samples

CASES = [small.case("gru", batch_size=size) for size in range(1, 16)]


def sha(number: int) -> str:
    """The commit after this many others."""
    return f"{number:07x}{'0' * 33}"


def dated(
    tmp_path: Path, *changes: dict[int, float], commits: list[tuple[int, int]] | None = None
) -> list[pd.DataFrame]:
    """A check for each entry, which says by what factor some cases, by their index, became slower.

    `commits`: those of base and head of each check, by their number; else all are of one working tree.
    """
    folders = []
    for number, slower in enumerate(changes):
        ratios = [slower.get(index, 1.001) for index in range(len(CASES))]
        verdicts = ["regressed" if ratio > 1.025 else "improved" if ratio < 0.98 else "unchanged" for ratio in ratios]
        found = [
            samples.finding(verdict, ratio, case=case)  # type: ignore[arg-type]
            for verdict, ratio, case in zip(verdicts, ratios, CASES, strict=True)
        ]
        folder = checks.write(tmp_path / str(number), samples.comparison(*found), {})
        if commits is not None:
            for side, commit in zip(("base", "head"), commits[number], strict=True):
                file = folder / side / "run.json"
                info = json.loads(file.read_text())
                info["started"] = f"2026-01-{number % 28 + 1:02}T{number // 28:02}:00:00+00:00"
                info["environment"]["git"] = {"commit": sha(commit), "dirty": False}
                file.write_text(json.dumps(info))
            folder = folder.rename(folder.with_name(f"test-check-20260101T000000Z-{number:04x}"))
        folders.append(folder)
    return checks.read_all(folders)


def test_cases_of_different_checks_that_each_call_alike_are_told_apart(tmp_path: Path) -> None:
    cases = [small.case("vanilla", batch_size=size) for size in (1, 32)]
    same = [samples.comparison(samples.finding("unchanged", 1.0, case=case)) for case in cases]
    made = [
        checks.write(tmp_path / str(case.workload.batch_size), of, {case: 1.0})
        for of, case in zip(same, cases, strict=True)
    ]
    found = checks.read_all(made)
    assert {name for check in found for name in check["name"]} == {"vanilla loop inference"}
    names = [f"vanilla loop inference, batch {case.workload.batch_size}" for case in cases]
    assert frame_of_checks(found)["name"].tolist() == names


@pytest.mark.parametrize(
    ("changes", "commits"),
    [
        pytest.param([{3: 1.1, 4: 1.3}, {3: 1.2, 5: 0.7}, {}], None, id="no chain"),
        pytest.param([{3: 1.1, 4: 1.3}, {3: 1.2, 5: 0.7}, {}], [(0, 1), (1, 2), (2, 3)], id="some changed"),
        pytest.param([{}, {7: 1.01}], [(0, 1), (1, 2)], id="none changed"),
        pytest.param([{7: 1.02}] * 10, [(index, index + 1) for index in range(10)], id="one crept"),
        pytest.param([{}, {}, {2: 1.04}, {2: 1.05}], [(0, 1), (1, 2), (9, 1), (9, 2)], id="a baseline"),
    ],
)
def test_the_words_say_what_became_slower_since_when(
    tmp_path: Path, changes: list[dict[int, float]], commits: list[tuple[int, int]] | None, snapshot: SnapshotAssertion
) -> None:
    assert shown(section_of_checks(dated(tmp_path, *changes, commits=commits))) == snapshot


def test_bars_reach_from_the_lowest_to_the_highest_level_and_show_small_changes_as_small() -> None:
    def line(*levels: float, unknown: int = -1) -> pd.DataFrame:
        return pd.DataFrame({"level": levels, "is_known": [place != unknown for place in range(len(levels))]})

    assert bars(line(1.5, 2.0, 3.0)) == "▁▃▆█"
    assert bars(line(1.01, 0.99, 1.0)) == "▁▂▁▁"
    assert bars(line(2.0, 2.0, unknown=0)) == "▁·█"
    assert len(bars(line(*np.linspace(1, 2, 100)))) == 40


def test_commits_have_their_subject_and_lead_to_their_page(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    shas = []
    for subject in ("Start", "Clip | <b>the gates</b>", "Nothing"):
        git("commit", "--quiet", "--allow-empty", "--message", subject)
        shas.append(git("rev-parse", "HEAD"))
    git("remote", "add", "origin", "git@github.com:me/mine.git")
    found = dated(tmp_path / "checks", {3: 1.3}, {}, commits=[(0, 1), (1, 2)])
    named = {sha(number): each for number, each in enumerate(shas)}
    found = [each.replace({"base_commit": named, "head_commit": named}) for each in found]
    section = section_of_checks(found, repository=tmp_path)
    page = Page(html(page_of_several("history", [section])))
    assert f"https://github.com/me/mine/commit/{shas[1]}" in set(page.all("href"))
    assert f"+30% in {shas[1][:7]} Clip | <b>the gates</b>" in page.text
    without = Page(html(page_of_several("history", [section_of_checks(found, repository=tmp_path / "nowhere")])))
    assert f"+30% in {shas[1][:7]}" in without.text
    assert not any(link.startswith("https") for link in without.all("href"))


def test_the_page_of_a_hundred_checks_of_fifty_cases_stays_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    one = dated(tmp_path, {}, commits=[(0, 1)])[0]
    cases = [replace(case, workload=replace(case.workload, hidden_size=size)) for case in CASES for size in range(2, 6)]
    rows = pd.concat([one] * 4, ignore_index=True).head(50).assign(subject=pd.Series(cases[:50], dtype=object))
    rows["case"] = [case.key for case in rows["subject"]]
    found = []
    for number in range(100):
        changes = np.exp(rng.normal(0, 0.006, 50) + 0.1 * ((number == 60) & (np.arange(50) < 5)))
        found.append(
            rows.assign(
                check=f"check-{number:03}",
                checked=f"2026-{number // 28 + 1:02}-{number % 28 + 1:02} 00:00",
                base_commit=sha(number),
                head_commit=sha(number + 1),
                verdict=np.where(changes > 1.05, "regressed", "unchanged"),
                change=changes,
                change_low=changes * 0.985,
                change_high=changes * 1.015,
            )
        )
    section = section_of_checks(found)
    text = html(page_of_several("history", [section]))
    assert len(text.encode()) < 1_000_000
    [lines] = [part for part in section.of(Table) if part.name == "check_history"]
    assert len(lines.rows) == 50
    assert sum("% in 000003d" in cell for row in lines.rows for cell in row) == 5
    assert "5 became slower" in section.of(str)[0]


def test_report_of_a_history_of_checks_from_the_command_line(tmp_path: Path) -> None:
    dated(tmp_path / "results", {3: 1.3}, {}, commits=[(0, 1), (1, 2)])
    done = rnnbench("report", "--history", *sorted((tmp_path / "results").iterdir()), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = Page((tmp_path / done.stdout.strip()).read_text())
    assert "gru loop inference, batch 4: +30% in 0000001" in page.text
