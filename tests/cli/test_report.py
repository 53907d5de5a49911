"""`rnnbench report` end to end, on runs made by hand: one run, several, checks."""

import json
import stat
from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnbench.analysis.stored import MIN_CASES
from rnnbench.cli import cli
from rnnbench.errors import UserError
from rnnbench.report.table import LEFT_OUT_FILES
from rnnbench.store.records import Case, Workload
from tests.doubles import checks, stored
from tests.doubles import workload as small
from tests.doubles.commands import started
from tests.doubles.every_page import QUICK
from tests.doubles.stored import folder, several
from tests.report.verdicts import samples
from tests.report.verdicts.samples import comparison, finding

WORKLOAD = Workload("lstm", "training", "many_to_many", 1, 16, 64, 64, 10, 1, "float32", "cpu", 1)
CASES = {Case("torch.nn.LSTM", "torch.nn", WORKLOAD): 1e-3, Case("lstm", "loop", WORKLOAD): 3e-3}
NO_DISPLAY = {"DISPLAY": None, "WAYLAND_DISPLAY": None, "BROWSER": None}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return stored.folder(tmp_path / "results", {case: [[seconds]] * 3 for case, seconds in CASES.items()})


@pytest.fixture
def check(tmp_path: Path) -> Path:
    (case,) = (case for case in CASES if case.cell == "lstm")
    slower = samples.finding("regressed", 1.051, case=case)
    return checks.write(tmp_path / "results", samples.comparison(slower), {case: 1.051})


def printed(*arguments: object, **variables: str) -> list[str]:
    done = CliRunner().invoke(cli, ["report", *map(str, arguments)], catch_exceptions=False, env=variables)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def call(*arguments: object) -> str:
    """Return the path of the page, which is the last line."""
    return printed(*arguments)[-1]


def refused(*arguments: object) -> str:
    with pytest.raises(UserError) as raised:
        CliRunner().invoke(cli, ["report", *map(str, arguments)], catch_exceptions=False)
    return str(raised.value)


def test_a_check_has_a_report_of_its_own_beside_those_of_runs(
    check: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_check, first, *of_run, second = printed(*(path.relative_to(tmp_path) for path in (check, run)))
    assert [first, second] == [f"reports/{path.name}/index.html" for path in (check, run)]
    assert of_check.startswith("1 of 1 case regressed: lstm loop training: 5.1% slower (+4.2% to +6.0%).")
    assert " ".join(of_run).startswith("lstm loop")
    page = (tmp_path / "reports" / check.name / "index.html").read_text()
    assert "1 of 1 case regressed: lstm loop training: 5.1% slower (+4.2% to +6.0%)." in page
    before = sorted((tmp_path / "reports").iterdir())
    call(check)  # replaces its own report
    assert sorted((tmp_path / "reports").iterdir()) == before
    assert call(check / "head") == f"reports/{check.name}-head/index.html"


def test_the_answer_of_the_page_stands_above_its_path_in_three_lines_at_most(tmp_path: Path) -> None:
    *answer, path = printed(QUICK, "--out", tmp_path / "page", COLUMNS="60")  # where the lines are most
    assert path == str(tmp_path / "page" / "index.html")
    assert 1 <= len(answer) <= 3
    assert max(map(len, answer)) <= 60
    head = unescape(Path(path).read_text()).partition('<p class="answer">')[2].partition("</p>")[0]
    assert " ".join(answer).startswith(head)
    assert "times as long as torch.nn in the median" in head


def test_the_answer_and_the_path_are_a_json_object_on_request(run: Path, tmp_path: Path) -> None:
    [line] = printed(run, "--json", "--out", tmp_path / "page")
    content = json.loads(line)
    assert Path(content["page"]).is_file()
    assert content["answer"]


def test_where_no_browser_can_be_opened_the_path_is_printed_and_said(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["report", str(run), "--out", str(tmp_path / "page"), "--open"], env=NO_DISPLAY)
    assert done.exit_code == 0
    page = tmp_path / "page" / "index.html"
    assert done.stdout.splitlines()[-1] == str(page)
    assert done.stderr == f"rnnbench: no browser can be opened here; open {page.as_uri()} in one\n"


def test_open_hands_the_page_to_the_browser(run: Path, tmp_path: Path) -> None:
    browser, shown = tmp_path / "browser", tmp_path / "shown"
    browser.write_text(f'#!/bin/sh\necho "$1" > {shown}\n')
    browser.chmod(browser.stat().st_mode | stat.S_IEXEC)
    done = started("report", run, "--out", "page", "--open", cwd=tmp_path, BROWSER=f"{browser} %s")
    assert (done.stdout.splitlines()[-1], done.stderr) == ("page/index.html", "")
    assert shown.read_text() == f"{(tmp_path / 'page' / 'index.html').as_uri()}\n"


def test_without_a_run_the_newest_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused() == "results/ has no run; give a RUN, or measure one: rnnbench run quick"
    for number, day in enumerate((20, 25, 23)):
        run = stored.folder(tmp_path / "results", {case: [[seconds]] for case, seconds in CASES.items()})
        file = run / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"started": f"2026-11-{day}T00:00:00+00:00"}))
        run.rename(run.parent / f"run-{number}")
    assert call() == "reports/run-1/index.html"


# Several runs


LOOP, SECOND, REFERENCE = small.case("vanilla"), small.case("vanilla", batch_size=2), small.reference_case()


def one_run(parent: Path, seconds: float, suite: str = "test") -> Path:
    """A run of one cell, whose calls take about `seconds`, and its reference, whose calls take one second."""
    noise = (0.99, 1.0, 1.01, 1.0, 0.995, 1.005)
    path = folder(parent, {LOOP: [[seconds * factor] for factor in noise], REFERENCE: [[1.0]] * 6})
    info = json.loads((path / "run.json").read_text())
    started = f"2026-01-01T00:{len(list(parent.iterdir())):02d}:00+00:00"
    (path / "run.json").write_text(json.dumps(info | {"suite": suite, "started": started}))
    return path


def test_two_runs_side_by_side_are_one_report(tmp_path: Path) -> None:
    runs = [folder(tmp_path, several([seconds] * MIN_CASES)) for seconds in (2.0, 2.5)]
    page = Path(call("--together", *runs, "--out", tmp_path / "out"))
    assert page == tmp_path / "out" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "of 6 cases 6 regressed" in text
    assert {file.name for file in (page.parent / "tables").iterdir()} == {
        f"{name}.{kind}" for name in ("together", "together_environment") for kind in ("csv", "md", "tex")
    }


def test_runs_of_a_few_cases_are_shown_side_by_side_without_a_verdict(tmp_path: Path) -> None:
    page = Path(call("--together", one_run(tmp_path, 2.0), one_run(tmp_path, 2.5), "--out", tmp_path / "out"))
    text = page.read_text(encoding="utf-8")
    assert "of 1 case 1 undecided" in text
    assert "No verdict: fewer than 6 cases have an interval in both runs" in text
    assert "+25%" not in text  # a change without an interval is none


def checks_of(parent: Path, suite: str, count: int) -> list[Path]:
    """Write checks of a suite in which nothing changed."""
    folders = []
    for number in range(count):
        same = comparison(finding("unchanged", 1.0, case=LOOP))
        check = checks.write(parent / f"{suite}-{number}", same, {LOOP: 1.0})
        head = check / "head" / "run.json"
        head.write_text(json.dumps(json.loads(head.read_text()) | {"suite": suite}))
        folders.append(check.rename(parent / f"{suite}-check-2026010{number + 1}T000000Z-ab12"))
    return folders


def test_the_history_of_a_folder_is_that_of_its_only_suite_with_several_checks(tmp_path: Path) -> None:
    checks_of(tmp_path, "a", 1)
    named = checks_of(tmp_path, "b", 2)
    run = one_run(tmp_path, 2.0, "a")  # of a check alone is a history
    text = Path(call("--history", tmp_path, "--out", tmp_path / "out")).read_text()
    assert "<h1>b: history</h1>" in text
    assert "in 2 checks" in text
    more = checks_of(tmp_path / "more", "a", 2)
    assert "--suite NAME" in refused("--history", *named, *more)
    chosen = Path(call("--history", "--suite", "a", *named, *more, "--out", tmp_path / "chosen"))
    assert "<h1>a: history</h1>" in chosen.read_text()
    assert f"{run}: is a run, and a history is of checks" in refused("--history", run, *named)


def test_the_checks_of_a_folder_have_a_history_of_their_own(tmp_path: Path) -> None:
    for number, slower in enumerate((1.0, 1.05, 1.0)):
        findings = [finding("unchanged", 1.0, case=LOOP), finding("regressed", slower, case=SECOND)]
        check = checks.write(
            tmp_path / str(number), comparison(*findings[: 1 + (slower > 1)]), {LOOP: 1.0, SECOND: slower}
        )
        check.rename(tmp_path / f"test-check-2026010{number + 1}T000000Z-ab12")
    page = Path(call("--history", tmp_path, "--out", tmp_path / "out"))
    text = page.read_text(encoding="utf-8")
    assert "Of 2 cases in 3 checks on 2026-01-01, 1 regressed." in text
    assert "vanilla loop inference, batch 2" in text
    assert {file.stem for file in (page.parent / "tables").iterdir()} == {"checks", "checks_changes"}
    for left in tmp_path.glob("test-check-*/verdicts.json"):
        left.unlink()
    assert "no two checks with verdicts, of test" in refused("--history", *tmp_path.glob("test-check-*"))


def test_what_can_not_be_read_is_left_out_of_a_history_and_the_page_says_so(tmp_path: Path) -> None:
    for number in range(4):
        same = comparison(finding("unchanged", 1.0, case=LOOP))
        check = checks.write(tmp_path / str(number), same, {LOOP: 1.0})
        check.rename(tmp_path / f"test-check-2026010{number + 1}T000000Z-ab12")
    second = tmp_path / "test-check-20260102T000000Z-ab12"
    torn = [second / "verdicts.json", tmp_path / "test-check-20260104T000000Z-ab12" / "head" / "run.json"]
    for file in torn:
        file.write_bytes(file.read_bytes()[:100])
    text = Path(call("--history", tmp_path, "--out", tmp_path / "out")).read_text(encoding="utf-8")
    assert "in 2 checks" in text
    for file in torn:
        assert text.count(str(file)) == 1
    assert text.count(LEFT_OUT_FILES.replace("'", "&#39;")) == 1
    assert f"{torn[1]}: not JSON" in refused("--history", torn[1].parents[1], second)
