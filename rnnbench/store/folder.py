"""A run's folder: `run.json`, `measurements.jsonl`, one `windows-<worker>.jsonl` for each worker, `telemetry.jsonl`,
and `profiles.jsonl` with `traces/` where cases were profiled.

A run that several processes measure has parts. Each part writes its own files: `run-<part>.json`,
`measurements-<part>.jsonl`, `telemetry-<part>.jsonl` and `windows-<part>-<number>.jsonl`. No case is in two parts.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rnnbench.errors import UserError
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Measurement, Window
from rnnbench.store.run_info import RunInfo, read_info_file
from rnnbench.store.stored_record import append_lines, read_lines

TRACES = "traces"  # subfolder of the files of profiles
# The names of the files that a run, a check or a bisection writes into its folder.
OWN_FILES = re.compile(r"(run|measurements|windows|telemetry|profiles|machine|bisect|verdicts|junit)\b.*")


def dated_folder(parent: Path, name: str) -> Path:
    """Make a new folder below `parent`, named after the time; raises UserError if that fails."""
    path = parent / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{parent}: can't be written: {error.strerror}; give another folder") from None
    return path


class RunFolder:
    """Writes a run, or a part of one, line by line; a line that was written stays, whatever happens later.

    Each part has one writer at a time: raises UserError if there is another.
    """

    def __init__(self, path: Path, part: str = "") -> None:
        self.path = path
        self._part = part
        self._lock: int | None = lock(self._file("measurements.jsonl"))
        self._run = ""  # the id of the run, as soon as it is known

    @classmethod
    def create(cls, parent: Path, suite: str) -> Self:
        """Make a new folder below `parent`; raises UserError if that fails."""
        return cls(dated_folder(parent, suite))

    def write_info(self, info: RunInfo) -> None:
        """Replace `run.json`, in one step."""
        write_whole(self._file("run.json"), info_bytes(info))
        if not self._part:
            self._run = info.id

    def add_measurement(self, measurement: Measurement) -> Measurement:
        """Add the measurement of a case, and return it as it will be read; the last line of a case counts."""
        line = measurement.to_json()
        append_lines(self._file("measurements.jsonl"), [line])
        return Measurement.from_json(line)

    def add_sample(self, sample: dict[str, Any]) -> None:
        """Add the readings of a GPU from before or after a replicate."""
        append_lines(self._file("telemetry.jsonl"), [sample])

    def add_profile(self, profile: Profile) -> Profile:
        """Add the profile of a case, and return it as it will be read; the last line of a case counts.

        A profile with impossible values, such as a time of zero, has failed, with the first of them as the reason.
        """
        line = profile.to_json()
        try:
            stored_profile = Profile.from_json(line)
        except UserError as fault:
            stored_profile = Profile(line["case"], "failed", f"its profile can't be stored: {fault}")
        append_lines(self._file("profiles.jsonl"), [stored_profile.to_json()])
        return stored_profile

    def add_window(self, *windows: Window) -> None:
        """Add windows of one worker to its file, with the id of the run."""
        if windows:
            file = self.path / f"windows-{windows[0].worker}.jsonl"
            self._run = self._run or run_id(self.path)
            append_lines(file, [replace(window, run=self._run).to_json() for window in windows])

    def _file(self, name: str) -> Path:
        return self.path / _named(name, self._part)

    def discard(self) -> None:
        """Let others write, and remove the folder with all that is in it."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let others write; a second call does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None  # later the descriptor may belong to another file


def info_bytes(info: RunInfo) -> bytes:
    """Return the content of a `run.json`."""
    return (json.dumps(info.to_json(), indent=1) + "\n").encode()


def write_whole(file: Path, data: bytes) -> None:
    """Write a new file beside `file` and rename it, so that no reader ever sees half of it; raises OSError."""
    temporary = file.with_name(f".rnnbench-{secrets.token_hex(4)}.new")
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _named(file: str, part: str) -> str:
    """Return a file's name in a run, or in a part of one."""
    stem, _, ending = file.partition(".")
    return f"{stem}-{part}.{ending}" if part else file


def lock(file: Path) -> int:
    """Lock a file until the process ends, and return its descriptor; raises UserError if it is locked already."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)  # NFS locks only files that are open for writing
    except OSError as fault:
        raise UserError(f"{file}: can't be written: {fault.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"{file.parent}: another rnnbench is writing to this run; wait for it, or start a new run"
        ) from None
    except OSError:
        pass  # a file system without locks
    return descriptor


def read_info(path: Path, part: str = "") -> RunInfo:
    """Read `run.json` of a run, or of a part; raises UserError if it is missing, cut off or of another schema."""
    file = path / _named("run.json", part)
    if not file.exists():
        why = f"not a run folder: it has no {file.name}" if path.is_dir() else "not a run folder: it is a file"
        raise UserError(f"{path}: {why if path.exists() else 'no such folder'}; expected one that `rnnbench run` made")
    return read_info_file(file)


def run_id(path: Path) -> str:
    """Return the id of a run; empty before `run.json` is written."""
    return read_info(path).id if (path / "run.json").exists() else ""


def is_check(path: Path) -> bool:
    """Return True for the folder of a check: it is not a run, but holds two, `base` and `head`."""
    return not (path / "run.json").exists() and all((path / side / "run.json").exists() for side in ("base", "head"))


def runs_and_checks(path: Path) -> list[Path]:
    """Return the run or the check at a path, or those in a folder."""
    folders = [path, *(sorted(path.iterdir()) if path.is_dir() else [])]
    inside = [folder for folder in folders if (folder / "run.json").exists() or is_check(folder)]
    return [path] if path in inside else inside


def dated(folders: Iterable[Path], left_out: list[str]) -> list[tuple[RunInfo, Path]]:
    """Return runs, and checks with what their heads say, in the order in which they began.

    The fault of each folder that can't be read is added to `left_out`.
    """
    infos = []
    for folder in folders:
        try:
            infos.append((read_info(folder / "head" if is_check(folder) else folder), folder))
        except UserError as fault:
            left_out.append(str(fault))
    return sorted(infos, key=lambda each: each[0].started)


def is_record(file: Path) -> bool:
    """Return True if a file has the name of one that a run, a check or a bisection has written into this folder."""
    folder = file.parent.parent if file.parent.name == TRACES else file.parent
    is_own = any((folder / name).exists() for name in ("run.json", "bisect.json", "head/run.json"))
    return is_own and (folder != file.parent or OWN_FILES.fullmatch(file.name) is not None)


def last_measurements(path: Path, part: str | None = None) -> dict[str, Measurement]:
    """Return the last measurement of each case of a run, or of a part, by the case's key, in the order of the first.

    Raises UserError if a line is not valid.
    """
    names = [*parts(path), ""] if part is None else [part]
    files = [path / _named("measurements.jsonl", name) for name in names]
    lines = (each for file in files if file.exists() for each in read_lines(file, Measurement.from_json))
    return {measurement.case.key: measurement for measurement in lines}


def read_profiles(path: Path) -> dict[str, Profile]:
    """Return the last profile of each case of a run, by the case's key; raises UserError if a line is not valid."""
    file = path / "profiles.jsonl"
    return {profile.case: profile for profile in read_lines(file, Profile.from_json)} if file.exists() else {}


def parts(path: Path) -> list[str]:
    """Return the parts of a run; empty if one process measures it all."""
    return sorted(file.stem.removeprefix("measurements-") for file in path.glob("measurements-*.jsonl"))
