"""A sweep that is too large for one machine, calculated: how long it takes, its files, and its first limit.

Nothing is measured: the cost of a case comes from a stored run, and jobs of that cost are given to machines that
differ in speed and fail now and then, in the same way as with Slurm (`rnnbench.harness.slurm`).
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench import load
from rnnbench.store.folder import read_info
from rnnbench.store.frames.categories import without_categories
from rnnbench.store.records import WORKLOAD_AXES

RUN = Path("results/quick-20261125T021740Z-99e6")
CASES = 1_000_000
FLEETS = ((1, 100), (10, 100), (100, 1), (100, 16), (100, 100), (100, 1000), (1000, 100))  # (machines, groups per job)
PRECISION, MAX_REPLICATES = 0.02, 40
FILES = 5  # per job: `run-`, `measurements-` and Slurm's three; windows add one for each replicate
JOB_SECONDS = 4.0  # from a free node to a measuring worker: scheduler, interpreter, first import of torch
SPEED_SPREAD = 0.05  # standard deviation of the logarithm of a machine's speed
DAYS_BETWEEN_FAILURES = 30.0  # of one machine
DAY = 86_400.0


@dataclass(frozen=True)
class Costs:
    """The cost of a run's cases on one machine."""

    cases_per_group: float
    observing_seconds: float  # of a case, before it is timed
    replicate_seconds: float  # from the last window of a replicate to the first of the next
    visit_seconds: float  # of a case in a replicate: preparing it and its windows
    window_seconds: float  # the part of it inside windows
    replicates: np.ndarray  # of each group; groups are drawn from this distribution
    precise: np.ndarray  # the same if each group went on until all its ratios were within PRECISION
    case_bytes: float  # of a case's line in measurements.jsonl; below, of its windows in one replicate
    visit_bytes: float


def costs(run: Path) -> Costs:
    """The cost of a run's cases, from its clock and files."""
    info, loaded = read_info(run), load(run)
    windows, summary = without_categories(loaded.windows), without_categories(loaded.cases)
    visits = windows.drop_duplicates(["case", "replicate"])
    cases = len(summary)
    groups = windows.groupby([*WORKLOAD_AXES], dropna=False)["replicate"].nunique()
    summary["width"] = np.log(summary["ratio_high"] / summary["ratio_low"]) / 2
    widest = summary.groupby([*WORKLOAD_AXES], dropna=False)["width"].max().reindex(groups.index)
    ends = windows["started"] + windows["host_seconds"]
    first, last = windows.groupby("replicate")["started"].min(), ends.groupby(windows["replicate"]).max()
    between = float(np.median(first.to_numpy()[1:] - last.to_numpy()[:-1]))
    return Costs(
        cases_per_group=len(visits[visits["replicate"] == 0]) / len(groups),
        observing_seconds=info.stage_seconds["observing"] / cases,
        replicate_seconds=between,
        visit_seconds=float((last - first).sum()) / len(visits),
        window_seconds=float(windows["host_seconds"].sum()) / len(visits),
        replicates=groups.to_numpy(),
        precise=replicates_until(PRECISION, groups.to_numpy(), widest.to_numpy()),
        case_bytes=(run / "measurements.jsonl").stat().st_size / cases,
        visit_bytes=sum(file.stat().st_size for file in run.glob("windows-*.jsonl")) / len(visits),
    )


def replicates_until(precision: float, made: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The replicates that bring an interval of half-width `width`, by Student's t over `made`, to `precision`."""
    spread = width * np.sqrt(made) / stats.t.ppf(0.975, made - 1)
    tried = np.arange(2, MAX_REPLICATES + 1)
    reached = np.outer(spread, stats.t.ppf(0.975, tried - 1) / np.sqrt(tried)) <= precision * (1 + 1e-9)
    needed = np.where(reached.any(axis=1), tried[reached.argmax(axis=1)], MAX_REPLICATES)
    return np.asarray(np.maximum(needed, made))


def job_seconds(of: Costs, replicates: np.ndarray) -> float:
    """Seconds of one job; `replicates` holds the number of replicates of each of its groups."""
    cases = of.cases_per_group * len(replicates)
    visits = of.cases_per_group * float(replicates.sum())
    replicate_starts = float(replicates.max()) * of.replicate_seconds
    return JOB_SECONDS + cases * of.observing_seconds + replicate_starts + visits * of.visit_seconds


def jobs(replicates: np.ndarray, groups: int, groups_per_job: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The numbers of replicates of each job's groups, drawn from those of a run."""
    drawn = rng.choice(replicates, groups)
    for start in range(0, groups, groups_per_job):
        yield drawn[start : start + groups_per_job]


@dataclass(frozen=True)
class Fleet:
    """The result of a sweep."""

    seconds: float  # until the end of the last job
    busy: float  # machine-seconds in jobs
    died: int  # failures of machines during jobs; such a job is resumed and pays its start again
    lost: float  # machine-seconds spent twice


def deal(lengths: list[float], start_again: float, machines: int, rng: np.random.Generator) -> Fleet:
    """Give each job to the machine that is free first; after a failure it pays `start_again` seconds once more."""
    slowness = np.exp(rng.normal(0, SPEED_SPREAD, machines))
    free = [(0.0, machine) for machine in range(machines)]
    busy = lost = 0.0
    died = 0
    for length in lengths:
        started, machine = heapq.heappop(free)
        seconds = length * slowness[machine]
        # An interrupted job keeps its windows; only the work before them is repeated.
        deaths = int(rng.poisson(seconds / (DAYS_BETWEEN_FAILURES * DAY)))
        again = deaths * min(start_again, length) * slowness[machine]
        died, lost, busy = died + deaths, lost + again, busy + seconds + again
        heapq.heappush(free, (started + seconds + again, machine))
    return Fleet(max(ended for ended, _ in free), busy, died, lost)


def fleets(run: Path = RUN, cases: int = CASES, seed: int = 0) -> pd.DataFrame:
    """One row for each size of fleet and job, with the run's replicates, and with those that 2% needs."""
    of = costs(run)
    groups = round(cases / of.cases_per_group)
    rows = []
    for (machines, groups_per_job), precise in itertools.product(FLEETS, (False, True)):
        rng = np.random.default_rng(seed)
        dealt = list(jobs(of.precise if precise else of.replicates, groups, groups_per_job, rng))
        visits = sum(float(job.sum()) for job in dealt) * of.cases_per_group
        start_again = JOB_SECONDS + groups_per_job * of.cases_per_group * of.observing_seconds
        fleet = deal([job_seconds(of, job) for job in dealt], start_again, machines, rng)
        rows.append(
            {
                "machines": machines,
                "groups a job": groups_per_job,
                "replicates": float(np.mean([job.mean() for job in dealt])),
                "jobs": len(dealt),
                "minutes a job": fleet.busy / len(dealt) / 60,
                "days": fleet.seconds / DAY,
                "share of time in windows": visits * of.window_seconds / fleet.busy,
                "jobs that died": fleet.died,
                "machine-hours lost": fleet.lost / 3600,
                "idle at the end": 1 - fleet.busy / (fleet.seconds * machines),
                "files": sum(FILES + int(job.max()) for job in dealt),
                "GB": (cases * of.case_bytes + visits * of.visit_bytes) / 1e9,
                "million windows": visits * 4 / 1e6,
            }
        )
    return pd.DataFrame(rows)
