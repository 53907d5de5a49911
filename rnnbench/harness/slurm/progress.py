"""How far the jobs of a run are, from the state of each part and the names of its files."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rnnbench.harness.slurm.jobs import PartStatus
from rnnbench.store.folder import read_info
from rnnbench.suite_file import Settings

MAX_SHARE = 0.9  # of a running job: it is not done before it says so


@dataclass(frozen=True)
class JobsProgress:
    """How far the jobs of a run are, for display."""

    jobs: int
    done: int
    running: int
    waiting: int
    lost: int  # jobs that were sent again or given up
    cases: int
    cases_done: float  # with fractions for running jobs
    seconds_left: float | None  # None before anything is known
    trouble: str  # what keeps jobs waiting; empty if nothing does


def progress(
    path: Path, statuses: Sequence[PartStatus], settings: Settings, now: float, *, ran: int = 0, trouble: str = ""
) -> JobsProgress:
    """All parts of the run in `path`; `now` is by the clock of `running_since`, `ran` counts jobs at the last look."""
    at_work = [status for status in statuses if status.state == "open" and status.running_since is not None]
    ended = [status for status in statuses if status.state != "open"]
    begun = _replicates_begun(path) if at_work else {}
    replicates = [begun.get(status.part.name, 0) for status in at_work]
    shares = [min(MAX_SHARE, number / (settings.replicates + 1)) for number in replicates]
    spent = [now - status.running_since for status in at_work if status.running_since is not None]
    job_seconds = _seconds_of_a_job(
        path, statuses, [took / share for took, share in zip(spent, shares, strict=True) if share]
    )
    if job_seconds is not None and settings.budget_seconds is not None:
        job_seconds = min(job_seconds, settings.budget_seconds)
    done = sum(len(status.part.cases) for status in ended)
    fractions = (len(status.part.cases) * share for status, share in zip(at_work, shares, strict=True))
    return JobsProgress(
        jobs=len(statuses),
        done=len(ended),
        running=len(at_work),
        waiting=len(statuses) - len(ended) - len(at_work),
        lost=sum(len(status.lost) for status in statuses),
        cases=sum(len(status.part.cases) for status in statuses),
        cases_done=done + sum(fractions),
        seconds_left=_seconds_left(job_seconds, len(statuses) - len(ended), spent, ran),
        trouble=trouble,
    )


def _replicates_begun(path: Path) -> Counter[str]:
    """For each part, the number of its workers that have written windows."""
    names = (entry.name for entry in os.scandir(path))
    return Counter(name.split("-")[1] for name in names if name.startswith("windows-"))


def _seconds_of_a_job(path: Path, statuses: Sequence[PartStatus], expected: Sequence[float]) -> float | None:
    """Mean over finished jobs; before the first one is finished, over how long running jobs are expected to take."""
    for status in statuses:
        if status.state == "finished" and status.seconds is None:
            status.seconds = read_info(path, status.part.name).seconds
    took = [status.seconds for status in statuses if status.seconds is not None] or expected
    return fmean(took) if took else None


def _seconds_left(job_seconds: float | None, open_jobs: int, spent: Sequence[float], ran: int) -> float | None:
    """Seconds left if as many jobs keep running at the same time; one that has just ended is about to be followed."""
    if job_seconds is None or not spent:
        return None
    at_once = min(max(len(spent), ran), open_jobs)
    return max(0.0, job_seconds * open_jobs - sum(min(job_seconds, seconds) for seconds in spent)) / at_once
