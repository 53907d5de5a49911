"""The table of implementations: each that a suite can name has one row here, and one that builds it."""

import re
from pathlib import Path
from typing import get_args

import pytest

from rnnbench.report.drawing.marks import HUES, MARKERS, hues_of
from rnnbench.report.words.names import series_name
from rnnbench.store.implementations import (
    COMPILED,
    GRAPH_BACKENDS,
    IMPLEMENTATIONS,
    LADDER,
    REFERENCES,
    ROW_OF,
    Implementation,
    Swept,
    rung,
)
from rnnbench.store.profiles import CAUSES
from rnnbench.workloads.implementations import RUNNERS

ROOT = Path(__file__).parents[2]
OF_DATA = {"per_item", "vectorised"}


def test_every_implementation_has_one_row_and_one_that_builds_it() -> None:
    assert sorted(row.name for row in IMPLEMENTATIONS) == sorted({*get_args(Swept), "reference"})
    assert set(RUNNERS) == set(ROW_OF) - OF_DATA
    assert {name for name, runner in RUNNERS.items() if runner.run is None} == {
        row.name for row in IMPLEMENTATIONS if row.is_whole
    }


def test_there_is_one_ladder_and_it_has_all_that_runs_a_cell() -> None:
    assert set(LADDER) == {name for name in RUNNERS if not name.startswith("torch.nn") and name not in REFERENCES}
    assert [rung(name) for name in LADDER] == sorted(rung(name) for name in LADDER)
    assert rung("an older one") == len(IMPLEMENTATIONS)
    assert "scan" in LADDER


def test_what_tells_implementations_apart_is_in_their_rows() -> None:
    assert tuple(name for name, backend in GRAPH_BACKENDS.items() if backend == "inductor") == COMPILED
    assert {kind for row in IMPLEMENTATIONS for kind in row.removes} <= set(CAUSES)
    assert all(bool(row.step) == bool(row.recovers) for row in IMPLEMENTATIONS)


@pytest.mark.parametrize(
    ("implementation", "name"),
    [("torch.nn", "LSTM"), ("torch.nn-padded", "LSTM padded"), ("hoisted", "LSTM hoisted"), ("an older one", None)],
)
def test_a_series_is_named_by_its_cell_and_its_implementation(implementation: Implementation, name: str | None) -> None:
    assert series_name("LSTM", implementation) == (name or "LSTM an older one")


def test_the_page_of_suites_says_what_each_implementation_is() -> None:
    page = (ROOT / "docs" / "suites.md").read_text()
    ladder = page.partition("## Implementations: the ladder")[2].partition("\n\nFor `compiled`")[0]
    assert {*re.findall(r"^\| `([\w.-]+)` \|", ladder, re.MULTILINE)} == {*get_args(Implementation)} - OF_DATA


def test_eighty_cells_of_one_figure_look_unlike() -> None:
    cells = [f"models/cells.py:Cell{number}" for number in range(len(HUES) * len(MARKERS))]
    drawn = hues_of(cells)
    assert len(set(drawn.values())) == len(cells)
    assert hues_of(reversed(cells)) == drawn
    assert len({hue for hue, _ in hues_of(cells[: len(HUES)]).values()}) == len(HUES)
