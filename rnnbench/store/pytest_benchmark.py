"""pytest-benchmark's JSON files, as `--benchmark-json`, `--benchmark-autosave` and `rnnbench export` write them.

A file is one process, and so one replicate, however many rounds it has: its rounds share the memory layout and the
state of the machine in those seconds. Each file of the same code on the same machine is one more replicate. A file that
`rnnbench export` wrote is a whole run: its rounds are replicates.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.store.folder import is_check
from rnnbench.store.metrics import METRICS
from rnnbench.store.processor import Processor, of_py_cpuinfo
from rnnbench.store.records import AXES, DEFAULTS, Case
from rnnbench.store.regular_files import read_bytes
from rnnbench.store.schema import IDENTITY
from rnnbench.store.value_kinds import MAX_INTEGER
from rnnbench.text import writable

ORIGIN = "rnnbench"  # the key under which rnnbench describes a file that it wrote
REPLICATES = "replicate_numbers"  # keys of such a file's `extra_info`, a value for each round
REPLICATE_MEANS = "replicate_mean_seconds"
WARM = "caches warm"
VERSIONS = range(3, 6)  # of pytest-benchmark whose files can be read
UNKNOWN_COMMITS = ("unversioned", "unknown")
MAX_SHOWN_LENGTH = 60  # characters of a bad value that are shown
MAX_SECONDS = 1e9  # 30 years; no call takes longer


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

    started: datetime
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
        count = len(self.sessions)
        commit = f", commit {self.commit[:7]}" if self.commit else ""
        return f"{self.name} ({count} {'process' if count == 1 else 'processes'}{commit})"


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
                    f"{files[0].name} has {_short(_apart(then, now))}, {file.name} has {_short(_apart(now, then))}"
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


def _apart(value: Any, other: Any) -> Any:
    """The entries of a dictionary or a processor that differ from those of another one; any other value as it is."""
    if isinstance(value, Processor) and isinstance(other, Processor):
        value, other = value.to_json(), other.to_json()
    return {key: value[key] for key in value if value[key] != other[key]} if isinstance(value, dict) else value


def _file(path: Path) -> BenchmarkFiles:
    content = _content(path)
    benchmarks: dict[str, Benchmark] = {}
    replicates: dict[str, Mapping[int, BenchmarkRounds]] = {}  # benchmark -> number -> rounds
    is_exported = isinstance(content.get(ORIGIN), dict)
    for entry in content["benchmarks"]:
        where = f"{path}: {_short(entry.get('fullname')) if isinstance(entry, dict) else 'a benchmark'}"
        benchmark = _benchmark(entry, where)
        if benchmark.key in benchmarks:
            raise UserError(f"{where}: appears twice")
        benchmarks[benchmark.key] = benchmark
        replicates[benchmark.key] = _replicates(entry, where) if is_exported else {0: _rounds(entry["stats"], where)}
    started = _started(content.get("datetime"), path)
    sessions = tuple(
        BenchmarkSession(started, {key: own[number] for key, own in replicates.items() if number in own})
        for number in sorted({number for own in replicates.values() for number in own})
    )
    commit = writable(str(_dictionary(content.get("commit_info")).get("id") or ""))
    known_commit = None if commit in ("", *UNKNOWN_COMMITS) else commit
    machine = _machine(content["machine_info"])
    if is_exported:
        machine["caches"] = writable(str(content[ORIGIN].get("caches", WARM)))
    processor = _processor(content["machine_info"], is_exported=is_exported)
    return BenchmarkFiles(writable(path.name), sessions, benchmarks, processor, machine, known_commit, is_exported)


def _content(path: Path) -> dict[str, Any]:
    """The object in a file; raises UserError if it does not look like pytest-benchmark's."""
    wanted = "expected a file that pytest --benchmark-json or --benchmark-autosave wrote"
    try:
        content = json.loads(read_bytes(path))
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}\n{wanted}") from None
    if isinstance(content, dict) and "schema_version" in content and "resolved" in content:
        raise UserError(f"{path}: this is part of a run of rnnbench; give its folder, {path.parent}")
    if isinstance(content, dict) and "schema_version" in content and "findings" in content:
        raise UserError(
            f"{path}: these are the verdicts of two runs, which have no report of their own; read verdicts.md beside "
            "it, or make a report of the two runs together"
        )
    kinds = {"machine_info": dict, "benchmarks": list, "version": str}
    for key, kind in kinds.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            raise UserError(f"{path}: not pytest-benchmark's JSON: it has no {key!r}\n{wanted}")
    major = content["version"].partition(".")[0]
    if not (major.isdecimal() and int(major) in VERSIONS):
        raise UserError(
            f"{path}: written by pytest-benchmark {_short(content['version'])}; "
            f"this rnnbench reads {VERSIONS[0]} to {VERSIONS[-1]}"
        )
    if not content["benchmarks"]:
        raise UserError(f"{path}: contains no benchmark; did pytest skip them all?")
    return dict(content)


def _benchmark(entry: Any, where: str) -> Benchmark:
    if not isinstance(entry, dict) or not isinstance(entry.get("stats"), dict):
        raise UserError(f"{where}: has no 'stats'; expected a benchmark as pytest-benchmark writes it")
    for key in ("name", "fullname"):
        if not isinstance(entry.get(key), str):
            raise UserError(f"{where}: {key} is {_short(entry.get(key))}; expected a text")
    group, extra = entry.get("group"), _dictionary(entry.get("extra_info"))
    case = _case(extra)
    return Benchmark(
        writable(entry["fullname"]),
        writable(entry["name"]),
        "" if group is None else writable(str(group)),
        case,
        _metrics(extra) if case is not None else {},
        {writable(name): writable(str(value)) for name, value in _dictionary(entry.get("params")).items()},
        "" if entry.get("param") is None else writable(str(entry["param"])),
    )


def _case(extra: Mapping[str, Any]) -> Case | None:
    """The case with these axes; None if they are something else, or come from a newer rnnbench."""
    from pydantic import TypeAdapter, ValidationError

    if not all(axis in extra for axis in AXES if axis not in DEFAULTS):
        return None
    axes = {axis: extra[axis] for axis in AXES if axis in extra}
    own = {name: axes.pop(name) for name in ("cell", "implementation")}
    try:
        return TypeAdapter(Case).validate_python({**own, "workload": axes})
    except ValidationError:
        return None


def _metrics(extra: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are numbers."""
    values = {metric.name: extra.get(metric.name) for metric in METRICS}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_INTEGER
    }


def _rounds(stats: Mapping[str, Any], where: str) -> BenchmarkRounds:
    low, high, mean = (_seconds(stats.get(name), f"{where}: stats.{name}") for name in ("q1", "q3", "mean"))
    number = stats.get("rounds")
    if not isinstance(number, int) or not 1 <= number < MAX_INTEGER:
        raise UserError(f"{where}: stats.rounds is {_short(number)}; expected a whole number from 1, below 2 ** 63")
    return BenchmarkRounds(low, high, mean, number)


def _replicates(entry: Mapping[str, Any], where: str) -> dict[int, BenchmarkRounds]:
    """The replicates of a case that rnnbench exported, by their numbers."""
    extra = _dictionary(entry.get("extra_info"))
    lists: list[Any] = [extra.get(REPLICATES), entry["stats"].get("data"), extra.get(REPLICATE_MEANS)]
    if (
        not all(isinstance(values, list) for values in lists)
        or len({len(values) for values in lists}) > 1
        or not lists[0]
    ):
        raise UserError(f"{where}: {REPLICATES}, {REPLICATE_MEANS} and stats.data need one value for each replicate")
    replicates = {}
    for number, low, mean in zip(*lists, strict=True):
        if not isinstance(number, int):
            raise UserError(f"{where}: extra_info.{REPLICATES} has {_short(number)}; expected whole numbers")
        times = _seconds(low, f"{where}: stats.data"), _seconds(mean, f"{where}: extra_info.{REPLICATE_MEANS}")
        replicates[number] = BenchmarkRounds(times[0], math.nan, times[1], 1)
    return replicates


def _seconds(value: Any, where: str) -> float:
    """The value as a time; raises UserError if it is not one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < MAX_SECONDS:
        raise UserError(f"{where} is {_short(value)}; expected a positive number of seconds")
    return float(value)


def _started(value: Any, path: Path) -> datetime:
    """When the file was written, in UTC; so is a time without a zone, as older versions wrote it."""
    try:
        started = datetime.fromisoformat(value)
        return started.astimezone(UTC) if started.tzinfo else started.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{path}: datetime is {_short(value)}; expected a time as ISO 8601 has it") from None


def _machine(info: Mapping[str, Any]) -> dict[str, Any]:
    """The facts about a machine besides its processor that matter; its name and measured clock rates do not."""
    facts = {
        "cores": _dictionary(info.get("cpu")).get("count"),
        "machine": info.get("machine"),
        "python": f"{info.get('python_implementation')} {info.get('python_version')}",
    }
    return {key: writable(value) if isinstance(value, str) else value for key, value in facts.items()}


def _processor(info: Mapping[str, Any], *, is_exported: bool) -> Processor | None:
    if is_exported:
        content = _dictionary(_dictionary(info.get(ORIGIN)).get("machine")).get("processor")
        return Processor.from_json(content) if content is not None and IDENTITY.holds(content) else None
    return of_py_cpuinfo({"brand": info.get("processor")} | _dictionary(info.get("cpu")))


def _dictionary(value: Any) -> dict[str, Any]:
    """The value if it is a dictionary, else an empty one."""
    return value if isinstance(value, dict) else {}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 1]}…"
