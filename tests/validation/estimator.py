"""The choice of the estimator: the statistic and the length of turns with the least error for their time.

Two processes run equal code in turns, as in a check. A row is the spread of a case's log-ratio over visits, for a
second of turns.
"""

import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench import suites
from rnnbench.analysis.replicate import Times, log_ratio, times_by_case
from rnnbench.expressions import parse_only
from rnnbench.harness.check.pairs import WorkerPairs
from rnnbench.harness.check.sides import Side
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.visit import Visitor, VisitSide
from rnnbench.harness.devices import Cpu
from rnnbench.harness.machine.cores import measuring_cores
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case, Measurement
from tests.doubles.stored import INFO

ONLY = ["cell=vanilla,lstm,gru phase=inference implementation=loop"]
TURN_SECONDS = (0.01, 0.005, 1.5e-3, 5e-4)
VISITS = 20
CASE_SECONDS = 0.1


def quantile(level: float, head: Times, base: Times) -> float:
    """The log-ratio of a quantile of both sides' calls."""
    index = min(int(level * len(head.log_quantiles)), len(head.log_quantiles) - 1)
    return float(head.log_quantiles[index] - base.log_quantiles[index])


STATISTICS: Mapping[str, Callable[[Times, Times], float]] = {
    "Hodges-Lehmann shift": log_ratio,
    "10% quantile": partial(quantile, 0.1),
    "lower quartile": partial(quantile, 0.25),
    "median": partial(quantile, 0.5),
    "mean": lambda head, base: float(np.log(head.mean / base.mean)),
}


def estimators(visits: int = VISITS) -> pd.DataFrame:
    """The spread of each statistic for a second of turns, best first."""
    rows = []
    pace = Cpu.blocks
    try:
        for turn_seconds in TURN_SECONDS:
            Cpu.blocks = replace(pace, turn_seconds=turn_seconds)
            logs = _visits(visits)
            for name, ratios in logs.items():
                spreads = {case: np.std(values, ddof=1) for case, values in ratios.items()}
                median, worst = (float(reduce(list(spreads.values()))) for reduce in (np.median, np.max))
                scale = np.sqrt(2 * CASE_SECONDS)
                rows.append(
                    {
                        "statistic": name,
                        "turn (ms)": turn_seconds * 1e3,
                        "visits": visits,
                        "spread for a second, median case": median * scale,
                        "worst case": worst * scale,
                    }
                )
    finally:
        Cpu.blocks = pace
    return pd.DataFrame(rows).sort_values("spread for a second, median case", ignore_index=True)


def _visits(visits: int) -> dict[str, dict[str, list[float]]]:
    """The log-ratios of each statistic and case, one for each visit."""
    suite = suites.read("ci")
    groups = suite.groups(parse_only(ONLY), None, most=None)
    sides = [Side(name, name, suite) for name in ("base", "head")]
    logs: dict[str, dict[str, list[float]]] = {name: {} for name in STATISTICS}
    with tempfile.TemporaryDirectory() as out:
        pairs = WorkerPairs(sides)
        pairs.start()
        folders = {side.name: RunFolder.create(Path(out), side.name) for side in sides}
        try:
            cases = [case for group in groups for case in group.cases]
            recorders = {name: _recorder(folder, cases, suite) for name, folder in folders.items()}
            visitor = Visitor(suite.settings, random.Random(), lambda: 0.0)
            for number in range(visits):
                for group in groups:
                    cores = measuring_cores(group.workload.cores)
                    at = {
                        name: VisitSide(worker, recorders[name], cores, cores) for name, worker in pairs.workers.items()
                    }
                    windows = visitor.visit(group, at, number, CASE_SECONDS)
                    base, head = (times_by_case(windows[name]) for name in ("base", "head"))
                    for name, statistic in STATISTICS.items():
                        for case in base:
                            logs[name].setdefault(case, []).append(statistic(head[case], base[case]))
        finally:
            pairs.close()
            for folder in folders.values():
                folder.close()
    return logs


def _recorder(folder: RunFolder, cases: list[Case], suite: suites.Suite) -> Recorder:
    folder.write_info(INFO)
    known = {case.key: Measurement(case, "pending", "not timed yet", parity="not compared") for case in cases}
    return Recorder(folder, cases, suite.file.parent, suite.settings, measurements=known)
