"""A run's folder: `run.json`, `measurements.jsonl`, one `windows-<worker>.jsonl` for each worker, `telemetry.jsonl`.

What nothing reads, but stays: `spoilt-<worker>.jsonl`, windows of replicates that do not count.
"""

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from rnnbench.errors import UserError
from rnnbench.store import jsonlines
from rnnbench.store.records import Measurement, Window

SCHEMA_VERSION = 1
MOST_OPEN = 16  # windows files; the oldest is closed, most likely that of a worker which has ended
FLUSHED = "caches flushed before every call"
RunStatus = Literal["running", "finished", "interrupted"]


@dataclass(frozen=True)
class RunInfo:
    """What `run.json` holds."""

    suite: str
    description: str
    resolved: dict[str, Any]  # the suite as it was understood, defaults filled in
    command: str
    started: str  # ISO 8601, UTC
    environment: dict[str, Any]
    status: RunStatus = "running"
    seconds: float | None = None  # wall time of the whole run
    replicates: int = 0  # finished
    ceilings: list[dict[str, Any]] = field(default_factory=list)  # of `rnnbench.store.ceilings.Ceiling`
    stage_seconds: dict[str, float] = field(default_factory=dict)  # wall time of what comes before the timing
    notes: list[str] = field(default_factory=list)  # what a reader must know: budget spent, workers lost
    schema_version: int = SCHEMA_VERSION

    @property
    def caches(self) -> str:
        """What every figure of the run has to say of caches; nothing where they were left warm."""
        return FLUSHED if self.resolved.get("measure", {}).get("cold_cache") else ""


class RunFolder:
    """Writes a run as it goes; whatever happens later, each line written stays. One writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _lock(path)
        self._one_at_a_time = threading.Lock()  # several lanes may write
        self._measurements = jsonlines.Appender(path / "measurements.jsonl")
        self._telemetry = jsonlines.Appender(path / "telemetry.jsonl")  # there is none without a GPU
        self._windows: dict[str, jsonlines.Appender] = {}

    @classmethod
    def create(cls, parent: Path, suite: str) -> Self:
        """A new folder below `parent`; raises UserError where it can't be made."""
        name = f"{suite}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        try:
            (parent / name).mkdir(parents=True)
        except OSError as error:
            raise UserError(f"--out {parent}: can't be written: {error.strerror}") from None
        return cls(parent / name)

    def write_info(self, info: RunInfo) -> None:
        """Replace `run.json`, in one step."""
        temporary = self.path / "run.json.new"
        temporary.write_text(json.dumps(asdict(info), indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.path / "run.json")

    def add_measurement(self, measurement: Measurement) -> None:
        """Add what is known of a case; of several lines for one case the last counts."""
        with self._one_at_a_time:
            self._measurements.append(measurement.to_json())

    def add_sample(self, sample: dict[str, Any]) -> None:
        """Add what a GPU said of itself before or after a replicate."""
        with self._one_at_a_time:
            self._telemetry.append(sample)

    def add_window(self, window: Window) -> None:
        """Add one window to its worker's file."""
        with self._one_at_a_time:
            if window.worker not in self._windows:
                if len(self._windows) == MOST_OPEN:
                    self._windows.pop(next(iter(self._windows))).close()
                self._windows[window.worker] = jsonlines.Appender(self.path / f"windows-{window.worker}.jsonl")
            self._windows[window.worker].append(window.to_json())

    def set_aside(self, worker: str) -> None:
        """Keep a worker's windows, if it has any, as ones that do not count."""
        with self._one_at_a_time:
            if worker in self._windows:
                self._windows.pop(worker).close()
        file = self.path / f"windows-{worker}.jsonl"
        if file.exists():
            file.rename(self.path / f"spoilt-{worker}.jsonl")

    def close(self) -> None:
        """Close all files."""
        for appender in (self._measurements, self._telemetry, *self._windows.values()):
            appender.close()
        os.close(self._lock)


def _lock(path: Path) -> int:
    """A lock on the folder itself, which ends with the process; raises UserError where another holds it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(f"{path}: another rnnbench is writing to this run") from None
    return descriptor


def read_info(path: Path) -> RunInfo:
    """A run folder's `run.json`; raises UserError where it is missing, torn or of another schema."""
    file = path / "run.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not a run folder: it has no run.json") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: can't be read: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(f"{file}: schema_version is {version!r}; this rnnbench reads {SCHEMA_VERSION}")
    try:
        return RunInfo(**content)
    except TypeError as error:
        raise UserError(f"{file}: {str(error).replace('RunInfo.__init__() ', '')}") from None


def read_measurements(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of `measurements.jsonl`; none where the run was cut off before the first."""
    file = path / "measurements.jsonl"
    return jsonlines.read(file) if file.exists() else iter(())


def last_measurements(path: Path) -> dict[str, Measurement]:
    """What a run last said of each of its cases, by the case's key."""
    last = {line["case"]: line for line in read_measurements(path)}
    return {case: Measurement.from_json(line) for case, line in last.items()}


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of `telemetry.jsonl`; none where no GPU was used."""
    file = path / "telemetry.jsonl"
    return jsonlines.read(file) if file.exists() else iter(())


def spoilt_workers(path: Path) -> list[str]:
    """The workers whose windows do not count."""
    return sorted(file.stem.removeprefix("spoilt-") for file in path.glob("spoilt-*.jsonl"))


def window_files(path: Path) -> list[Path]:
    """The files of windows that count, one for each worker."""
    return sorted(path.glob("windows-*.jsonl"))


def read_windows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of every worker's windows."""
    for file in window_files(path):
        yield from jsonlines.read(file)
