"""The checks of a suite over time, in words, as a figure and as a table."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.harness.accepted import Accepted
from rnnbench.report.drawing.pictures import Picture
from rnnbench.report.page.page import html, page_of_several
from rnnbench.report.table import Table
from rnnbench.report.verdicts.history import frame_of_checks, section_of_checks
from rnnbench.report.verdicts.lasting import bars
from tests.doubles import checks, repository
from tests.doubles import workload as small
from tests.doubles.commands import rnnbench
from tests.doubles.pages import Page, shown
from tests.report.verdicts import samples

TO_A_TREE = [*((number, number + 1) for number in range(9)), (9, None)]  # of ten checks
CASES = [small.case("gru", batch_size=size) for size in range(1, 16)]


def sha(number: int) -> str:
    """The commit after this many others."""
    return f"{number:07x}{'0' * 33}"


def dated(
    tmp_path: Path, *changes: dict[int, float], commits: Sequence[tuple[int, int | None]] | None = None
) -> list[pd.DataFrame]:
    """A check for each entry, which says by what factor some cases, by their index, became slower.

    `commits`: those of base and head of each check, by their number, None for a working tree with changes; else all are
    of one working tree.
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
                info["environment"]["git"] = {"commit": sha(commit or 0), "dirty": commit is None}
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
        pytest.param([{7: 1.02}] * 9 + [{3: 1.1, 4: 1.3, 7: 1.02}], TO_A_TREE, id="uncommitted changes"),
        pytest.param([{}, {}, {2: 1.04}, {2: 1.05}], [(0, 1), (1, 2), (9, 1), (9, 2)], id="a baseline"),
    ],
)
def test_the_words_say_what_became_slower_since_when(
    tmp_path: Path,
    changes: list[dict[int, float]],
    commits: Sequence[tuple[int, int | None]] | None,
    snapshot: SnapshotAssertion,
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


def test_on_a_phone_each_row_of_a_history_is_lines_that_have_their_headings(tmp_path: Path) -> None:
    section = section_of_checks(dated(tmp_path, {3: 1.3}, {}, commits=[(0, 1), (1, 2)]))
    text = html(page_of_several("history", [section]))
    assert text.count('class="stacked"') == len(section.of(Table)) == 3
    rules = [line for line in text.splitlines() if line.startswith("@media (max-width: 700px) { #table-check_history")]
    headers = section.of(Table)[0].headers[1:]  # a row begins with its case, which needs no heading
    assert len(rules) == len(headers)
    assert all(f'content: "{header} "' in rule for header, rule in zip(headers, rules, strict=True))


def test_a_check_of_several_commits_blames_none_of_them_alone_and_says_how_to_find_it(tmp_path: Path) -> None:
    code = tmp_path / "code"
    first, *between = [repository.commit(code, {"mine.py": str(number)}) for number in range(5)]
    last = repository.commit(code, {"mine.py": "6"}, "Only a document")
    repository.git(code, "checkout", "--quiet", first)
    other = repository.commit(code, {"mine.py": "7"})
    found = dated(tmp_path / "checks", {3: 1.3, 4: 1.2}, {2: 1.4}, {1: 1.5}, commits=[(0, 1), (1, 2), (2, 3)])
    named = {sha(0): first, sha(1): between[-1], sha(2): last, sha(3): other}
    found = [each.replace({"base_commit": named, "head_commit": named}) for each in found]
    text = Page(html(page_of_several("history", [section_of_checks(found, repository=code)]))).text
    reach = f"{between[0][:7]}..{between[-1][:7]}"
    assert f"+20% to +30% in one of 4 commits, {reach}: " in text
    assert f"+40% in {last[:7]} Only a document" in text
    assert f"+50% in {other[:7]}, which was compared with {last[:7]}, no ancestor of it" in text
    assert text.count("rnnbench bisect") == 1
    assert f"rnnbench bisect test --good {first[:7]} --bad {between[-1][:7]}" in text


def accepting(place: int, commit: str, *more: str) -> str:
    """An entry that accepts what a commit did to the case of this place."""
    case = CASES[place].key.replace('"', '\\"')
    return "\n".join(["[[accepted]]", f'case = "{case}"', f'commit = "{commit}"', 'reason = "it clips"', *more, ""])


@pytest.mark.parametrize("subject", ["a step", "a creep", "a drift"])
def test_what_the_team_has_accepted_since_is_marked_and_no_longer_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subject: str
) -> None:
    monkeypatch.setattr("rnnbench.report.verdicts.history.draw", lambda *_: None)  # which takes most of the time
    shas = [repository.commit(tmp_path / "code", {"mine.py": str(number)}) for number in range(12)]
    changes: dict[str, list[dict[int, float]]] = {
        "a step": [{3: 1.3}, {4: 1.3}, {}],
        "a creep": [{7: 1.02}] * 10,
        "a drift": [{}, {}, {2: 1.04}, {2: 1.05}],
    }
    commits = [(index, index + 1) for index in range(10)]
    if subject == "a drift":
        commits = [(1, 2), (2, 3), (0, 2), (0, 3)]
    made = dated(tmp_path / "checks", *changes[subject], commits=commits[: len(changes[subject])])
    named = {sha(number): each for number, each in enumerate(shas)}
    found = [each.replace({"base_commit": named, "head_commit": named}) for each in made]
    place, commit = {"a step": (3, 1), "a creep": (7, 5), "a drift": (2, 2)}[subject]
    file = tmp_path / "code" / "accepted.toml"

    def answer(*more: str) -> str:
        file.write_text(accepting(place, shas[commit][:8], *more))
        section = section_of_checks(found, accepted=Accepted(file, CASES, tmp_path / "code"))
        return "\n".join(section.of(str))

    alarm = "\n".join(section_of_checks(found).of(str))
    accepted = answer()
    if subject == "a step":
        assert "2 became slower." in alarm
        assert "1 became slower; 1 regressed as accepted." in accepted
        assert f"gru loop inference, batch 4: +30% in {shas[1][:7]} (accepted: it clips)." in accepted
        assert f"gru loop inference, batch 5: +30% in {shas[2][:7]}." in accepted
        assert "2 became slower." in answer("up_to = '20%'")
    elif subject == "a creep":
        assert "1 became slower." in alarm
        assert "none became slower or faster; 1 regressed as accepted." in accepted
        assert "crept by +22% over 10 checks" in accepted
        assert "1 became slower." in answer("up_to = '5%'")
    else:
        assert "1 of 15 cases is slower by more than the margin." in alarm
        assert "0 of 15 cases are slower by more than the margin; 1 more as accepted." in accepted
        assert "1 of 15 cases is slower by more than the margin." in answer("up_to = '1%'")


def test_what_counts_or_a_failure_called_is_said_too_until_a_later_check_calls_it_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnbench.report.verdicts.history.draw", lambda *_: None)  # which takes most of the time
    found = dated(tmp_path, {0: 1.3}, {}, {}, commits=[(0, 1), (1, 2), (2, 3)])
    called = {"verdict": "regressed", "decided_by": "counts"}
    found[1].loc[[1, 2], list(called)] = list(called.values())  # as much time as before, more memory
    failing = {
        "verdict": "regressed",
        "decided_by": None,
        "change": np.nan,
        "change_low": np.nan,
        "change_high": np.nan,
    }
    found[1].loc[3, list(failing)] = list(failing.values())
    answer = section_of_checks(found).of(str)
    assert answer[0].endswith("1 became slower and 3 regressed by counts or fail.")
    by_counts = "Regressed by counts in 0000002: gru loop inference, batch 2 and gru loop inference, batch 3."
    assert answer[2:] == [by_counts, "gru loop inference, batch 4: regressed in 0000002."]
    found[2].loc[3, list(failing)] = ["improved", *list(failing.values())[1:]]
    assert "2 regressed by counts or fail." in section_of_checks(found).of(str)[0]
    found[1]["accepted"] = found[1]["accepted"].mask(found[1]["decided_by"].eq("counts"), "it clips")
    answer = section_of_checks(found).of(str)
    assert answer[0].endswith("1 became slower; 2 regressed as accepted.")
    assert answer[2].startswith("Regressed by counts in 0000002 (accepted: it clips): ")


def test_what_a_check_has_accepted_stays_accepted_without_the_file(tmp_path: Path) -> None:
    found = dated(tmp_path, {3: 1.3}, {}, commits=[(0, 1), (1, 2)])
    found[0]["accepted"] = found[0]["accepted"].mask(found[0]["verdict"].eq("regressed"), "it clips")
    section = section_of_checks(found)
    assert "none became slower or faster; 1 regressed as accepted." in section.of(str)[0]
    tables = {table.name: table for table in section.of(Table)}
    assert "accepted" in tables["checks"].headers
    assert "regressed" not in tables["checks"].headers
    assert tables["checks_changes"].rows[0][1].endswith("accepted")
    assert list(tables["checks_changes"].frame["verdict"]) == ["regressed"]  # for programs


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
    answer, commit = section.of(str)
    assert "5 became slower" in answer
    assert "% in 000003d: gru loop inference" in commit
    assert commit.endswith(" and 2 more.")


def test_report_of_a_history_of_checks_from_the_command_line(tmp_path: Path) -> None:
    dated(tmp_path / "results", {3: 1.3}, {}, commits=[(0, 1), (1, 2)])
    done = rnnbench("report", "--history", *sorted((tmp_path / "results").iterdir()), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = Page((tmp_path / done.stdout.splitlines()[-1]).read_text())
    assert "gru loop inference, batch 4: +30% in 0000001" in page.text


def test_the_history_finds_the_accepted_regressions_beside_the_suite_that_was_checked(tmp_path: Path) -> None:
    shas = [repository.commit(tmp_path, {"mine.py": str(number)}) for number in range(3)]
    dated(tmp_path / "results", {3: 1.3}, {}, commits=[(0, 1), (1, 2)])
    for file in tmp_path.glob("results/*/*/*/run.json"):
        text = file.read_text().replace(sha(0), shas[0]).replace(sha(1), shas[1]).replace(sha(2), shas[2])
        file.write_text(json.dumps(json.loads(text) | {"suite_file": "bench/mine.toml"}))
    (tmp_path / "bench").mkdir()
    accepted = tmp_path / "bench" / "accepted.toml"
    accepted.write_text(accepting(3, shas[1][:7]))
    command: list[str | Path] = ["report", "--history", *sorted((tmp_path / "results").iterdir())]
    done = rnnbench(*command, cwd=tmp_path, code=0)
    page = Page((tmp_path / done.stdout.splitlines()[-1]).read_text())
    assert f"+30% in {shas[1][:7]} change" in page.text
    assert "(accepted: it clips)" in page.text
    assert rnnbench(*command, cwd=tmp_path / "bench", code=0).returncode == 0  # from anywhere in the repository
    accepted.write_text(accepting(3, "main"))
    assert "bench/accepted.toml: accepted[0].commit: main" in rnnbench(*command, cwd=tmp_path, code=2).stderr


def test_each_case_of_the_figure_is_a_picture_of_its_own(tmp_path: Path) -> None:
    found = dated(tmp_path, {3: 1.3, 5: 1.1, 7: 0.9}, {}, commits=[(0, 1), (1, 2)])
    [figure] = section_of_checks(found).of(Picture)
    names = ("batch 4", "batch 6", "batch 8")
    assert len(figure.panels) == len(names)
    for name in names:
        assert sum(f"gru loop inference, {name}<" in panel.svg for panel in figure.panels) == 1
