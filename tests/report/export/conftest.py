"""A run made by hand, with cases of every status, as `export` reads it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnbench import load
from rnnbench.analysis.runs import run_times
from rnnbench.analysis.runs.summary import summarize
from rnnbench.report.export.exported import ExportedRun
from rnnbench.store.folder import read_info
from rnnbench.store.records import Case, Measurement
from tests.doubles import stored
from tests.doubles.workload import case, reference_case

LOOP, HOISTED, REFERENCE = case("vanilla"), case("vanilla", "hoisted"), reference_case()
WIDE = case("vanilla", batch_size=16)  # its workload has no reference
SKIPPED, FAILED = case("combined", "hoisted"), case("gru")
WHY = "=1+1 is no reason"  # a spreadsheet would run it as a formula
OPERATORS = 67


@dataclass(frozen=True)
class Run:
    path: Path
    exported: ExportedRun

    @property
    def summary(self) -> pd.DataFrame:
        return self.exported.summary

    @property
    def of_windows(self) -> ExportedRun:
        return replace(self.exported, windows=load(self.path).windows)

    def row(self, case: Case) -> dict[Any, Any]:
        return self.summary[self.summary["case"] == case.key].iloc[0].to_dict()


def read(path: Path) -> Run:
    times = run_times.read(path)
    return Run(path, ExportedRun(read_info(path), times, summarize(times)))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six replicates; the last was cut off before the hoisted case and does not count."""
    times = {
        LOOP: [[0.00030 + 0.00001 * number] * 3 for number in range(6)],
        HOISTED: [[0.00020 + 0.00002 * number] * 3 for number in range(5)],
        REFERENCE: [[0.00010 + 0.00001 * number] * 3 for number in range(6)],
        WIDE: [[0.0041], [0.0042]],
    }
    extra = [
        Measurement(LOOP, "measured", parity="agrees", metrics={"operators": OPERATORS}, missing={"macs": "=why"}),
        Measurement(SKIPPED, "skipped", "nothing to hoist"),
        Measurement(FAILED, "failed", WHY),
    ]
    return read(stored.folder(tmp_path_factory.mktemp("export"), times, extra))
