"""A run's folder: `run.json`, `measurements.jsonl`, one `windows-<worker>.jsonl` for each worker, `telemetry.jsonl`,
and `profiles.jsonl` with `traces/` where cases were profiled.

What nothing reads, but stays: `spoilt-<worker>.jsonl`, windows of replicates that do not count.

A run that several processes measure has parts: each writes files of its own, `run-<part>.json`,
`measurements-<part>.jsonl`, `telemetry-<part>.jsonl` and `windows-<part>-<number>.jsonl`. No case is in two parts.
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rnnbench.errors import UserError
from rnnbench.store import jsonlines, names, schema, storable
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Measurement, Window
from rnnbench.store.regular_files import read_text
from rnnbench.store.run_info import READ_VERSIONS, RunInfo
from rnnbench.store.writing import open_to_append, replace

MAX_OPEN = 16  # windows files; the oldest is closed, most likely that of a worker which has ended
MAX_INFO_BYTES = 64 << 20
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of file systems that know of none


def dated_folder(parent: Path, name: str) -> Path:
    """A new folder below `parent`, named after the time; raises UserError where it can't be made."""
    while True:
        path = parent / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        try:
            path.mkdir(parents=True)
        except OSError as error:
            if path.exists():  # another run of this second has drawn the same number
                continue
            raise UserError(f"{parent}: can't be written: {error.strerror}; give another folder") from None
        return path


class RunFolder:
    """Writes a run, or a part of one, as it goes; whatever happens later, each line written stays.

    One writer at a time for each part: raises UserError where there is another.
    """

    def __init__(self, path: Path, part: str = "", *, is_new: bool = False) -> None:
        self.path = path
        self._is_new = is_new
        self._id: str | None = None  # of the run; None before it is asked for
        self._info = path / _named("run.json", part)
        measurements = path / _named("measurements.jsonl", part)
        self._lock, self._is_closed = _lock(measurements), False
        self._one_at_a_time = threading.Lock()  # several lanes may write
        self._measurements = jsonlines.Appender(measurements)
        self._telemetry = jsonlines.Appender(path / _named("telemetry.jsonl", part))  # there is none without a GPU
        self._profiles = jsonlines.Appender(path / _named("profiles.jsonl", part))  # none unless cases are profiled
        self._windows: dict[str, jsonlines.Appender] = {}

    @classmethod
    def create(cls, parent: Path, suite: str) -> Self:
        """A new folder below `parent`; raises UserError where it can't be made."""
        return cls(dated_folder(parent, suite), is_new=True)

    def write_info(self, info: RunInfo) -> None:
        """Replace `run.json`, in one step."""
        self._id = info.id
        replace(self._info, info_bytes(info))

    def add_measurement(self, measurement: Measurement) -> Measurement:
        """Add what is known of a case, and return it as it will be read; of several lines for one the last counts."""
        kept = storable.measurement(measurement)
        with self._one_at_a_time:
            self._measurements.append(kept.to_json())
        return kept

    def add_sample(self, sample: dict[str, Any]) -> None:
        """Add what a GPU said of itself before or after a replicate."""
        with self._one_at_a_time:
            self._telemetry.append(sample)

    def add_profile(self, profile: Profile) -> Profile:
        """Add where a case's time goes, and return it as it will be read; of several lines for one the last counts."""
        kept = storable.profile(profile)
        with self._one_at_a_time:
            self._profiles.append(kept.to_json())
        return kept

    def add_window(self, window: Window) -> None:
        """Add one window to its worker's file, with the id of the run."""
        with self._one_at_a_time:
            if window.worker not in self._windows:
                if len(self._windows) == MAX_OPEN:
                    self._windows.pop(next(iter(self._windows))).close()
                self._windows[window.worker] = jsonlines.Appender(self.path / f"windows-{window.worker}.jsonl")
            self._windows[window.worker].append(window.to_json() | self._of_run())

    def _of_run(self) -> dict[str, str]:
        """What every window says of the run that it is of."""
        if self._id is None:
            self._id = run_id(self.path)
        return {"run": self._id} if self._id else {}

    def set_aside(self, worker: str) -> None:
        """Keep a worker's windows, if it has any, as ones that do not count."""
        with self._one_at_a_time:
            if worker in self._windows:
                self._windows.pop(worker).close()
        file = self.path / f"windows-{worker}.jsonl"
        if file.exists():
            file.rename(self.path / f"spoilt-{worker}.jsonl")

    def discard(self) -> None:
        """Remove the folder, which is not to be, if `create` made it; one that was there before stays."""
        self.close()
        if self._is_new:
            shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Close all files, if that was not done before."""
        for appender in (self._measurements, self._telemetry, self._profiles, *self._windows.values()):
            appender.close()
        if not self._is_closed:
            self._is_closed = True  # a second time the number could be another file's
            os.close(self._lock)


def info_bytes(info: RunInfo) -> bytes:
    """The content of a `run.json`."""
    return (json.dumps(storable.info(info), indent=1) + "\n").encode()


def _named(file: str, part: str) -> str:
    """A file's name in a run, or in a part of one."""
    stem, _, ending = file.partition(".")
    return f"{stem}-{part}.{ending}" if part else file


def _lock(file: Path) -> int:
    """A lock on a file, which ends with the process; raises UserError where another holds it."""
    try:
        held = open_to_append(file)  # NFS locks only what may be written, and no folder
    except OSError as fault:
        raise UserError(f"{file}: can't be written: {fault.strerror}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise UserError(
            f"{file.parent}: another rnnbench is writing to this run; wait for it, or start a new run"
        ) from None
    except OSError as fault:
        if fault.errno not in NO_LOCKS:
            raise
    return held


def read_info(path: Path, part: str = "") -> RunInfo:
    """A run folder's `run.json`, or a part's; raises UserError where it is missing, torn or of another schema."""
    file = path / _named("run.json", part)
    try:
        return read_info_file(file)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path}: not a run folder: it has no {file.name}; expected one that `rnnbench run` made"
        ) from None


def read_info_file(file: Path) -> RunInfo:
    """What a file like `run.json` holds; raises UserError as `read_info`, but FileNotFoundError where there is none."""
    try:
        content = json.loads(read_text(file, MAX_INFO_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise UserError(f"{file}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: can't be read: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version not in READ_VERSIONS:
        reads = " and ".join(map(str, READ_VERSIONS))
        raise UserError(
            f"{file}: schema_version is {version!r}; this rnnbench reads {reads}; use the version that wrote it"
        )
    if fault := schema.info_fault(content):
        raise UserError(f"{file}: {fault}")
    try:
        return RunInfo(**{"id": ""} | content)
    except TypeError as error:
        raise UserError(f"{file}: {str(error).replace('RunInfo.__init__() ', '')}") from None


def run_id(path: Path) -> str:
    """The id of a run; older runs have none, and neither has one before `run.json` is there."""
    return read_info(path).id if (path / "run.json").exists() else ""


def is_check(path: Path) -> bool:
    """Whether it is the folder of a check: no run itself, but two of them, one a side."""
    return not (path / "run.json").exists() and all((path / side / "run.json").exists() for side in ("base", "head"))


def last_lines(path: Path, part: str | None = None) -> dict[str, dict[str, Any]]:
    """What a run, or a part of it, last said of each of its cases, by the case's key, in the order of the first lines.

    Nothing where the run was cut off before the first. Raises UserError where a line is not what it must be; of a line
    that a later one of its case replaces only the key is looked at.
    """
    wanted = [*parts(path), ""] if part is None else [part]
    files = [path / _named("measurements.jsonl", one) for one in wanted]
    last: dict[str, tuple[Path, int, dict[str, Any]]] = {}
    for file in (one for one in files if one.exists()):
        for number, line in enumerate(jsonlines.read(file), 1):
            case = line.get("case")
            last[case if isinstance(case, str) else f"{file}, line {number}"] = file, number, line
    for file, number, line in last.values():
        check_line(file, number, schema.measurement_fault(line))
    return {case: line for case, (_, _, line) in last.items()}


def last_measurements(path: Path, part: str | None = None) -> dict[str, Measurement]:
    """The same as records."""
    return {case: Measurement.from_json(line) for case, line in last_lines(path, part).items()}


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of `telemetry.jsonl`; none where no GPU was used."""
    yield from _lines(path, "telemetry*.jsonl")


def read_profiles(path: Path) -> dict[str, Profile]:
    """What a run last said of where the time of each of its cases goes; raises UserError where a line is none."""
    lines = _lines(path, "profiles.jsonl", schema.profile_fault)
    return {line["case"]: Profile.from_json(line) for line in lines}


def spoilt_workers(path: Path, part: str | None = None) -> list[str]:
    """The workers whose windows do not count, of one part or of all."""
    spoilt = (file.stem.removeprefix("spoilt-") for file in path.glob(f"spoilt-{of_workers(part)}"))
    return sorted(name for name in spoilt if names.is_worker(name))


def parts(path: Path) -> list[str]:
    """The parts of a run; none where one process measures it all. Raises UserError at a file that is named like one."""
    found = {file: file.stem.removeprefix("measurements-") for file in sorted(path.glob("measurements-*.jsonl"))}
    for file, part in found.items():
        if not names.is_part(part):
            raise UserError(f"{file}: unknown file, not written by rnnbench; move it out of the folder")
    return list(found.values())


def of_workers(part: str | None) -> str:
    """What the names of files end in that workers of a part, or of all parts, have written."""
    return f"{part}-*.jsonl" if part else "*.jsonl"


def _lines(
    path: Path, pattern: str, fault_of: Callable[[dict[str, Any]], str] = lambda line: ""
) -> Iterator[dict[str, Any]]:
    """The lines of all such files; raises UserError at one that is not what it must be."""
    for file in sorted(path.glob(pattern)):
        for number, line in enumerate(jsonlines.read(file), 1):
            check_line(file, number, fault_of(line))
            yield line


def check_line(file: Path, number: int, fault: str) -> None:
    """Raise UserError, naming the line, if there is a fault."""
    if fault:
        raise UserError(f"{file}, line {number}: {fault}")
