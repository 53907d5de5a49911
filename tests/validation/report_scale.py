"""Cost of the command line on large runs: seconds, processor seconds and peak resident memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tests.validation import large_run

REPLICATES, WINDOWS = 10, 5  # for each of 20,160 cases: 1,008,000 windows
LENGTHS = range(1, 121)  # ten times as many as those of `large_run`
SLOWED_SHARE, SLOWED_BY = 0.01, 1.1  # share of the second run's cases, and their factor


def report_scale() -> pd.DataFrame:
    """One row for each command, on two made-up runs of 1,008,000 windows in 20,160 cases."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base, head = runs(folder)
        report = ["report", str(base), "--out", str(folder / "report")]
        compare = ["compare", str(base), str(head)]
        return _table({"report, first": report, "report, again": report, "compare": compare}, folder / "report")


def huge() -> pd.DataFrame:
    """The report of a made-up run of 10,080,000 windows in 201,600 cases, which takes 6 GB on disk."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = large_run.write(folder, large_run.suite(seq_len=LENGTHS), replicates=REPLICATES, windows=WINDOWS, seed=1)
        report = ["report", str(run), "--out", str(folder / "report")]
        return _table({"report, first": report, "report, again": report}, folder / "report")


def _table(commands: Mapping[str, Sequence[str]], report: Path) -> pd.DataFrame:
    table = pd.DataFrame([{"command": name, **measured(command)} for name, command in commands.items()])
    size = sum(file.stat().st_size for file in report.rglob("*") if file.is_file())
    page = (report / "index.html").stat().st_size
    first = table.index == 0
    return table.assign(
        **{"page MB": np.where(first, page / 1e6, np.nan), "report MB": np.where(first, size / 1e6, np.nan)}
    )


def runs(parent: Path) -> tuple[Path, Path]:
    """Two runs of the same cases; some are slower in the second."""
    suite = large_run.suite()
    keys = [case.key for group in suite.groups({}, None, most=None) for case in group.cases if not case.is_reference]
    slower = dict.fromkeys(keys[:: round(1 / SLOWED_SHARE)], SLOWED_BY)
    base = large_run.write(parent, suite, replicates=REPLICATES, windows=WINDOWS, seed=1)
    head = large_run.write(parent, suite, replicates=REPLICATES, windows=WINDOWS, seed=2, slower=slower)
    return base, head


def measured(command: Sequence[str]) -> dict[str, float]:
    """The cost of one command; raises CalledProcessError if it failed."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "rnnbench", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: something regressed
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "seconds": seconds,
        "processor seconds": usage.ru_utime + usage.ru_stime,
        "peak GB": usage.ru_maxrss * 1024 / 1e9,
    }
