"""What a history of checks says, shows and writes."""

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.figures.several_runs import figure_checks
from rnnbench.report.figures.several_runs.panels import MAX_PANELS
from rnnbench.report.page.checks_history import section
from rnnbench.report.verdicts.over_time import DatedCheck, frame
from tests.doubles import checks
from tests.doubles import workload as small
from tests.doubles.pages import shown
from tests.report.verdicts.samples import comparison, finding

CASES = [small.case("gru", batch_size=size) for size in range(1, 16)]


def of(tmp_path: Path, *changes: dict[int, float]) -> list[DatedCheck]:
    """A check for each entry, which says by what factor some cases, by their index, became slower."""
    folders = []
    for number, slower in enumerate(changes):
        ratios = [slower.get(index, 1.001) for index in range(len(CASES))]
        verdicts = ["regressed" if ratio > 1.02 else "improved" if ratio < 0.98 else "unchanged" for ratio in ratios]
        found = [
            finding(verdict, ratio, case=case)  # type: ignore[arg-type]
            for verdict, ratio, case in zip(verdicts, ratios, CASES, strict=True)
        ]
        folders.append(checks.write(tmp_path / str(number), comparison(*found), {CASES[0]: 1.0}))
    return checks.read_all(folders)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([{3: 1.1, 4: 1.3}, {3: 1.2, 5: 0.7}, {}], id="some changed"),
        pytest.param([{}, {7: 1.01}], id="none changed"),
    ],
)
def test_the_words_count_cases_and_name_the_largest_changes(
    tmp_path: Path, changes: list[dict[int, float]], snapshot: SnapshotAssertion
) -> None:
    assert shown(section(of(tmp_path, *changes))) == snapshot


def test_the_cases_that_changed_most_are_drawn_first_and_no_more_than_have_room(tmp_path: Path) -> None:
    found = frame(of(tmp_path, {3: 1.1}, {9: 0.5}))
    chosen = figure_checks.telling(found)
    assert chosen[:2] == [CASES[9].key, CASES[3].key]
    assert len(chosen) == MAX_PANELS
    figure = figure_checks.render(found, ["2026-01-01 08:00", "2026-01-02 08:00"])
    assert "+10%" in {text.get_text() for axes in figure.axes for text in axes.texts}


@pytest.mark.parametrize("rows", [0, 1])
def test_one_check_without_a_change_has_no_figure(tmp_path: Path, rows: int) -> None:
    assert figure_checks.render(frame(of(tmp_path, {})).head(rows), ["2026-01-01 08:00"]) is None
