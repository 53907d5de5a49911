"""How far the jobs of a run are, from what is known of each part and the names of the files that it has."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rnnbench.harness.slurm.jobs import Standing
from rnnbench.store.folder import read_info
from rnnbench.suite_file import Settings

MAX_SHARE = 0.9  # of a job that is at work: it is not done before it says so


@dataclass(frozen=True)
class JobsProgress:
    """How far the jobs of a run are, for whoever shows it."""

    jobs: int
    done: int
    running: int
    waiting: int
    lost: int  # that were sent again, or given up
    cases: int
    cases_done: float  # in fractions, where a job is at work
    seconds_left: float | None  # None before anything is known
    trouble: str  # what keeps them waiting; empty where nothing does


def progress(
    path: Path, standings: Sequence[Standing], settings: Settings, now: float, *, ran: int = 0, trouble: str = ""
) -> JobsProgress:
    """Of all parts of the run in `path`, at `now` by the clock that `running_since` is of; `ran`: at the last look."""
    at_work = [one for one in standings if one.state == "open" and one.running_since is not None]
    ended = [one for one in standings if one.state != "open"]
    begun = _replicates_begun(path) if at_work else {}
    shares = [min(MAX_SHARE, begun.get(one.part.name, 0) / (settings.replicates + 1)) for one in at_work]
    spent = [now - one.running_since for one in at_work if one.running_since is not None]
    each = _seconds_of_a_job(
        path, standings, [took / share for took, share in zip(spent, shares, strict=True) if share]
    )
    if each is not None and settings.budget_seconds is not None:
        each = min(each, settings.budget_seconds)
    done = sum(len(one.part.cases) for one in ended)
    return JobsProgress(
        jobs=len(standings),
        done=len(ended),
        running=len(at_work),
        waiting=len(standings) - len(ended) - len(at_work),
        lost=sum(len(one.lost) for one in standings),
        cases=sum(len(one.part.cases) for one in standings),
        cases_done=done + sum(len(one.part.cases) * share for one, share in zip(at_work, shares, strict=True)),
        seconds_left=_seconds_left(each, len(standings) - len(ended), spent, ran),
        trouble=trouble,
    )


def _replicates_begun(path: Path) -> Counter[str]:
    """For each part: its workers that have written windows."""
    names = (entry.name for entry in os.scandir(path))
    return Counter(name.split("-")[1] for name in names if name.startswith("windows-"))


def _seconds_of_a_job(path: Path, standings: Sequence[Standing], expected: Sequence[float]) -> float | None:
    """From those that are finished; before the first one is, from how long those at work are expected to take."""
    for one in standings:
        if one.state == "finished" and one.seconds is None:
            one.seconds = read_info(path, one.part.name).seconds
    took = [one.seconds for one in standings if one.seconds is not None] or expected
    return fmean(took) if took else None


def _seconds_left(each: float | None, still: int, spent: Sequence[float], ran: int) -> float | None:
    """If as many jobs go on to run at the same time as do now: one that has just ended is about to be followed."""
    if each is None or not spent:
        return None
    return max(0.0, each * still - sum(min(each, seconds) for seconds in spent)) / min(max(len(spent), ran), still)
