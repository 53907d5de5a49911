"""A run's folder: `run.json`, `measurements.jsonl`, one `windows-<worker>.jsonl` for each worker, `telemetry.jsonl`,
and `profiles.jsonl` with `traces/` where cases were profiled.

Windows of replicates that do not count are kept in `spoilt-<worker>.jsonl`, which nothing reads.

A run that several processes measure has parts. Each part writes its own files: `run-<part>.json`,
`measurements-<part>.jsonl`, `telemetry-<part>.jsonl` and `windows-<part>-<number>.jsonl`. No case is in two parts.
"""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rnnbench.errors import UserError
from rnnbench.store import jsonlines, names, schema, storable
from rnnbench.store.last_lines import LastLines, check_line
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Measurement, Window
from rnnbench.store.regular_files import read_text
from rnnbench.store.run_info import READ_VERSIONS, RunInfo
from rnnbench.store.writing import open_to_append, replace

MAX_OPEN = 16  # windows files; the oldest is closed first, since its worker has most likely ended
MAX_INFO_BYTES = 64 << 20
TRACES = "traces"  # subfolder of the files of profiles
OWN_FILES = (  # beside run.json, those of parts, and *.jsonl
    *("visits.parquet", "machine.json", "bisect.json"),
    *("verdicts.json", "verdicts.md", "junit.xml", "badge.json"),
)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # from file systems without locks


def dated_folder(parent: Path, name: str) -> Path:
    """Make a new folder below `parent`, named after the time; raises UserError if that fails."""
    while True:
        path = parent / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        try:
            path.mkdir(parents=True)
        except OSError as error:
            if path.exists():  # another run has drawn the same number in this second
                continue
            raise UserError(f"{parent}: can't be written: {error.strerror}; give another folder") from None
        return path


class RunFolder:
    """Writes a run, or a part of one, line by line; a line that was written stays, whatever happens later.

    Each part has one writer at a time: raises UserError if there is another.
    """

    def __init__(self, path: Path, part: str = "", *, is_new: bool = False) -> None:
        self.path = path
        self._is_new = is_new
        self._id: str | None = None  # of the run; None until it is needed
        self._info = path / _named("run.json", part)
        measurements = path / _named("measurements.jsonl", part)
        self._lock, self._is_closed = lock(measurements), False
        self._one_at_a_time = threading.Lock()  # several lanes may write
        self._measurements = jsonlines.Appender(measurements)
        self._telemetry = jsonlines.Appender(path / _named("telemetry.jsonl", part))  # no file without a GPU
        self._profiles = jsonlines.Appender(path / _named("profiles.jsonl", part))  # no file unless cases are profiled
        self._windows: dict[str, jsonlines.Appender] = {}

    @classmethod
    def create(cls, parent: Path, suite: str) -> Self:
        """Make a new folder below `parent`; raises UserError if that fails."""
        return cls(dated_folder(parent, suite), is_new=True)

    def write_info(self, info: RunInfo) -> None:
        """Replace `run.json`, in one step."""
        self._id = info.id
        replace(self._info, info_bytes(info))

    def add_measurement(self, measurement: Measurement) -> Measurement:
        """Add the measurement of a case, and return it as it will be read; the last line of a case counts."""
        kept = storable.measurement(measurement)
        with self._one_at_a_time:
            self._measurements.append(kept.to_json())
        return kept

    def add_sample(self, sample: dict[str, Any]) -> None:
        """Add the readings of a GPU from before or after a replicate."""
        with self._one_at_a_time:
            self._telemetry.append(sample)

    def add_profile(self, profile: Profile) -> Profile:
        """Add the profile of a case, and return it as it will be read; the last line of a case counts."""
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
        """The run's id as each line of a window holds it; empty if the run has no id."""
        if self._id is None:
            self._id = run_id(self.path)
        return {"run": self._id} if self._id else {}

    def set_aside(self, worker: str) -> None:
        """Rename the file of a worker's windows, if there is one, so that they do not count."""
        with self._one_at_a_time:
            if worker in self._windows:
                self._windows.pop(worker).close()
        file = self.path / f"windows-{worker}.jsonl"
        if file.exists():
            file.rename(self.path / f"spoilt-{worker}.jsonl")

    def discard(self) -> None:
        """Close all files, and remove the folder if `create` made it; a folder that existed before stays."""
        self.close()
        if self._is_new:
            shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Close all files; a second call does nothing."""
        for appender in (self._measurements, self._telemetry, self._profiles, *self._windows.values()):
            appender.close()
        if not self._is_closed:
            self._is_closed = True  # later the descriptor may belong to another file
            os.close(self._lock)


def info_bytes(info: RunInfo) -> bytes:
    """The content of a `run.json`."""
    return (json.dumps(storable.info(info), indent=1) + "\n").encode()


def _named(file: str, part: str) -> str:
    """A file's name in a run, or in a part of one."""
    stem, _, ending = file.partition(".")
    return f"{stem}-{part}.{ending}" if part else file


def lock(file: Path) -> int:
    """Lock a file until the process ends, and return its descriptor; raises UserError if it is locked already."""
    try:
        descriptor = open_to_append(file)  # NFS locks only files that are open for writing, and no folders
    except OSError as fault:
        raise UserError(f"{file}: can't be written: {fault.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"{file.parent}: another rnnbench is writing to this run; wait for it, or start a new run"
        ) from None
    except OSError as fault:
        if fault.errno not in NO_LOCKS:
            raise
    return descriptor


def read_info(path: Path, part: str = "") -> RunInfo:
    """Read `run.json` of a run, or of a part; raises UserError if it is missing, cut off or of another schema."""
    file = path / _named("run.json", part)
    try:
        return read_info_file(file)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: {_why_no_run(path, file.name)}; expected one that `rnnbench run` made") from None


def _why_no_run(path: Path, file: str) -> str:
    if not os.path.lexists(path):
        return "no such folder"
    return f"not a run folder: it has no {file}" if path.is_dir() else "not a run folder: it is a file"


def read_info_file(file: Path) -> RunInfo:
    """Read a file like `run.json`; raises UserError as `read_info` does, but FileNotFoundError if there is no file."""
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
    """The id of a run; empty for older runs, and before `run.json` is written."""
    return read_info(path).id if (path / "run.json").exists() else ""


def is_check(path: Path) -> bool:
    """Whether this is the folder of a check: it is not a run, but holds two, `base` and `head`."""
    return not (path / "run.json").exists() and all((path / side / "run.json").exists() for side in ("base", "head"))


def keeps(file: Path) -> Path | None:
    """The folder of a run, a check or a bisection in which a file has the name of one of its own; None if none has.

    What rnnbench writes for its user may stand in such a folder, but must not replace its records.
    """
    file = Path(os.path.realpath(file))  # `resolve` raises for a link to itself
    if run := next(
        (folder.parent for folder in file.parents if folder.name == TRACES and _is_records(folder.parent)), None
    ):
        return run
    is_own = file.suffix == ".jsonl" or file.name in OWN_FILES or re.fullmatch(r"run(-.*)?\.json", file.name)
    return file.parent if is_own and _is_records(file.parent) else None


def holds_only_a_check(folder: Path) -> bool:
    """Return True if a folder is that of a check, and rnnbench has made every file in it."""
    others = (file for file in folder.rglob("*") if file.is_symlink() or not (file.is_dir() or keeps(file)))
    return is_check(folder) and not any(others)


def _is_records(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("run.json", "bisect.jsonl")) or is_check(folder)


def last_lines(path: Path, part: str | None = None) -> LastLines:
    """The last line of each case of a run, or of a part, by the case's key; empty if the run was cut off before it."""
    wanted = [*parts(path), ""] if part is None else [part]
    files = [path / _named("measurements.jsonl", name) for name in wanted]
    return LastLines(filter(Path.exists, files))


def last_measurements(path: Path, part: str | None = None) -> dict[str, Measurement]:
    """`last_lines` as records."""
    return {case: Measurement.from_json(line) for case, line in last_lines(path, part).items()}


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of `telemetry.jsonl`, of all parts; none if no GPU was used."""
    yield from _lines(path, "telemetry*.jsonl")


def read_profiles(path: Path) -> dict[str, Profile]:
    """The last profile of each case of a run, by the case's key; raises UserError if a line is not valid."""
    lines = _lines(path, "profiles.jsonl", schema.profile_fault)
    return {line["case"]: Profile.from_json(line) for line in lines}


def spoilt_workers(path: Path, part: str | None = None) -> list[str]:
    """The workers whose windows do not count, of one part or of all parts."""
    spoilt = (file.stem.removeprefix("spoilt-") for file in path.glob(f"spoilt-{of_workers(part)}"))
    return sorted(name for name in spoilt if names.is_worker(name))


def parts(path: Path) -> list[str]:
    """The parts of a run; empty if one process measures it all. Raises UserError if a file names no valid part."""
    part_of = {file: file.stem.removeprefix("measurements-") for file in sorted(path.glob("measurements-*.jsonl"))}
    for file, part in part_of.items():
        if not names.is_part(part):
            raise UserError(f"{file}: unknown file, not written by rnnbench; move it out of the folder")
    return list(part_of.values())


def of_workers(part: str | None) -> str:
    """The pattern for the end of a file's name that the workers of a part, or of all parts, use."""
    return f"{part}-*.jsonl" if part else "*.jsonl"


def _lines(
    path: Path, pattern: str, fault_of: Callable[[dict[str, Any]], str] = lambda line: ""
) -> Iterator[dict[str, Any]]:
    """The lines of all files that match `pattern`; raises UserError at the first one that is not valid."""
    for file in sorted(path.glob(pattern)):
        for number, line in enumerate(jsonlines.read(file), 1):
            check_line(file, number, fault_of(line))
            yield line
