"""pytest-benchmark's JSON files, as `--benchmark-json`, `--benchmark-autosave` and `rnnbench export` write them.

A file is one process, and so one replicate, however many rounds it has: its rounds share the memory layout and the
state of the machine in those seconds. Each file of the same code on the same machine is one more replicate.
"""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.store.folder import is_check
from rnnbench.store.metrics import METRICS
from rnnbench.store.records import AXES, Case
from rnnbench.store.run_info import instruction_sets
from rnnbench.store.stored_record import HUGE, Positive, Record, adapter, content_of, parsed, valid

ORIGIN = "rnnbench"  # the key under which rnnbench describes a file that it wrote
UNKNOWN_COMMITS = ("unversioned", "unknown", None)
IDENTITY = {  # what a run says of its processor, by py-cpuinfo's words
    "name": "brand_raw",
    "vendor": "vendor_id_raw",
    "family": "family",
    "model": "model",
    "stepping": "stepping",
}
WANTED = "expected a file that pytest --benchmark-json or --benchmark-autosave wrote"


@dataclass(frozen=True)
class SavedStats:
    """The statistics of one benchmark, in seconds."""

    q1: Positive
    mean: Positive


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

    @property
    def case(self) -> Case | None:
        """The case, if `extra_info` has its axes, as from rnnbench's own pytest plugin."""
        axes: Any = {axis: self.extra_info[axis] for axis in AXES if axis in self.extra_info}
        try:
            case: Case = valid(adapter(Case).validate_python, {**axes, "workload": axes})
        except UserError:  # they are something else, or come from a newer rnnbench
            return None
        return case

    @property
    def metrics(self) -> dict[str, float]:
        """The known metrics of a case."""
        values: dict[str, Any] = {metric.name: self.extra_info.get(metric.name) for metric in METRICS}
        return {name: value for name, value in values.items() if type(value) in (int, float) and abs(value) <= HUGE}

    @property
    def labels(self) -> dict[str, str]:
        """The words by which benchmarks are grouped, and for each what it says of this one, as in pytest-benchmark."""
        return {
            "group": self.group or "",
            "name": self.name,
            "func": self.name.partition("[")[0],
            "fullname": self.fullname,
            "fullfunc": self.fullname.partition("[")[0],
            "param": "" if self.param is None else str(self.param),
            **{f"param:{name}": f"{name}={value}" for name, value in (self.params or {}).items()},
        }


@dataclass(frozen=True)
class SavedFile(Record):
    """A file as pytest-benchmark writes it."""

    machine_info: dict[str, Any]
    datetime: dt.datetime
    benchmarks: list[SavedBenchmark]
    commit_info: dict[str, Any] = field(default_factory=dict)
    rnnbench: dict[str, Any] | None = None  # in a file that rnnbench wrote

    @property
    def started(self) -> dt.datetime:
        """When it was made; a time without a zone, as older versions wrote it, is in UTC."""
        return self.datetime.astimezone(dt.UTC) if self.datetime.tzinfo else self.datetime.replace(tzinfo=dt.UTC)

    @property
    def commit(self) -> str | None:
        """The commit, None if it is not known."""
        commit = self.commit_info.get("id") or None
        return None if commit in UNKNOWN_COMMITS else str(commit)

    @property
    def environment(self) -> dict[str, Any]:
        """What changes times if no code has changed, as a run records it; not the machine's name or clock rates."""
        info = self.machine_info
        details = info.get("cpu")
        cpu = {"brand": info.get("processor")} | (details if isinstance(details, dict) else {})
        cpu = {"brand_raw": cpu["brand"]} | cpu  # older versions have no `brand_raw`
        cores = cpu.get("count")
        flags = cpu.get("flags")
        processor = {name: str(cpu[key]) for name, key in IDENTITY.items() if isinstance(cpu.get(key), str | int)}
        sets = instruction_sets(map(str, flags)) if isinstance(flags, list) else ()
        machine = {
            "processor": {**processor, "instruction_sets": sets},
            "cores_allowed": list(range(cores)) if isinstance(cores, int) and 0 < cores < 1 << 16 else [],
        }
        python = f"{info.get('python_implementation')} {info.get('python_version')} {info.get('machine')}"
        return {"machine": machine, "worker": {"python": python}}


def is_saved(path: Path) -> bool:
    """Return whether this is a file, or a folder of JSON files that is not the folder of a run or a check."""
    is_own = (path / "run.json").exists() or is_check(path)
    return path.is_file() or (path.is_dir() and not is_own and any(path.rglob("*.json")))


def read_files(path: Path) -> dict[Path, SavedFile]:
    """Read a file, or all JSON files in and below a folder; raises UserError if one is not pytest-benchmark's."""
    saved_files = {}
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        content = content_of(file)
        try:
            saved_files[file] = SavedFile.from_json(parsed(content))
        except UserError as fault:
            raise UserError(f"{file}: {fault}\n{WANTED}") from None
        if saved_files[file].rnnbench is not None:
            raise UserError(f"{file}: exported from a run of rnnbench; give the folder of the run")
        if not saved_files[file].benchmarks:
            raise UserError(f"{file}: contains no benchmark; did pytest skip them all?")
    return saved_files
