"""Comparisons of what is stored: two runs, or two sides of pytest-benchmark's files, which become runs when read.

A process's time of a benchmark is the lower quartile of its rounds, the lowest quantile that every file has; noise only
adds time. Rounds of one process share what differs from process to process, so intervals are over processes.
"""

import math
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.analysis import stored
from rnnbench.analysis.comparison import Benchmark, Comparison
from rnnbench.analysis.environments import differences
from rnnbench.analysis.estimate import MIN_TO_TRIM
from rnnbench.analysis.stored import StoredRun
from rnnbench.errors import UserError
from rnnbench.store import pytest_benchmark
from rnnbench.store.pytest_benchmark import SavedBenchmark, SavedFile
from rnnbench.store.records import Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite.file import CheckSettings
from rnnbench.suite.suites import check_settings, margins
from rnnbench.text import first_few, nearest, plural, writable

MIN_PROCESSES = MIN_TO_TRIM  # processes on each side for a verdict; among fewer, a single bad one decides
MIN_TURNS = 5  # stretches of one side's processes in the order of time; with fewer, times are not compared
UNFAIR = "measured without a reference and not in turns: the machine may have changed in between"
LOG_COLUMNS = ["log_seconds", "log_mean"]
MAX_NAMED_BENCHMARKS = 5  # benchmarks that an error names


def read_saved(path: Path, reference: str | None = None, group_by: str | None = None) -> StoredRun:
    """Read files of pytest-benchmark: each benchmark with its ratio to the reference of its group, or else its time.

    `reference` is the name or the fullname of a benchmark, `PARAMETER=VALUE`, or a pattern of any of them, in which `*`
    stands for any text; without it, the reference of a group is torch.nn's case, if the group has exactly one.
    `group_by` has pytest-benchmark's words: benchmarks of one group are equal in all of them. Raises UserError if a
    word or a reference fits nothing, or if the files come from several commits, machines or kinds.

    The run's `ratios` also have each benchmark's `name`, `group`, `log_seconds` and `log_mean`, its `reference` (a
    fullname or ""), whether it `is_reference`, and when its process `started`.
    """
    files = pytest_benchmark.read_files(path)
    info, commit = _of_one_code(path, files)
    entries = {entry.fullname: entry for saved in files.values() for entry in saved.benchmarks}
    groups = _grouped(path.name, entries, reference, group_by)
    rows = [
        (entry.fullname, entry.name, number, saved.started, math.log(entry.stats.q1), math.log(entry.stats.mean))
        for number, saved in enumerate(files.values())
        for entry in saved.benchmarks
    ]
    times = pd.DataFrame(rows, columns=["case", "name", "replicate", "started", *LOG_COLUMNS]).join(groups, on="case")
    beside = pd.MultiIndex.from_frame(times[["reference", "replicate"]])
    of_reference = times.set_index(["case", "replicate"])[LOG_COLUMNS].reindex(beside).set_axis(times.index)
    times[["log_ratio", "log_mean_ratio"]] = times[LOG_COLUMNS] - of_reference.mask(times["reference"].eq(""), 0.0)
    cases = {name: entry.case for name, entry in entries.items()}
    subjects: dict[str, Any] = cases
    if reference is not None or not all(cases.values()) or len({*cases.values()}) < len(cases):
        # What the comparison asks of a case, a benchmark answers too.
        named = groups.assign(name=[entry.name for entry in entries.values()])[["name", "group", "is_reference"]]
        subjects = {row[0]: Benchmark(*row) for row in named.itertuples(name=None)}
    times["case"] = times["case"].map({name: subject.key for name, subject in subjects.items()})
    measurements = {
        subject.key: Measurement(subject, "measured", metrics=entries[name].metrics)
        for name, subject in subjects.items()
    }
    name = writable(f"{path.resolve().name} ({plural(len(files), 'file')}{commit})")
    return StoredRun(name, info, measurements, times)


def _of_one_code(path: Path, files: Mapping[Path, SavedFile]) -> tuple[RunInfo, str]:
    """Return what the first file says of its process, as a run says it, and `, commit 0123456` if it is known.

    Raises UserError if another file says something else.
    """
    infos = {
        file: RunInfo("pytest-benchmark", "", {}, "", saved.started.isoformat(), saved.environment)
        for file, saved in files.items()
    }
    named, *others = files
    commit = files[named].commit
    for file in others:
        commits = [] if files[file].commit == commit else [f"commit was {commit} and is {files[file].commit}"]
        if apart := differences(infos[named], infos[file]) or commits:
            raise UserError(
                f"{path}: the files of one side must be of one commit, machine and Python, so that they differ by "
                f"chance alone; from {named.name} to {file.name}, {'; '.join(apart)}"
            )
    return infos[named], f", commit {commit[:7]}" if commit else ""


def _grouped(
    file: str, entries: Mapping[str, SavedBenchmark], reference: str | None, group_by: str | None
) -> pd.DataFrame:
    """Return the `group` of each benchmark, the `reference` of that group ("" without one), and if it `is_reference`.

    A benchmark that lacks a parameter is grouped by the rest.
    """
    labels: Any = pd.DataFrame([entry.labels for entry in entries.values()], index=[*entries]).fillna("")
    words = [word.strip() for word in (group_by or "group").split(",")]
    if unknown := [word for word in words if word not in labels]:
        raise UserError(
            f"group by {unknown[0]!r}{nearest(unknown[0], labels)}: {file} can be grouped by {', '.join(labels)}, or "
            "several of them with commas between"
        )
    groups = labels[words].agg(lambda row: " ".join(filter(None, row)), axis=1)
    if reference is None:
        fits = pd.Series([entry.case is not None and entry.case.is_reference for entry in entries.values()], [*entries])
    else:
        pattern = ".*".join(map(re.escape, reference.split("*")))
        names = labels[["name", "fullname", *(word for word in labels if word.startswith("param:"))]]
        equal = names.eq(reference).any(axis=1)
        alike = names.apply(lambda members: members.str.fullmatch(pattern)).any(axis=1)
        fits = equal if equal.any() else alike
        if not fits.any():
            there = first_few([*labels["name"].unique()], MAX_NAMED_BENCHMARKS)
            raise UserError(f"reference {reference}: {file} has no such benchmark; it has {there}")
        for group, members in groups[fits].groupby(groups):
            if len(members) > 1:
                names = first_few([*members.index], MAX_NAMED_BENCHMARKS)
                raise UserError(
                    f"reference {reference}: fits {len(members):,} benchmarks of group {group!r}: {names}; name one of "
                    "them, or make groups that have one each"
                )
    is_reference = fits & fits.groupby(groups).transform("sum").eq(1)
    of_group = {group: name for name, group in groups[is_reference].items()}
    of_each = [of_group.get(group, "") for group in groups]
    return pd.DataFrame({"group": groups, "reference": of_each, "is_reference": is_reference})


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
        before = read_saved(base, reference, group_by)
        after = read_saved(head, reference, group_by)
        return compare_saved(before, after, margin)
    if any(kinds.values()):
        raise UserError(f"{base}, {head}: expected two runs, or two sides of pytest-benchmark's files")
    if reference is not None or group_by is not None:
        raise UserError(f"{base}, {head}: runs have their own references and groups; name none")
    with ThreadPoolExecutor() as pool:  # with large runs, one is read from disk while the other is parsed
        first, second = pool.map(stored.read, (base, head))
    # Read the suite's settings even if they are not used: a run without settings is refused.
    settings = check_settings(head, second.info.resolved)
    if margin is not None:
        settings = CheckSettings(margin=margin)
    cases = (measurement.case for measurement in second.measurements.values())
    return stored.compare(first, second, margins(settings, cases))


def compare_saved(base: StoredRun, head: StoredRun, margin: float | None = None) -> Comparison:
    """Compare two sides of pytest-benchmark's files.

    A verdict needs `MIN_PROCESSES` processes on each side. If no reference was in the same process, the sides must have
    taken turns: otherwise what the machine did in between would count as a change.
    """
    if not base.measurements.keys() & head.measurements.keys():
        raise UserError(f"{base.name} and {head.name} have no benchmark with the same fullname")
    each = dict.fromkeys(head.measurements, CheckSettings().margin if margin is None else margin)
    is_fair = in_turns(base, head)
    reasons = dict[str, str]()
    counts = [side.ratios.groupby("case")["log_ratio"].count() for side in (base, head)]
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


def in_turns(base: StoredRun, head: StoredRun) -> bool:
    """Return True if the sides' processes alternate in time so often that a drift affects both alike."""
    starts = [run.ratios.drop_duplicates("replicate").assign(side=side) for side, run in enumerate((base, head))]
    sides = pd.concat(starts).sort_values("started", kind="stable")["side"]
    return 1 + int(sides.diff().abs().sum()) >= MIN_TURNS
