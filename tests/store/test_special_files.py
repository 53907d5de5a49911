"""A pipe, device, socket, folder or link behind each name of a run is refused at once, without waiting for it."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pytest

from rnnbench import load
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.resume import read_state
from rnnbench.harness.slurm.job import first_machine
from rnnbench.report.page import place
from rnnbench.store import jsonlines, pytest_benchmark
from rnnbench.store.folder import RunFolder, read_info, read_profiles, read_samples
from rnnbench.store.frames import kept_table
from rnnbench.store.records import Measurement
from rnnbench.store.writing import replace
from tests.doubles import stored
from tests.doubles import workload as small
from tests.profiling.profiles import profile

LOOP = small.case("vanilla")


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


KINDS: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "No such device": bound,  # the kernel's message for a socket, which can't be opened
}
READ: dict[str, Callable[[Path], Any]] = {
    "run.json": read_info,
    "measurements.jsonl": load,
    "measurements-p00000.jsonl": load,
    "windows-0000.jsonl": load,
    "windows-0001.jsonl": read_state,
    "profiles.jsonl": read_profiles,
    "telemetry.jsonl": lambda run: list(read_samples(run)),
    "machine.json": first_machine,
    "saved.json": lambda run: pytest_benchmark.read(run / "saved.json"),
    "saved/a.json": lambda run: pytest_benchmark.read(run / "saved"),
}
WRITTEN: dict[str, Callable[[RunFolder], Any]] = {
    "measurements.jsonl": lambda run: run.add_measurement(Measurement(LOOP, "measured")),
    "windows-0009.jsonl": lambda run: run.add_window(stored.window(LOOP, 9, [1.0])),
    "profiles.jsonl": lambda run: run.add_profile(profile()),
    "telemetry.jsonl": lambda run: run.add_sample({"a": 1}),
    "run.json": lambda run: run.write_info(stored.INFO),
    "run.json.new": lambda run: run.write_info(stored.INFO),
}


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Interrupt code that waits for a pipe or reads a device without end."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = stored.folder(tmp_path, {LOOP: [[1.0]] * 2})
    monkeypatch.chdir(path)  # the address of a socket must be short
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READ)
def test_what_is_no_regular_file_is_not_read(run: Path, name: str, kind: str) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).parent.mkdir(exist_ok=True)
    KINDS[kind](Path(name))
    words = "contains no JSON file" if (name, kind) == ("saved.json", "a folder") else f"can't be read: .*{kind}"
    with pytest.raises(UserError, match=rf"{name}: {words}"):
        READ[name](run)


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "run.json.new"])
def test_what_is_no_regular_file_is_not_written_to(run: Path, name: str, kind: str) -> None:
    (run / name).unlink(missing_ok=True)
    KINDS[kind](Path(name))
    if (name, kind) == ("run.json", "a device"):
        return  # a link is replaced: see below
    with pytest.raises((UserError, OSError)):
        WRITTEN[name](RunFolder(run))


@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_is_written_through_a_link_in_a_strangers_run(run: Path, name: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("of years, without a line end")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(mine)
    if name.startswith("run.json"):
        WRITTEN[name](RunFolder(run))  # replaces the link
    else:
        with pytest.raises((UserError, OSError), match="it is a link"):
            WRITTEN[name](RunFolder(run))
    assert mine.read_text() == "of years, without a line end"
    assert not (run / "run.json").is_symlink()


def test_a_line_without_an_end_is_refused_and_not_held(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonlines, "MAX_LINE_BYTES", 1000)
    with (run / "windows-0000.jsonl").open("ab") as file:
        file.truncate(1 << 40)  # a terabyte of zeros that takes no disk space
    for read in (load, read_state):
        with pytest.raises(UserError, match=r"windows-0000\.jsonl: can't be read: a line is longer than"):
            read(run)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_table_that_is_no_regular_file_is_none_and_stays(run: Path, kind: str) -> None:
    KINDS[kind](Path(kept_table.NAME))
    assert kept_table.read(run, b"") is None
    kept_table.write(run, pa.table({"a": [1]}), b"")
    assert not Path(kept_table.NAME).is_file()


def test_a_marker_of_a_report_that_is_no_file_marks_nothing(run: Path) -> None:
    Path("site").mkdir()
    os.mkfifo(f"site/{place.MARKER}")
    with pytest.raises(UserError, match="was not made by rnnbench"):
        place.place(place.of_one(run), Path("site"))


@pytest.mark.parametrize("kind", ["a pipe", "a folder"])
def test_a_pipe_or_a_folder_is_not_replaced_by_a_file(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / "out")
    with pytest.raises(OSError, match=kind):
        replace(tmp_path / "out", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (tmp_path / "out").is_file()
