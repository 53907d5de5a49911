"""A case that works in two replicates and then fails has failed: none of its times and ratios are shown."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnbench import load
from rnnbench.analysis.replicate_times import times_by_case
from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.stored import case_ratios, compare, read_stored_run, together
from rnnbench.analysis.summary import noise, summarize
from rnnbench.cli.export import EXPORT_FORMATS
from rnnbench.harness.coordinator.start import read_earlier_run
from rnnbench.harness.turns.planner import Planner
from rnnbench.profiling.gap import gaps
from rnnbench.report import reports as figures
from rnnbench.report.case_tables import table_of_cases
from rnnbench.report.export import exported
from rnnbench.report.page.page import files, html, page_of_several
from rnnbench.report.reports import run_page
from rnnbench.report.side_by_side import side_by_side
from rnnbench.report.table import markdown
from rnnbench.store.folder import RunFolder, read_info
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Measurement
from rnnbench.suite.file import Settings
from tests.doubles import screens
from tests.doubles import workload as small
from tests.doubles.stored import measured, window, written

REFERENCE, WORKS, FAILS = small.reference_case(), small.case("vanilla"), small.case("vanilla", "hoisted")
SECONDS = {REFERENCE: 1.0, WORKS: 3.0, FAILS: 7.77}
FAILED_AFTER, REPLICATES = 2, 6


def make_run(parent: Path, factor: float = 1.0, fails: bool = True) -> Path:
    """A run in which a case fails in its third replicate; later visits of its group leave it out."""
    windows = []
    for replicate in range(REPLICATES):
        arms = [case for case in SECONDS if replicate < FAILED_AFTER or not fails or case != FAILS]
        for order, case in enumerate(arms):
            seconds = SECONDS[case] * (factor if case == WORKS else 1) * (1 + 0.001 * replicate)
            windows.append(replace(window(case, replicate, [seconds], turns=len(arms)), order=order))
    failed = [Measurement(FAILS, "failed", "ValueError: on purpose", parity=AGREES)] if fails else []
    return written(parent, [*measured(SECONDS), *failed], windows, status="finished")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


def test_its_windows_stay_and_count_nowhere(run: Path) -> None:
    assert (load(run).windows["case"] == FAILS.key).sum() == FAILED_AFTER
    counted = read_run_times(run).replicates
    assert counted.groupby("case")["windows"].sum().to_dict() == {REFERENCE.key: REPLICATES, WORKS.key: REPLICATES}


def test_its_row_has_no_number_of_its_time(run: Path) -> None:
    rows = summarize(read_run_times(run)).set_index("case")
    row = rows.loc[FAILS.key]
    assert (row["status"], row["replicates"], row["windows"], row["calls"]) == ("failed", 0, 0, 0)
    times = [name for name in rows.columns if name.startswith(("seconds", "ratio", "mean_seconds", "times_limit"))]
    assert len(times) >= 8
    assert row[times].isna().all()
    assert rows.loc[WORKS.key, "ratio"] == pytest.approx(3.0)


def test_it_is_failed_on_the_terminal_in_tables_pages_and_figures(run: Path) -> None:
    info, times = read_info(run), read_run_times(run)
    summary = summarize(times)
    drawn = figures.render_figures(summary)
    page = html(run_page(summary, noise(times), info))
    without_figures = re.sub("<svg.*?</svg>", "", page, flags=re.DOTALL)
    texts = [screens.of_run(summary, info), markdown(table_of_cases(summary)), without_figures]
    assert not [text for text in texts if "7.77" in text or "7.78" in text]
    assert "on purpose" in texts[0]
    marks = re.findall(
        'data-cases="([^"]*)"', " ".join(panel.svg for picture in drawn.values() for panel in picture.panels)
    )
    assert {number for mark in marks for number in mark.split()} <= {"0", "1"}  # the rows of the two others


@pytest.mark.parametrize("to", EXPORT_FORMATS)
def test_it_is_not_exported_as_measured(run: Path, to: str) -> None:
    data, _ = exported(run, to)
    if to == "parquet":
        data = pd.read_parquet(io.BytesIO(data)).to_csv().encode()
    assert b"7.77" not in data
    assert (to not in ("pytest-benchmark", "github-action-benchmark")) == (b"on purpose" in data)


def test_comparisons_have_no_ratio_of_it(run: Path, tmp_path: Path) -> None:
    others = [make_run(tmp_path, factor=1 + 0.001 * number, fails=False) for number in range(3)]
    stored, *rest = [read_stored_run(path) for path in (run, *others)]
    assert set(case_ratios(stored).index) == {WORKS.key}
    findings = {
        finding.case.key: finding
        for finding in compare(rest[0], stored, dict.fromkeys(stored.measurements, 0.1)).findings
    }
    assert (findings[FAILS.key].verdict, findings[FAILS.key].low) == ("regressed", None)
    for base, head in ((stored, rest[0]), (stored, stored)):
        by_key = {
            finding.case.key: finding
            for finding in compare(base, head, dict.fromkeys(stored.measurements, 0.1)).findings
        }
        assert by_key[FAILS.key].low is None
        assert by_key[FAILS.key].verdict in (None, "improved", "incomparable")
    rows = together([stored, *rest], 0.1).rows
    assert rows.query("case == @FAILS.key and at == 0")["ratio_to_reference"].isna().all()
    files(page_of_several("both", [side_by_side(together([stored, *rest], 0.1))]))
    assert all(case == WORKS.key for case, _ in gaps(read_run_times(run), {}))


def test_a_run_that_is_gone_on_with_plans_without_it(run: Path) -> None:
    earlier = read_earlier_run(run)
    assert [{timed.case for timed in windows} for _, windows, _ in earlier.visits] == [
        {REFERENCE.key, WORKS.key}
    ] * REPLICATES
    planner = Planner(earlier.groups, Settings(replicates=6, precision=0.02))
    planner.add_start(1.0)
    for group, windows, seconds in earlier.visits:
        planner.add_visit(group, seconds, times_by_case(windows))
    [record] = planner._records.values()
    assert set(record.log_ratios) == {REFERENCE.key, WORKS.key}
    assert planner.missed() == []
    assert planner.next_visits() == []


def test_a_run_all_of_whose_cases_have_failed_is_reported_and_gone_on_with(run: Path) -> None:
    folder = RunFolder(run)
    for case in SECONDS:
        folder.add_measurement(Measurement(case, "failed", "on purpose"))
    folder.close()
    info, times = read_info(run), read_run_times(run)
    summary = summarize(times)
    assert summary["seconds"].isna().all()
    assert np.isnan(noise(times).floor)
    html(run_page(summary, noise(times), info))
    earlier = read_earlier_run(run)
    assert [windows for _, windows, _ in earlier.visits] == [[]] * REPLICATES
    planner = Planner(earlier.groups, Settings())
    planner.add_start(1.0)
    for group, windows, seconds in earlier.visits:
        planner.add_visit(group, seconds, times_by_case(windows))
    assert planner.next_visits() == []
