"""pytest-benchmark's JSON files, as `--benchmark-json`, `--benchmark-autosave` and `rnnbench export` write them.

A file is one process, and so one replicate, however many rounds it has: its rounds share the memory layout and the
state of the machine in those seconds. Each file of the same code on the same machine is one more replicate. A file that
`rnnbench export` wrote is a whole run: its rounds are replicates.
"""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.store.folder import is_check
from rnnbench.store.metrics import METRICS
from rnnbench.store.processor import Processor, of_py_cpuinfo
from rnnbench.store.record import HUGE, Positive, Record, Size, adapter, shown, valid
from rnnbench.store.records import AXES, DEFAULTS, Case
from rnnbench.text import writable

REPLICATES = "replicate_numbers"  # keys of `extra_info` in a file that rnnbench wrote, a value for each round
REPLICATE_MEANS = "replicate_mean_seconds"
ORIGIN = "rnnbench"  # the key under which rnnbench describes a file that it wrote
WARM = "caches warm"
VERSIONS = range(3, 6)  # of pytest-benchmark whose files can be read
UNKNOWN_COMMITS = ("", "unversioned", "unknown")
WANTED = "expected a file that pytest --benchmark-json or --benchmark-autosave wrote"


@dataclass(frozen=True)
class SavedStats:
    """The statistics of one benchmark, in seconds."""

    q1: Positive
    q3: Positive
    mean: Positive
    rounds: Size
    data: list[Positive] = field(default_factory=list)


@dataclass(frozen=True)
class SavedBenchmark:
    """A benchmark in a file."""

    name: str
    fullname: str
    stats: SavedStats
    group: str | None = None
    param: Any = None
    params: dict[str, Any] | None = None
    extra_info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SavedFile(Record):
    """A file as pytest-benchmark writes it."""

    machine_info: dict[str, Any]
    version: str
    datetime: dt.datetime
    benchmarks: list[SavedBenchmark]
    commit_info: dict[str, Any] = field(default_factory=dict)
    rnnbench: dict[str, Any] | None = None  # in a file that rnnbench wrote


@dataclass(frozen=True)
class BenchmarkRounds:
    """One benchmark's rounds in one process, in seconds per call."""

    low: float  # their lower quartile; for an exported replicate the median of all calls
    high: float  # their upper quartile; NaN for an exported replicate
    mean: float
    number: int


@dataclass(frozen=True)
class Benchmark:
    """A benchmark, under the names that its author gave it."""

    key: str  # its `fullname`: file, function and parameters
    name: str
    group: str  # empty if it is in none
    case: Case | None  # if `extra_info` has every axis, as from rnnbench's own pytest plugin
    metrics: Mapping[str, float]  # of such a case: the known ones of `rnnbench.store.metrics.METRICS`
    params: Mapping[str, str]  # the values of `@pytest.mark.parametrize` by their names
    param: str  # all of them as pytest names them, such as `torch-32`; empty if there are none

    def axes(self) -> dict[str, str | float]:
        """What is known about it besides its key."""
        return {"group": self.group, "name": self.name, **(self.case.axes() if self.case else {})}


@dataclass(frozen=True)
class BenchmarkSession:
    """What one process measured."""

    started: dt.datetime
    rounds: Mapping[str, BenchmarkRounds]  # by the benchmark's key


@dataclass(frozen=True)
class BenchmarkFiles:
    """A file, or a folder of files of the same code on the same machine."""

    name: str
    sessions: tuple[BenchmarkSession, ...]
    benchmarks: Mapping[str, Benchmark]  # by key, as they come first
    processor: Processor | None  # None if an older rnnbench exported it, which did not record it
    machine: Mapping[str, Any]  # what else changes times even if no code has changed
    commit: str | None  # None if it is not known
    is_exported: bool  # by rnnbench: then a session is a replicate of a run

    @property
    def describes(self) -> str:
        """A description for reports: `before (5 processes, commit 1a2b3c4)`."""
        count = "1 process" if len(self.sessions) == 1 else f"{len(self.sessions)} processes"
        commit = f", commit {self.commit[:7]}" if self.commit else ""
        return f"{self.name} ({count}{commit})"


def is_saved(path: Path) -> bool:
    """Whether this is a file, or a folder of JSON files that is not the folder of a run or a check."""
    is_own = (path / "run.json").exists() or is_check(path)
    return path.is_file() or (path.is_dir() and not is_own and any(path.rglob("*.json")))


def read(path: Path) -> BenchmarkFiles:
    """Read a file, or all JSON files in and below a folder.

    Raises UserError if one is not pytest-benchmark's, or if they come from several commits, machines or kinds.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: contains no JSON file; expected one that pytest --benchmark-autosave wrote")
    parts = [_file(file) for file in files]
    first = parts[0]
    for file, part in zip(files, parts, strict=True):
        for name, what in SAME.items():
            then, now = getattr(first, name), getattr(part, name)
            if then != now:
                raise UserError(
                    f"{path}: the files of one side must be of one {what}, so that they differ by chance alone:\n"
                    f"{files[0].name} has {_apart(then, now)}, {file.name} has {_apart(now, then)}"
                )
    benchmarks = {key: benchmark for part in reversed(parts) for key, benchmark in part.benchmarks.items()}
    in_order = {key: benchmarks[key] for part in parts for key in part.benchmarks}
    sessions = tuple(session for part in parts for session in part.sessions)
    return replace(first, name=writable(path.resolve().name), sessions=sessions, benchmarks=in_order)


SAME = {
    "processor": "processor",
    "machine": "machine and Python",
    "commit": "commit",
    "is_exported": "kind, exported by rnnbench or not",
}


def _apart(value: Any, other: Any) -> str:
    """Return the entries of a dictionary or a processor that differ from another one's; any other value as it is."""
    if isinstance(value, Processor) and isinstance(other, Processor):
        value, other = value.to_json(), other.to_json()
    return shown({key: value[key] for key in value if value[key] != other[key]} if isinstance(value, dict) else value)


def _file(path: Path) -> BenchmarkFiles:
    saved = _saved(path)
    is_exported = saved.rnnbench is not None
    benchmarks: dict[str, Benchmark] = {}
    replicates: dict[str, Mapping[int, BenchmarkRounds]] = {}  # benchmark -> number -> rounds
    for entry in saved.benchmarks:
        key, stats = writable(entry.fullname), entry.stats
        if key in benchmarks:
            raise UserError(f"{path}: {key}: appears twice")
        benchmarks[key] = _benchmark(entry)
        rounds = {0: BenchmarkRounds(stats.q1, stats.q3, stats.mean, stats.rounds)}
        replicates[key] = _replicates(entry, f"{path}: {key}") if is_exported else rounds
    # A time without a zone, as older versions wrote it, is in UTC.
    started = saved.datetime.astimezone(dt.UTC) if saved.datetime.tzinfo else saved.datetime.replace(tzinfo=dt.UTC)
    sessions = tuple(
        BenchmarkSession(started, {key: own[number] for key, own in replicates.items() if number in own})
        for number in sorted({number for own in replicates.values() for number in own})
    )
    commit = writable(str(saved.commit_info.get("id") or ""))
    machine = _machine(saved.machine_info)
    if saved.rnnbench is not None:
        machine["caches"] = writable(str(saved.rnnbench.get("caches", WARM)))
    processor = _processor(saved.machine_info, is_exported=is_exported)
    known_commit = None if commit in UNKNOWN_COMMITS else commit
    return BenchmarkFiles(writable(path.name), sessions, benchmarks, processor, machine, known_commit, is_exported)


def _saved(path: Path) -> SavedFile:
    """Return the content of a file; raises UserError if it is not pytest-benchmark's."""
    if (path.parent / "run.json").exists():
        raise UserError(f"{path}: this is part of a run of rnnbench; give its folder, {path.parent}")
    try:
        saved = SavedFile.read(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    except UserError as fault:
        raise UserError(f"{path}: not pytest-benchmark's JSON: {fault}\n{WANTED}") from None
    major = saved.version.partition(".")[0]
    if not (major.isdecimal() and int(major) in VERSIONS):
        raise UserError(
            f"{path}: written by pytest-benchmark {saved.version!r}; "
            f"this rnnbench reads {VERSIONS[0]} to {VERSIONS[-1]}"
        )
    if not saved.benchmarks:
        raise UserError(f"{path}: contains no benchmark; did pytest skip them all?")
    return saved


def _benchmark(entry: SavedBenchmark) -> Benchmark:
    case, metrics = _case(entry.extra_info), dict[str, float]()
    for name in (metric.name for metric in METRICS):
        value: Any = entry.extra_info.get(name)
        if case is not None and type(value) in (int, float) and abs(value) <= HUGE:
            metrics[name] = value
    return Benchmark(
        writable(entry.fullname),
        writable(entry.name),
        writable(entry.group or ""),
        case,
        metrics,
        {writable(name): writable(str(value)) for name, value in (entry.params or {}).items()},
        "" if entry.param is None else writable(str(entry.param)),
    )


def _case(extra: Mapping[str, Any]) -> Case | None:
    """Return the case with these axes; None if they are something else, or come from a newer rnnbench."""
    if not all(axis in extra for axis in AXES if axis not in DEFAULTS):
        return None
    axes: Any = {axis: extra[axis] for axis in AXES if axis in extra}
    try:
        case: Case = valid(adapter(Case).validate_python, {**axes, "workload": axes})
    except UserError:
        return None
    return case


def _replicates(entry: SavedBenchmark, where: str) -> dict[int, BenchmarkRounds]:
    """Return the replicates of a case that rnnbench exported, by their numbers."""
    numbers, means = entry.extra_info.get(REPLICATES), entry.extra_info.get(REPLICATE_MEANS)
    try:
        rows = list(zip(numbers, entry.stats.data, means, strict=True))  # type: ignore[arg-type]
        found = {int(number): BenchmarkRounds(low, math.nan, float(mean), 1) for number, low, mean in rows}
    except (TypeError, ValueError):
        found = {}
    if not found or not all(rounds.mean > 0 for rounds in found.values()):
        raise UserError(f"{where}: {REPLICATES}, {REPLICATE_MEANS} and stats.data need one number for each replicate")
    return found


def _machine(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else matters of a machine than its processor; its name and measured clock rates do not."""
    facts = {
        "cores": _dictionary(info.get("cpu")).get("count"),
        "machine": info.get("machine"),
        "python": f"{info.get('python_implementation')} {info.get('python_version')}",
    }
    return {key: writable(value) if isinstance(value, str) else value for key, value in facts.items()}


def _processor(info: Mapping[str, Any], *, is_exported: bool) -> Processor | None:
    if is_exported:
        content = _dictionary(_dictionary(info.get(ORIGIN)).get("machine")).get("processor")
        return Processor.from_json(content) if content is not None else None
    return of_py_cpuinfo({"brand": info.get("processor")} | _dictionary(info.get("cpu")))


def _dictionary(value: Any) -> dict[str, Any]:
    """Return the value if it is a dictionary, else an empty one."""
    return value if isinstance(value, dict) else {}
