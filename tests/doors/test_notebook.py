"""The notebook in `suites/` runs, and what it prints of its data and cells is what it keeps."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.doors import notebook

BUDGET = re.compile(r'budget(_seconds=\d+|="\d+s")')
FEW = "budget=1"
TABLES = 3  # cells that print data sets and torchinfo's tables, which are the same everywhere


def shortened(source: str) -> str:
    """The same code with less time to measure."""
    return BUDGET.sub(lambda match: 'budget="4s"' if '"' in match[0] else FEW, source)


def printed_tables(kept: Any) -> list[str]:
    return [notebook.printed(cell) for cell in kept.cells if cell.cell_type == "code"][1 : 1 + TABLES]


@pytest.mark.weekly
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_runs_and_its_cells_agree_with_those_of_torch() -> None:
    kept = notebook.read()
    again = notebook.read()
    for cell in again.cells:
        cell.source = shortened(cell.source)
    done = notebook.run(again)
    assert printed_tables(done) == printed_tables(kept)
    texts = [notebook.printed(cell) for cell in done.cells if cell.cell_type == "code"]
    measured = next(text for text in texts if "torch.nn.RNN" in text and "parity" in text)
    assert measured.count("agrees") == 2
    assert any(re.search(r"mine takes [\d.]+×", text) for text in texts)
    assert texts[-1].startswith("(50, 32, 20) True")


def test_what_is_kept_is_complete_and_names_no_place_of_the_machine() -> None:
    kept = notebook.read()
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs) >= 3
    text = notebook.FILE.read_text()
    assert not re.search(r"[\"\s(=](/home|/root|/tmp|/work|/Users)/", text)
    assert str(Path.home()) not in text
