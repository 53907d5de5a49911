"""Comparisons of what is stored: two runs, or two sides of pytest-benchmark's files, which become runs when read.

A process's time of a benchmark is the lower quartile of its rounds, the lowest quantile that every file has; noise only
adds time. Rounds of one process share what differs from process to process, so intervals are over processes.
"""

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from rnnbench.analysis import stored
from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.environments import differences
from rnnbench.analysis.estimate import MIN_TO_TRIM
from rnnbench.analysis.stored import StoredRun
from rnnbench.errors import UserError
from rnnbench.store import pytest_benchmark
from rnnbench.store.pytest_benchmark import SavedBenchmark, SavedFile
from rnnbench.store.records import Case, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite.file import CheckSettings
from rnnbench.suite.suites import check_settings, margins
from rnnbench.text import first_few, nearest, plural, writable

MIN_PROCESSES = MIN_TO_TRIM  # processes on each side for a verdict; among fewer, a single bad one decides
MIN_TURNS = 5  # stretches of one side's processes in the order of time; with fewer, times are not compared
UNFAIR = "measured without a reference and not in turns: the machine may have changed in between"
NAMED = 5  # benchmarks that an error names


@dataclass(frozen=True)
class Benchmark:
    """A benchmark under the names that its author gave it, where a run has a case."""

    key: str  # its `fullname`: file, function and parameters
    name: str
    group: str  # empty if it is in none
    is_reference: bool

    def axes(self) -> dict[str, str | float]:
        """What is known about it besides its key."""
        return {"group": self.group, "name": self.name}


@dataclass(frozen=True)
class SavedRun(StoredRun):
    """A file of pytest-benchmark, or a folder of files of the same code on the same machine, as a run."""

    # As `ratios`, with all processes; also `name`, `group`, `log_seconds` and `reference`, a fullname or "".
    times: pd.DataFrame
    starts: Sequence[datetime]  # of its processes


def read_saved(path: Path, reference: str | None = None, group_by: str | None = None) -> SavedRun:
    """Read files of pytest-benchmark: each benchmark with its ratio to the reference of its group, or else its time.

    `reference` is the name or the fullname of a benchmark, `PARAMETER=VALUE`, or a pattern of any of them, in which `*`
    stands for any text; without it, the reference of a group is torch.nn's case, if the group has exactly one.
    `group_by` has pytest-benchmark's words: benchmarks of one group are equal in all of them. Raises UserError if a
    word or a reference fits nothing, or if the files come from several commits, machines or kinds.
    """
    files = pytest_benchmark.read_files(path)
    named, first = next(iter(files.items()))
    info = _info(first)
    for file, other in list(files.items())[1:]:
        commits = [] if other.commit == first.commit else [f"commit was {first.commit} and is {other.commit}"]
        if apart := differences(info, _info(other)) or commits:
            raise UserError(
                f"{path}: the files of one side must be of one commit, machine and Python, so that they differ by "
                f"chance alone; from {named.name} to {file.name}, {'; '.join(apart)}"
            )
    entries = {entry.fullname: entry for saved in files.values() for entry in saved.benchmarks}
    groups = _groups(path.name, entries, group_by)
    references = _references(path.name, entries, groups, reference)
    rows = [
        (entry.fullname, number, entry.stats.q1, entry.stats.mean)
        for number, saved in enumerate(files.values())
        for entry in saved.benchmarks
    ]
    times = pd.DataFrame(rows, columns=["case", "replicate", "log_seconds", "log_mean"])
    times[["log_seconds", "log_mean"]] = np.log(times[["log_seconds", "log_mean"]])
    times["reference"] = times["case"].map(lambda name: references.get(groups[name], ""))
    beside = times.merge(
        times,
        "left",
        left_on=["reference", "replicate"],
        right_on=["case", "replicate"],
        suffixes=("", "_of_reference"),
    )
    for ratio, log in (("log_ratio", "log_seconds"), ("log_mean_ratio", "log_mean")):
        times[ratio] = beside[log] - beside[f"{log}_of_reference"].mask(beside["reference"].eq(""), 0.0)
    cases = {name: entry.case for name, entry in entries.items()}
    subjects = {
        name: Benchmark(name, entry.name, groups[name], references.get(groups[name]) == name)
        for name, entry in entries.items()
    }
    if reference is None and all(cases.values()) and len({*cases.values()}) == len(cases):
        subjects = cast("dict[str, Benchmark]", cases)
    times["name"] = times["case"].map({name: entry.name for name, entry in entries.items()})
    times["group"], times["is_reference"] = times["case"].map(groups), times["case"] == times["reference"]
    times["case"] = times["case"].map({name: subject.key for name, subject in subjects.items()})
    measurements = {
        # What the comparison asks of a case, a benchmark answers too.
        subjects[name].key: Measurement(cast("Case", subjects[name]), "measured", metrics=entry.metrics)
        for name, entry in entries.items()
    }
    starts = [saved.started for saved in files.values()]
    commit = f", commit {first.commit[:7]}" if first.commit else ""
    name = writable(f"{path.resolve().name} ({plural(len(starts), 'file')}{commit})")
    return SavedRun(name, info, measurements, times.dropna(subset=["log_ratio"]), times, starts)


def _info(saved: SavedFile) -> RunInfo:
    """Return what a file says of its process, as a run says it."""
    return RunInfo("pytest-benchmark", "", {}, "", saved.started.isoformat(), saved.environment)


def _groups(file: str, entries: Mapping[str, SavedBenchmark], by: str | None) -> dict[str, str]:
    """Return the group of each benchmark; one that lacks a parameter is grouped by the rest."""
    words = [word.strip() for word in (by or "group").split(",")]
    known = dict.fromkeys(label for entry in entries.values() for label in entry.labels)
    for word in words:
        if word not in known:
            raise UserError(
                f"group by {word!r}{nearest(word, known)}: {file} can be grouped by {', '.join(known)}, or several of "
                "them with commas between"
            )
    return {
        name: " ".join(filter(None, (entry.labels.get(word, "") for word in words))) for name, entry in entries.items()
    }


def _references(
    file: str, entries: Mapping[str, SavedBenchmark], groups: Mapping[str, str], reference: str | None
) -> dict[str, str]:
    """Return the fullname of each group's reference, if it has one."""
    words = {
        name: {entry.name, name, *(label for word, label in entry.labels.items() if word.startswith("param:"))}
        for name, entry in entries.items()
    }
    if reference is None:
        fits = [name for name, entry in entries.items() if entry.case is not None and entry.case.is_reference]
    else:
        pattern = re.compile(".*".join(map(re.escape, reference.split("*"))))
        fits = [name for name, own in words.items() if reference in own]
        fits = fits or [name for name, own in words.items() if any(map(pattern.fullmatch, own))]
        if not fits:
            names = list(dict.fromkeys(entry.name for entry in entries.values()))
            raise UserError(f"reference {reference}: {file} has no such benchmark; it has {first_few(names, NAMED)}")
    by_group: dict[str, list[str]] = {}
    for name in fits:
        by_group.setdefault(groups[name], []).append(name)
    for group, own in by_group.items():
        if reference is not None and len(own) > 1:
            raise UserError(
                f"reference {reference}: fits {len(own):,} benchmarks of group {group!r}: "
                f"{first_few(own, NAMED)}; name one of them, or make groups that have one each"
            )
    return {group: own[0] for group, own in by_group.items() if len(own) == 1}


def compare_files(
    base: Path, head: Path, *, margin: float | None, reference: str | None = None, group_by: str | None = None
) -> Comparison:
    """Compare two stored runs, or two sides of pytest-benchmark's files.

    `margin` is a share of the time, by default that of the head's suite; `reference` and `group_by` are for
    pytest-benchmark's files, as in `read_saved`. Raises UserError if a side can't be read, or if the sides are of
    different kinds or have nothing in common.
    """
    if os.path.realpath(base) == os.path.realpath(head):  # `resolve` raises for a link to itself
        raise UserError(f"{base}: the base and the head are the same; give two runs")
    kinds = {path: pytest_benchmark.is_saved(path) for path in (base, head)}
    if all(kinds.values()):
        before, after = (read_saved(path, reference, group_by) for path in (base, head))
        return compare_saved(before, after, margin)
    if any(kinds.values()):
        raise UserError(f"{base}, {head}: expected two runs, or two sides of pytest-benchmark's files")
    for option, given in (("reference", reference), ("group by", group_by)):
        if given is not None:
            raise UserError(f"{option} {given}: {base} and {head} are runs, which have their own references and groups")
    with ThreadPoolExecutor() as pool:  # with large runs, one is read from disk while the other is parsed
        first, second = pool.map(stored.read, (base, head))
    # Read the suite's settings even if they are not used: a run without settings is refused.
    settings = check_settings(head, second.info.resolved)
    return compare_by_settings(first, second, settings if margin is None else CheckSettings(margin=margin))


def compare_by_settings(base: StoredRun, head: StoredRun, settings: CheckSettings) -> Comparison:
    """Compare two runs with the margins that a suite's settings give to the cases."""
    cases = (measurement.case for measurement in head.measurements.values())
    return stored.compare(base, head, margins(settings, cases))


def compare_saved(base: SavedRun, head: SavedRun, margin: float | None = None) -> Comparison:
    """Compare two sides of pytest-benchmark's files.

    A verdict needs `MIN_PROCESSES` processes on each side. If no reference was in the same process, the sides must have
    taken turns: otherwise what the machine did in between would count as a change.
    """
    if not base.measurements.keys() & head.measurements.keys():
        raise UserError(f"{base.name} and {head.name} have no benchmark with the same fullname")
    each = dict.fromkeys(head.measurements, CheckSettings().margin if margin is None else margin)
    is_fair, reasons = in_turns(base, head), dict[str, str]()
    counts = [side.ratios["case"].value_counts() for side in (base, head)]
    beside = [dict(zip(side.ratios["case"], side.ratios["reference"], strict=True)) for side in (base, head)]
    for key in head.measurements:
        then, now = (int(side.get(key, 0)) for side in counts)
        references = {side.get(key, "") for side in beside}
        if min(then, now) < MIN_PROCESSES:
            needed = f"a verdict takes {MIN_PROCESSES} processes a side"
            reasons[key] = f"{needed}, and here are {then} and {now}; rounds of one don't count"
        elif len(references) > 1:
            reasons[key] = "its reference is not the same on both sides"
        elif references == {""} and not is_fair:
            reasons[key] = UNFAIR
    comparison = stored.compare(base, head, each, reasons)
    return replace(comparison, base=base.name, head=head.name, way="saved")


def in_turns(base: SavedRun, head: SavedRun) -> bool:
    """Whether the sides' processes alternate in time so often that a drift affects both alike."""
    starts = sorted([*((start, 0) for start in base.starts), *((start, 1) for start in head.starts)])
    return 1 + sum(before[1] != after[1] for before, after in pairwise(starts)) >= MIN_TURNS
