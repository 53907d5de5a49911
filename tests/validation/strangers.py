"""Every cell of somebody else's package through `run` and `check` as it is: what happens, and how far it is from torch.

The package is torchrecurrent (pip install torchrecurrent); nothing of it is changed, and no adapter is written.
"""

import ast
import json
import shutil
import tempfile
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from click.testing import CliRunner

from rnnbench import load, summarize
from rnnbench.cells import with_arguments
from rnnbench.cli import cli
from rnnbench.store.records import Case, Implementation
from rnnbench.text import first_line
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small

PACKAGE = "torchrecurrent"
# The nearest layer by what a cell keeps: one tensor, or more.
OF_TWO = "lstm"
OF_ONE = "gru"
# Cells that keep more than one tensor, beside those with LSTM in their names.
KEEP_TWO = ("JANETCell", "LEMCell", "NASCell", "RANCell", "SCRNCell", "UnICORNNCell", "coRNNCell", "TGRUCell")
MADE_FAST = ("MGUCell", "LiGRUCell", "PeepholeLSTMCell", "NASCell", "JANETCell")
FASTEST_COLUMNS = ["seq_len", "batch_size", "way", "seconds", "ratio", "ratio_low", "ratio_high", "is_chosen", "reason"]
# Package, cell, arguments, and whether it runs whole sequences.
TRIED: tuple[tuple[str, str, dict[str, Any], bool], ...] = (
    ("aru", "ARU", {"input_size": 64, "hidden_size": 64}, True),
    ("aru", "ManualLSTM", {"input_size": 64, "hidden_size": 64}, True),
    ("cerebral_lstm", "CerebralLSTMCell", {"input_size": 64, "hidden_size": 64}, False),
    ("comfi_fast_grnn_torch.ComfiFastGRNN", "ComfiFastGRNNCell", {"input_size": 64, "hidden_size": 64}, False),
    ("comfi_fast_grnn_torch", "ComfiFastGRNN", {"input_size": 64, "hidden_size": 64}, True),
    ("conv_lstm", "ConvLSTMCell", {"input_dim": 64, "hidden_dim": 64, "kernel_size": 3, "bias": True}, False),
    ("dnc", "DNC", {"input_size": 64, "hidden_size": 64}, True),
    ("LRU_pytorch", "LRU", {"in_features": 64, "out_features": 64, "state_features": 64}, True),
    ("minGRU_pytorch.minGRU", "minGRU", {"dim": 64}, True),
    ("subLSTM.nn.cell", "SubLSTMCell", {"input_size": 64, "hidden_size": 64}, False),
    ("torchxlstm", "sLSTMBlock", {"input_size": 64, "head_size": 16, "num_heads": 4}, False),
    ("torchxlstm", "mLSTM", {"input_size": 64, "head_size": 16, "num_heads": 4}, True),
    ("ur_lstm", "URLSTMCell", {"input_size": 64, "hidden_size": 64}, False),
    ("ncps.torch", "CfCCell", {"input_size": 64, "hidden_size": 64}, False),
    ("ncps.torch", "CfC", {"input_size": 64, "units": 64}, True),
    ("brc_pytorch.modules", "BRC", {"input_size": 64, "hidden_size": 64}, False),
    ("brc_pytorch.modules", "LSTMCell", {"input_size": 64, "hidden_size": 64}, False),
    ("brc_pytorch.modules", "GRUCell", {"input_size": 64, "hidden_size": 64}, False),
    ("snntorch", "Leaky", {"beta": 0.9}, False),
    ("snntorch", "Synaptic", {"alpha": 0.9, "beta": 0.8}, False),
    ("snntorch", "SLSTM", {"input_size": 64, "hidden_size": 64}, False),
)
FIRST_TRIES = Path("results/validation/strangers-tries.csv")
SIZE_NAMES = ("input_size", "hidden_size", "in_features", "out_features", "input_dim", "hidden_dim", "units", "dim")
SIZES_RUN = {"input_size": 64, "hidden_size": 64, "seq_len": 16, "batch_size": 8}
MEASURED: dict[str, Any] = {"replicates": 2, "precision": None, "progress": False}
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


def tries() -> pd.DataFrame:
    """Return what becomes of cells of several packages: a row for each cell and function, beside its first try.

    The first try is that of the stored table. Packages that are not installed keep their rows. Nothing is timed, except
    a quick `measure`.
    """
    import torch

    rows = []
    torch.set_num_threads(1)
    for package, name, arguments, is_whole in TRIED:
        if find_spec(package.partition(".")[0]) is None:
            continue
        for function, call in TRIES.items():
            if is_whole and function == "unroll":
                continue
            torch.manual_seed(0)
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                try:
                    result = call(package, name, arguments, is_whole)
                except Exception as error:  # whatever a stranger's cell raises
                    result = f"{type(error).__name__}: {first_line(error)}"
            rows.append({"cell": f"{package}:{name}", "call": function, "now": result})
    known = pd.read_csv(FIRST_TRIES).set_index(["cell", "call"])
    table = pd.DataFrame(rows, columns=["cell", "call", "now"]).set_index(["cell", "call"]).combine_first(known)
    table["first try"] = table["first try"].fillna(table["now"])
    return table[["first try", "now"]].reset_index()


def _made(package: str, name: str, arguments: dict[str, Any]) -> Any:
    return getattr(import_module(package), name)(**arguments).eval()


def _run(package: str, name: str, arguments: dict[str, Any], is_whole: bool) -> str:
    """Return what `rnnbench run` notes before it times the cell, with the arguments that are no sizes."""
    more = {key: value for key, value in arguments.items() if key not in SIZE_NAMES}
    cell = with_arguments(f"{package}:{name}", more)
    implementation: Implementation = "sequence" if is_whole else "loop"
    case = Case(cell, implementation, small.workload(reference="none", dtype="float32", **SIZES_RUN))
    return f"works; {observe(build(case, Path())).parity}"


def _unroll(package: str, name: str, arguments: dict[str, Any], _is_whole: bool) -> str:
    import rnnbench

    return _shapes(rnnbench.unroll(_made(package, name, arguments))(_input())[0])


def _fastest(package: str, name: str, arguments: dict[str, Any], _is_whole: bool) -> str:
    import rnnbench

    result = rnnbench.fastest(_made(package, name, arguments), _input(), ways=[])(_input())
    return _shapes(result[0] if isinstance(result, tuple) else result)


def _measure(package: str, name: str, arguments: dict[str, Any], is_whole: bool) -> str:
    """Return the parity of the module beside an LSTM that reads (seq, batch, features)."""
    import torch

    import rnnbench

    module = _made(package, name, arguments)
    modules = {"mine": module if is_whole else rnnbench.unroll(module), "torch": torch.nn.LSTM(64, 64)}
    return str(rnnbench.measure(modules, _input(), **MEASURED).frame["parity"].iloc[0])


def _input() -> Any:
    import torch

    return torch.randn(16, 8, 64, generator=torch.Generator().manual_seed(0))


def _shapes(outputs: Any) -> str:
    return f"works; outputs {tuple(outputs.shape)}"


TRIES = {"run": _run, "unroll": _unroll, "fastest": _fastest, "measure": _measure}


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
    own = summary[summary["cell"] == f"cells.py:{name}"].set_index("phase")
    row: dict[str, object] = {"cell": name, "timed against": f"torch.nn.{str(own['reference'].iloc[0]).upper()}"}
    for phase in ("inference", "training"):
        case = own.loc[phase]
        is_timed = case["status"] == "measured"
        ratio = f"{case['ratio']:.2f} ({case['ratio_low']:.2f} to {case['ratio_high']:.2f})"
        row[f"{phase}: ratio (95%)"] = ratio if is_timed else f"{case['status']}: {case['reason']}"
    found = verdicts[verdicts["cell"] == f"cells.py:{name}"]
    row["compared"] = str(own["parity"].iloc[0])
    row["check of equal code"] = ", ".join(found["verdict"].fillna("not compared").unique())
    return row
