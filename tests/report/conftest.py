"""Summaries of runs that were never measured: the cases of the suites with plausible, reproducible numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.derived import with_derived
from rnnbench.analysis.estimate import ENDS
from rnnbench.report import reports as figures
from rnnbench.store.frames import missing_text
from rnnbench.store.metrics import METRICS
from rnnbench.store.parity import AGREES, IS_REFERENCE, UNKNOWN, Parity
from rnnbench.store.records import Case, Group
from rnnbench.store.run_info import Note, RunInfo
from rnnbench.suite import suites
from tests.doubles.stored import ceiling as made_up_ceiling

Summaries = Callable[[str], pd.DataFrame]

GRID = str(Path(__file__).with_name("grid.toml"))
GATES = {"rnn": 1, "lstm": 4, "gru": 3, "regular": 1, "windows": 1, "overlapping": 1}
SLOWNESS = {
    ("inference", "loop"): 5.0,
    ("inference", "hoisted"): 2.6,
    ("training", "loop"): 3.0,
    ("training", "hoisted"): 1.5,
    ("step", "loop"): 2.2,
    ("step", "hoisted"): 1.4,
    ("epoch", "loop"): 2.0,
    ("loading", "vectorised"): 0.3,
} | {
    (phase, how): slow
    for phase in ("inference", "training")
    for how, slow in {
        "transposed": 2.2,
        "torch.nn-cudagraph": 0.9,
        "compiled": 1.4,
        "prepacked": 1.3,
        "cudagraph": 1.2,
        "reduce-overhead": 1.1,
        "torch.nn-cell": 4.5,
    }.items()
}
OF_MODELS = ("parameters", "macs", "saved_bytes", "mult_adds", "input_bytes")


NO_ENERGY = "no RAPL: there is no /sys/class/powercap"
CEILING = made_up_ceiling(
    device="cpu",
    dtype="float32",
    threads=1,
    macs_per_second=51.9e9,
    copies=((32_768, 35.5e9), (4_194_304, 94.6e9), (134_217_728, 25.8e9)),
    dispatch_seconds=4.5e-7,
    launch_seconds=None,
)


def made_up_row(case: Case, noise: np.random.Generator) -> dict[str, object]:
    """The row of a measured case: torch.nn's time follows from its arithmetic, a cell's from its launches per step."""
    load = case.workload
    gates, work = GATES[load.reference], load.batch_size * load.hidden_size * (load.input_size + load.hidden_size)
    reference = load.num_layers * load.seq_len * (3e-6 + gates * work / 3e10) * (1 if load.phase == "inference" else 3)
    slow = 1.0 if case.is_reference else SLOWNESS[load.phase, case.implementation] / (1 + work / 5e6) * (1 + gates / 9)
    ratio = max(slow, 0.93) * float(noise.uniform(0.97, 1.03)) if not case.is_reference else 1.0
    spread = float(noise.uniform(1.005, 1.05))
    parameters = load.num_layers * gates * load.hidden_size * (load.input_size + load.hidden_size + 2)
    macs = load.seq_len * load.num_layers * gates * work * (1 if load.phase == "inference" else 3)
    is_fused = case.is_reference and load.reference == "lstm"
    states = 4 * load.seq_len * load.batch_size * load.hidden_size * load.num_layers
    row: dict[str, object] = {
        "status": "measured",
        "reason": "",
        "parity": IS_REFERENCE if case.is_reference else AGREES,
        "parity_error": 0.0 if case.is_reference else 3.1e-7,
        "backend": "mkldnn_rnn_layer" if is_fused else "aten",
        "parameters": parameters,
        "macs": macs,
        "peak_bytes": 3 * states,
        "saved_bytes": 0 if load.phase == "inference" else 2 * states,
        "resident_bytes": 4096 * (states // 4096),
        "reserved_bytes": np.nan,
        "operators": 2 if case.is_reference else 13 * load.seq_len,
        "allocations": 10 if is_fused else 12 * load.seq_len,
        "energy_joules": np.nan,
        "missing": missing_text({"energy_joules": NO_ENERGY}),
        "ceiling": replace(CEILING, device=load.device, dtype=load.dtype, threads=load.threads).to_text(),
        "mult_adds": load.batch_size * parameters,
        "input_bytes": 4 * load.batch_size * load.input_size,
        "forward_backward_bytes": 8 * load.batch_size * load.hidden_size,
        "parameter_bytes": 4 * parameters,
        "warmup_windows": 3,
        "replicates": 6,
        "windows": 24,
        "calls": 2400,
        "seconds": reference * ratio,
        "seconds_low": reference * ratio / spread,
        "seconds_high": reference * ratio * spread,
        "mean_seconds": reference * ratio * 1.08,
        "ratio": ratio,
        "mean_ratio": ratio,
        "has_slow_calls": False,
        "ratio_low": ratio if case.is_reference else ratio / spread,
        "ratio_high": ratio if case.is_reference else ratio * spread,
        "quiet_share": 0.97,
        "state": "undisturbed",
    }
    return row if load.phase != "loading" else row | dict.fromkeys(OF_MODELS, np.nan) | {"backend": ""}


def without_time(row: dict[Any, Any], status: str, reason: str) -> dict[Any, Any]:
    """Turn the row of a measured case into that of a skipped or failed case."""
    times = ("mean_seconds", "mean_ratio", *(f"{name}{end}" for name in ("seconds", "ratio") for end in ENDS))
    counts = ("replicates", "windows", "calls")
    return (
        row
        | {"status": status, "reason": reason, "parity": UNKNOWN, "backend": "", "bound_by": "", "missing": ""}
        | dict.fromkeys((*times, *(metric.name for metric in METRICS)), np.nan)
        | dict.fromkeys(counts, 0)
    )


def summary_of(groups: list[Group]) -> pd.DataFrame:
    """What `summarize` would return for these groups. combined can't be hoisted; deep-notebook is not compared."""
    noise = np.random.default_rng(7)
    rows = []
    for case in (case for group in groups for case in group.cases):
        row = made_up_row(case, noise)
        if (case.cell, case.implementation) == ("combined", "hoisted") or (
            case.cell.startswith("deep") and case.implementation == "hoisted"
        ):
            row = without_time(row, "skipped", "combined has one product over input and state, which can't be hoisted")
        elif case.cell == "deep-notebook":
            why = "layer l reads layer l-1's state, so it is another function than torch.nn.RNN"
            row |= {"parity": Parity("uncompared", why=why)}
        rows.append({"run": "made-up", "case": case.key, **case.axes(), **row})
    frame = pd.DataFrame(rows)
    return with_derived(frame.assign(**{each.name: np.nan for each in METRICS if each.name not in frame}))


@pytest.fixture(scope="session")
def made_up() -> Summaries:
    """The summary of a suite by its name, each time a fresh copy: of a shipped one; `quick` has the sizes of a grid.

    The sizes of the shipped `quick` differ by phase, and may change.
    """
    known: dict[str, pd.DataFrame] = {}

    def make(suite: str) -> pd.DataFrame:
        if suite not in known:
            known[suite] = summary_of(suites.read_suite(GRID if suite == "quick" else suite).groups({}, None))
        return known[suite].copy()

    return make


@pytest.fixture
def quick(made_up: Summaries) -> pd.DataFrame:
    return made_up("quick")


@pytest.fixture
def notebook(made_up: Summaries) -> pd.DataFrame:
    return made_up("notebook")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of runs have no figures, for tests of what else is in them."""
    monkeypatch.setattr(figures, "FIGURES", ())


@pytest.fixture(scope="session")
def info() -> RunInfo:
    return RunInfo(
        suite="quick",
        description="All cells against torch.nn, small sizes",
        resolved={"name": "quick"},
        command="rnnbench run quick",
        started="2026-11-24T15:08:00+00:00",
        environment={
            "machine": {
                "system": "Linux-6.1-x86_64",
                "cpu": "AMD EPYC 7B13",
                "cores_allowed": [0, 1],
                "cores": 2,
                "memory_bytes": 33_500_000_000,
                "frequency_governor": None,
            },
            "load": {"load_average": 0.31, "steal_share": 0.0},
            "software": {"python": "3.11.7", "packages": {"torch": "2.13.0+cpu"}, "variables": {}},
            "git": {"commit": "0123456789abcdef", "dirty": False},
        },
        status="finished",
        seconds=63.2,
        replicates=6,
        ceilings=[CEILING.to_json()],
        stage_seconds={"observing": 4.0},
        notes=[Note("--budget 60s was spent: 3 cases are less precise than asked")],
    )


def with_one_replicate(summary: pd.DataFrame) -> pd.DataFrame:
    """As if the run had a single replicate: values, but no intervals."""
    single = summary.copy()
    single.loc[single["implementation"] != "torch.nn", ["ratio_low", "ratio_high"]] = np.nan
    single[["seconds_low", "seconds_high"]] = np.nan
    single.loc[single["status"] == "measured", "replicates"] = 1
    return single


def with_none_measured(summary: pd.DataFrame, status: str = "skipped", reason: str = "no device") -> pd.DataFrame:
    """The same cases as if none had been measured."""
    return pd.DataFrame([without_time(row, status, reason) for row in summary.to_dict("records")])


def without_reference(summary: pd.DataFrame) -> pd.DataFrame:
    """As if the suite had no torch.nn implementation."""
    own = summary[summary["implementation"] != "torch.nn"].copy()
    own[["ratio", "ratio_low", "ratio_high"]] = np.nan
    return own


def without_any_reference(summary: pd.DataFrame) -> pd.DataFrame:
    """As if the suite had named no reference."""
    own = summary[summary["implementation"] != "torch.nn"]
    absent = dict.fromkeys(("ratio", "ratio_low", "ratio_high"), np.nan)
    own = own.assign(reference="none", **absent)
    own["parity"] = pd.Series([Parity("uncompared", why="there is no reference")] * len(own), index=own.index)
    return own


def renamed(summary: pd.DataFrame, cell: str, to: str) -> pd.DataFrame:
    """The same run with a cell renamed."""
    other = summary.copy()
    other["cell"] = other["cell"].replace(cell, to)
    other["case"] = [key.replace(f"cell={cell} ", f"cell={to} ") for key in other["case"]]
    return other


def info_with(info: RunInfo, **changes: object) -> RunInfo:
    """The same run with some fields changed."""
    return replace(info, **changes)  # type: ignore[arg-type]
