"""Folders of checks made for tests, with known times and without starting a process."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.report.verdicts.history import read_check
from rnnbench.store.folder import RunFolder
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Case, Measurement
from rnnbench.store.run_info import OF_SIDE, Note, RunInfo
from tests.doubles.stored import INFO, window

SECONDS, CALLS = 1e-3, 10
PAIR_SECONDS = 30.0


def write(
    parent: Path,
    comparison: Comparison | None,
    slower: Mapping[Case, float],
    *,
    pairs: int = 6,
    drift: float = 0.0,
    spread: float = 0.005,
) -> Path:
    """A check's folder with a window of each case, side and pair; without a comparison it was interrupted.

    `slower`: the head's time over the base's. `drift`: what each pair adds to the logarithm of that ratio.
    """
    folder = parent / "test-check-20260101T000000Z-ab12"
    rng = np.random.default_rng(1)
    for side in ("base", "head"):
        (folder / side).mkdir(parents=True)
        run = RunFolder(folder / side)
        run.write_info(_info(side, pairs, is_finished=comparison is not None))
        for case in slower:
            run.add_measurement(Measurement(case, "measured", parity=AGREES))
        for pair in range(pairs):
            for index, (case, ratio) in enumerate(slower.items()):
                more = ratio * math.exp(drift * pair) if side == "head" else 1.0
                calls = SECONDS * more * np.exp(rng.normal(0, spread)) * (1 + 0.02 * np.arange(CALLS))
                started = PAIR_SECONDS * pair + index
                turns = sum(other.workload == case.workload for other in slower)
                run.add_window(replace(window(case, pair, list(calls), turns=turns), started=started))
        run.close()
    if comparison is not None:
        outputs.write_files(verdicts.verdicts_of(comparison), folder)
    return folder


def read_all(folders: Iterable[Path]) -> list[pd.DataFrame]:
    """The checks in these folders that ended with verdicts."""
    return [check for check in map(read_check, folders) if check is not None]


def _info(side: str, pairs: int, *, is_finished: bool) -> RunInfo:
    environment = INFO.environment | {
        "git": {"commit": ("1a2b3c4d5e" if side == "base" else "5e6f7a8b9c"), "dirty": side == "head"},
        "worker": {"python": "3.11.7", "torch": "2.13.0"},
    }
    return replace(
        INFO,
        id=f"{side}1",
        command="rnnbench check test --base main",
        environment=environment,
        status="finished" if is_finished else "interrupted",
        replicates=pairs,
        notes=[Note("main (1a2b3c4)" if side == "base" else "the working tree", OF_SIDE[side])],
    )
