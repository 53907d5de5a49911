"""Every cell of somebody else's package through `run` and `check` as it is: what happens, and how far it is from torch.

The package is torchrecurrent (pip install torchrecurrent); nothing of it is changed, and no adapter is written.
"""

import ast
import json
import shutil
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from click.testing import CliRunner

from rnnbench import load, summarize
from rnnbench.cli import cli

PACKAGE = "torchrecurrent"
# The nearest layer by what a cell keeps: one tensor, or more.
OF_TWO = "lstm"
OF_ONE = "gru"
# Cells that keep more than one tensor, beside those with LSTM in their names.
KEEP_TWO = ("JANETCell", "LEMCell", "NASCell", "RANCell", "SCRNCell", "UnICORNNCell", "coRNNCell", "TGRUCell")
MADE_FAST = ("MGUCell", "LiGRUCell", "PeepholeLSTMCell", "NASCell", "JANETCell")
FASTEST_COLUMNS = ["seq_len", "batch_size", "way", "seconds", "ratio", "ratio_low", "ratio_high", "is_chosen", "reason"]
SUITE = """
name = "strangers"
[measure]
replicates = 4
max_replicates = 4
[check]
budget_seconds = 150
margin = 0.9
[defaults]
implementation = ["loop", "torch.nn"]
phase = ["inference", "training"]
batch_size = 8
seq_len = 16
input_size = 64
hidden_size = 64
"""
SWEEP = """
[[sweep]]
cell = {cells}
reference = "{reference}"
"""


def strangers() -> pd.DataFrame:
    """A row for each cell of the package: the result of a run, its ratio to torch.nn's layer, and a check's verdict.

    Raises ModuleNotFoundError without the package.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}")
    names = _cells(Path(package.origin).parent)
    with tempfile.TemporaryDirectory() as scratch:
        sides = [_side(Path(scratch) / name, Path(package.origin).parent, names) for name in ("base", "head")]
        (sides[1] / "cells.py").write_text((sides[1] / "cells.py").read_text() + "# a change\n")
        run = _command("run", str(sides[1] / "strangers.toml"), "--out", scratch).splitlines()[-1]
        summary = summarize(load(run))
        checked = _command(
            "check", str(sides[1] / "strangers.toml"), "--base", str(sides[0]), "--out", scratch, "--json"
        )
    verdicts = pd.DataFrame(json.loads(line) for line in checked.splitlines() if line.startswith("{"))
    return pd.DataFrame([_row(name, summary, verdicts) for name in names])


def fastest_ways() -> pd.DataFrame:
    """The ways to run some of the package's cells in inference, each with its time over that of the cell as given.

    Raises ModuleNotFoundError without the package.
    """
    import torch

    import rnnbench

    package, rows = import_module(PACKAGE), []
    torch.set_num_threads(1)
    for name in MADE_FAST:
        cell = getattr(package, name)(64, 128)
        with torch.inference_mode():
            table = rnnbench.fastest(cell, torch.randn(32, 8, 64), budget="60s", progress=False).frame
        rows += [{"cell": name, **row} for row in table[FASTEST_COLUMNS].to_dict("records")]
    return pd.DataFrame(rows)


def _cells(package: Path) -> list[str]:
    """The names of the cells that the package offers, without importing it."""
    imports = [
        node for node in ast.parse((package / "__init__.py").read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    names = [alias.asname or alias.name for node in imports for alias in node.names]
    return sorted(name for name in names if name.endswith("Cell"))


def _side(folder: Path, package: Path, names: list[str]) -> Path:
    folder.mkdir()
    shutil.copytree(package, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "cells.py").write_text(f"from {PACKAGE} import {', '.join(names)}\n")
    of_two = [name for name in names if "LSTM" in name or name in KEEP_TWO]
    of_one = [name for name in names if name not in of_two]
    sweeps = "".join(
        SWEEP.format(cells=json.dumps([f"cells.py:{name}" for name in cells]), reference=reference)
        for cells, reference in ((of_one, OF_ONE), (of_two, OF_TWO))
    )
    (folder / "strangers.toml").write_text(SUITE + sweeps)
    return folder


def _command(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    if done.exit_code not in (0, 1):
        raise RuntimeError(done.output)
    return str(done.stdout)


def _row(name: str, summary: pd.DataFrame, verdicts: pd.DataFrame) -> dict[str, object]:
    rows_of_cell = summary[summary["cell"] == f"cells.py:{name}"].set_index("phase")
    row: dict[str, object] = {
        "cell": name,
        "timed against": f"torch.nn.{str(rows_of_cell['reference'].iloc[0]).upper()}",
    }
    for phase in ("inference", "training"):
        case = rows_of_cell.loc[phase]
        is_timed = case["status"] == "measured"
        ratio = f"{case['ratio']:.2f} ({case['ratio_low']:.2f} to {case['ratio_high']:.2f})"
        row[f"{phase}: ratio (95%)"] = ratio if is_timed else f"{case['status']}: {case['reason']}"
    verdicts_of_cell = verdicts[verdicts["cell"] == f"cells.py:{name}"]
    row["compared"] = str(rows_of_cell["parity"].iloc[0])
    row["check of equal code"] = ", ".join(verdicts_of_cell["verdict"].fillna("not compared").unique())
    return row
