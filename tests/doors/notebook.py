"""The notebook in `suites/`: `python -m tests.doors.notebook` runs it and keeps what it prints (three minutes)."""

import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

SUITES = Path(__file__).parents[2] / "suites"
FILE = SUITES / "tutorial.ipynb"
TIMEOUT = 300  # seconds for a cell


def read() -> Any:
    """The notebook as it is kept."""
    return nbformat.read(FILE, as_version=4)


def run(notebook: Any) -> Any:
    """Run all cells in a fresh process in `suites/`; raises CellExecutionError if one fails."""
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        coalesce_streams=True,  # of a progress display the last state is kept
        resources={"metadata": {"path": str(SUITES)}},
    )
    client.execute()
    return notebook


def printed(cell: Any) -> str:
    """What a cell prints and shows, as text."""
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def _clean(notebook: Any) -> None:
    """Remove what changes from run to run without meaning: empty progress displays, and times of execution."""
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr" or output.text.strip()]


if __name__ == "__main__":
    began = time.perf_counter()
    done = run(read())
    _clean(done)
    nbformat.write(done, FILE)
    print(f"{FILE}: {time.perf_counter() - began:.0f} s")
