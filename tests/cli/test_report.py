"""`rnnbench report` end to end, on runs made by hand."""

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnbench.cli import cli
from rnnbench.errors import UserError
from rnnbench.store.records import Case, Workload
from tests.analysis import made_up
from tests.doubles import checks, forks, stored
from tests.report.verdicts import samples

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


def test_a_check_has_a_report_of_its_own_beside_those_of_runs(
    check: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["report", *(str(path.relative_to(tmp_path)) for path in (check, run))])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [f"reports/{path.name}/index.html" for path in (check, run)]
    page = (tmp_path / "reports" / check.name / "index.html").read_text()
    assert "1 of 1 case regressed: lstm loop training: 5.1% slower (+4.2% to +6.0%)." in page
    before = sorted((tmp_path / "reports").iterdir())
    assert CliRunner().invoke(cli, ["report", str(check)]).exit_code == 0  # replaces its own report
    assert sorted((tmp_path / "reports").iterdir()) == before
    done = CliRunner().invoke(cli, ["report", str(check / "head")])
    assert done.stdout == f"reports/{check.name}-head/index.html\n"


def test_where_no_browser_can_be_opened_the_path_is_printed_and_said(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["report", str(run), "--out", str(tmp_path / "page"), "--open"], env=NO_DISPLAY)
    assert done.exit_code == 0
    page = tmp_path / "page" / "index.html"
    assert done.stdout == f"{page}\n"
    assert done.stderr == f"rnnbench: no browser can be opened here; open {page.as_uri()} in one\n"


def test_open_hands_the_page_to_the_browser(run: Path, tmp_path: Path) -> None:
    browser, shown = tmp_path / "browser", tmp_path / "shown"
    browser.write_text(f'#!/bin/sh\necho "$1" > {shown}\n')
    browser.chmod(browser.stat().st_mode | stat.S_IEXEC)
    done = forks.run(
        ["report", str(run), "--out", "page", "--open"], tmp_path, os.environ | {"BROWSER": f"{browser} %s"}
    )
    assert (done.stdout, done.stderr) == ("page/index.html\n", "")
    assert shown.read_text() == f"{(tmp_path / 'page' / 'index.html').as_uri()}\n"


def test_sizes_that_were_not_measured_are_predicted_and_called_so(tmp_path: Path) -> None:
    options = ["--predict", "batch_size=8 seq_len=16 hidden_size=100"]
    run = made_up.stored(tmp_path)
    done = CliRunner().invoke(cli, ["report", str(run), "--out", str(tmp_path / "page"), *options])
    assert done.exit_code == 0, done.output
    assert ">Predicted, not measured</h3>" in (tmp_path / "page" / "index.html").read_text()
    assert "| 8 |" in (tmp_path / "page" / "tables" / "predicted.md").read_text()


def test_without_a_run_the_newest_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["report"])
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == "report: no run is in results/; give a RUN, or measure one: rnnbench run quick"
    for number, day in enumerate((20, 25, 23)):
        run = stored.folder(tmp_path / "results", {case: [[seconds]] for case, seconds in CASES.items()})
        file = run / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"started": f"2026-11-{day}T00:00:00+00:00"}))
        run.rename(run.parent / f"run-{number}")
    done = CliRunner().invoke(cli, ["report"])
    assert done.stdout == "reports/run-1/index.html\n", done.output
