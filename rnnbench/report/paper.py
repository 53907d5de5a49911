"""A result in Python for a paper: its table in LaTeX, and a folder with its frames, figure, table and note."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.report.latex import tables
from rnnbench.report.page.page import folder_of, put
from rnnbench.report.table import csv
from rnnbench.report.words.names import one_line, say, word
from rnnbench.report.words.units import MISSING, in_words
from rnnbench.store.parity import AGREES, IS_REFERENCE, parities
from rnnbench.text import encoded

RESULT_IDENTITY = "a result in Python"  # of its folder
HEADERS = {"parity": "outputs", "name": "case"}
WITHOUT_COLUMNS = ("seconds", "ratio", "ratio_low", "ratio_high", "parity")  # of a result that prints as words alone
OF_NUMBERS = ("time", "ratio", "95% interval")


def latex(
    frame: pd.DataFrame, column_names: Sequence[str], facts: Mapping[str, Any], environment: pd.DataFrame | None
) -> str:
    """Return the shown columns of a frame as a table in LaTeX, with what was measured where in its caption.

    `facts`: such as `phase`, `device`, `threads` and `reference`; `environment`: with the columns `what` and `value`.
    """
    names = [name for name in (column_names or WITHOUT_COLUMNS) if name in frame]
    index = [str(frame.index.name)] if frame.index.name else []
    frame = _with_index(frame)
    agrees = "parity" in names and set(parities(frame["parity"])) <= {AGREES, IS_REFERENCE}
    if agrees:
        names.remove("parity")
    if "parity" in names:
        frame = frame.assign(parity=[parity.brief for parity in parities(frame["parity"])])
    columns = in_words(frame[[*index, *names]])
    values = columns.itertuples(index=False, name=None)
    rows = [[MISSING if pd.isna(value) else one_line(value) for value in row] for row in values]
    headers = [HEADERS.get(name, word(name).replace("_", " ")) for name in map(str, columns)]
    are_numbers = [name in OF_NUMBERS or columns[name].dtype.kind in "iuf" for name in columns]
    compared = f", and its ratio to that of {one_line(facts['reference'])}" if facts.get("reference") else ""
    note = f"{_where(facts, environment)} {'Outputs agree.' if agrees else ''}".strip()
    return tables("result", f"Time per call{compared}", note, headers, are_numbers, rows)


def files(frames: Mapping[str, pd.DataFrame], figure: Figure | None, table: str, note: str) -> dict[str, bytes]:
    """Return the files of a result by their names: a CSV of each frame, the figure as PDF and PNG, table and note."""
    contents = {f"{name}.csv": encoded(csv(_with_index(frame))) for name, frame in frames.items()}
    contents |= {"table.tex": encoded(table), "note.txt": encoded(f"{note}\n")}
    if figure is None:
        return contents
    for kind in ("pdf", "png"):
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=300)
        contents[f"figure.{kind}"] = out.getvalue()
    return contents


def save(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """Write the files of a result into a folder; raises UserError if it holds files of others."""
    put(*folder_of(RESULT_IDENTITY, [folder], folder), contents)
    return folder


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index() if frame.index.name else frame


def _where(facts: Mapping[str, Any], environment: pd.DataFrame | None) -> str:
    """Return `Training on cpu, 1 thread, torch 2.13.0, AuthenticAMD family 25 model 17.`, as far as it is known."""
    facts_by_name: dict[str, str] = {}
    if environment is not None and "about" not in environment:
        facts_by_name = dict(zip(environment["what"], environment["value"], strict=True))
    place = f" on {facts['device']}" if facts.get("device") else ""
    parts = [
        f"{facts['phase']}{place}" if facts.get("phase") else "",
        say("threads", facts["threads"]) if facts.get("threads") else "",
        f"torch {facts_by_name['torch']}" if facts_by_name.get("torch") else "",
        facts_by_name.get("processor", "").partition(";")[0],
    ]
    words = ", ".join(filter(None, parts))
    return f"{words[:1].upper()}{words[1:]}." if words else ""
