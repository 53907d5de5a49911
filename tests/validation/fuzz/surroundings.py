"""The surroundings of rnnbench, apart from its input files.

Its own output, special files, other people's folders, and output streams that can't be written.
"""

import contextlib
import gc
import itertools
import json
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from rnnbench import load, suites
from rnnbench.analysis.run_to_run import MIN_CASES
from rnnbench.analysis.runs.run_times import read
from rnnbench.analysis.runs.summary import summarize
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.resume import read_state
from rnnbench.harness.machine import scratch
from rnnbench.new_cell import write_cell
from rnnbench.report.export import FORMATS, rendered
from rnnbench.report.export.exported import ExportedRun
from rnnbench.report.page import place as places
from rnnbench.report.page import profiled
from rnnbench.report.page.files import write as write_files
from rnnbench.report.screen import terminal
from rnnbench.report.tables import all_tables
from rnnbench.store import pytest_benchmark
from rnnbench.store.folder import RunFolder, read_info, read_profiles
from rnnbench.store.records import Measurement
from tests.doubles import saved_files, stored
from tests.doubles import workload as small
from tests.store.test_storable import infos, measurements, windows
from tests.validation.fuzz.inputs import NASTY

Target = tuple[st.SearchStrategy[Any], Callable[[Any], None]]
CASE, REFERENCE = small.case("vanilla"), small.reference_case()
SUMMARIZED, EXPORTED = 10, 100  # one in so many runs is summarized, or also exported and rendered


def written_runs(parent: Path) -> Target:
    """Any text of a worker, a user's code or a command line is stored so that it can be read, shown and exported."""
    number = itertools.count()

    def use(drawn: tuple[Any, list[Measurement], list[Any]]) -> None:
        info, known, taken = drawn
        folder = RunFolder.create(parent, "test")
        try:
            folder.write_info(replace(info, id=folder.id) if hasattr(folder, "id") else info)
            folder.add_measurement(Measurement(CASE, "measured", parity="agrees"))
            for measurement in known:
                folder.add_measurement(measurement)
            for window in {(entry.replicate, entry.order): entry for entry in taken}.values():
                folder.add_window(window)
            folder.close()
            loaded = load(folder.path)
            info, times, count = read_info(folder.path), read(folder.path), next(number)
            if count % SUMMARIZED == 0:
                loaded.windows, loaded.cases  # noqa: B018
            if count % EXPORTED == 0:
                summary = summarize(times)
                terminal.text(summary, info)
                all_tables.render(summary, info)
                for name in FORMATS:
                    rendered(name, ExportedRun(info, times, summary))
        finally:
            shutil.rmtree(folder.path, ignore_errors=True)

    return st.tuples(infos, st.lists(measurements, max_size=3), st.lists(windows, max_size=2)), use


def _bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


SLOW = "terabyte of nothing"
# Things in the place of a file.
SPECIAL: dict[str, Callable[[Path], Any]] = {
    "pipe": os.mkfifo,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "device that is always full": lambda path: path.symlink_to("/dev/full"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "folder": Path.mkdir,
    "socket": _bound,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to its folder": lambda path: path.symlink_to("."),
    "link out of its folder": lambda path: path.symlink_to("/etc/hostname"),
    SLOW: _sparse,
    "empty file": lambda path: path.write_bytes(b""),
    "nothing": lambda path: None,
}


def special_files(parent: Path, run: Path) -> Target:
    """Special files behind the names of a run, a suite or a saved file: each is refused at once, or read."""
    suite, saved = parent / "mine.toml", parent / "saved.json"
    suite.write_text('name = "mine"\n[[sweep]]\ncell = "lstm"\n')
    saved_files.write(saved, [saved_files.benchmark("test_a", [1.0, 1.1])])
    names = [*sorted(file for file in run.iterdir() if file.is_file()), run / "windows-0009.jsonl", suite, saved]
    number = itertools.count()

    def use(drawn: dict[Path, str]) -> None:
        aside, refusals = parent / "aside", list[str]()
        aside.mkdir()
        try:
            for name, kind in drawn.items():
                if name.exists():
                    name.rename(aside / name.name)
                SPECIAL[kind](name)
            for read in (read_suite, read_saved, read_run, lambda: read_state(run)):
                try:
                    read()
                except UserError as refused:
                    refusals.append(str(refused).strip())  # keeping the error would keep the data read
            if refusals:
                raise UserError(min(refusals, key=len))
        finally:
            for name in drawn:
                if name.is_symlink() or name.exists():
                    shutil.rmtree(name) if name.is_dir() and not name.is_symlink() else name.unlink()
                if (aside / name.name).exists():
                    (aside / name.name).rename(name)
            aside.rmdir()
            if SLOW in drawn.values():
                gc.collect()  # an error from a thread keeps the data read until it is collected

    def read_suite() -> None:
        suites.read(str(suite))

    def read_saved() -> None:
        pytest_benchmark.is_saved(saved)
        pytest_benchmark.read(saved)

    def read_run() -> None:
        read_info(run)
        times, count = read(run), next(number)
        if count % SUMMARIZED == 0:
            summarize(times)
        profiles = read_profiles(run)
        if count % EXPORTED == 0:
            profiled.sections(times, profiles, run)

    often = [kind for kind in sorted(SPECIAL) if kind != SLOW] * 30  # SLOW takes a fifth of a second
    kinds = st.sampled_from([*often, SLOW])
    return st.dictionaries(st.sampled_from(names), kinds, min_size=1, max_size=4), use


THEIRS = (
    "rnnbench.mine",
    "rnnbench.git",
    "rnnbench.base.abcdefgh",
    "rnnbench.compiled.x",
    "reports/test",
    "reports/A-test",
    "reports/test/figures",
    "results",
    "results/test",
    "site",
    "MyCell.py",
    "MyCell.toml",
    "tables",
)
FILES = (scratch.MARKER, places.MARKER, "index.html", "run.json", "measurements.jsonl", "notes", "figures/ratio.png")


def other_peoples_folders(parent: Path, run: Path) -> Target:
    """Other people's files in the folders where rnnbench works are unchanged at the end."""
    info, number = read_info(run), itertools.count()
    contents = st.sampled_from((b"", b"of years", *(text.encode("utf-8", "replace") for text in NASTY)))
    trees = st.dictionaries(
        st.tuples(st.sampled_from(THEIRS), st.sampled_from(FILES)), contents | st.just(None), min_size=1, max_size=6
    )

    def use(drawn: tuple[dict[tuple[str, str], bytes | None], str]) -> None:
        tree, deed = drawn
        folder = parent / str(next(number))
        for (name, file), content in tree.items():
            with contextlib.suppress(OSError):  # a file has the name of a folder
                (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / name / file).write_bytes(_forged(folder / name) if content is None else content)
        before = _contents(folder)
        try:
            with contextlib.chdir(folder), contextlib.suppress(UserError):
                DEEDS[deed](folder, run, info)
            after = _contents(folder)
            lost = {name for name, content in before.items() if after.get(name) != content}
            assert not lost, f"{deed} has changed {sorted(map(str, lost))}"
        finally:
            shutil.rmtree(folder)

    return st.tuples(trees, st.sampled_from(sorted(DEEDS))), use


def _forged(folder: Path) -> bytes:
    """A marker that rnnbench would write into another folder."""
    facts = folder.parent.stat()
    return f"{facts.st_dev} {facts.st_ino} {folder}\n".encode()


def _contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def _use_scratch(folder: Path, run: Path, info: Any) -> None:
    scratch.remove_abandoned(folder)


def _report(folder: Path, run: Path, info: Any) -> None:
    for out in (None, folder / "site"):
        place = places.place(places.of_run(run, info), out)
        place.mark()
        write_files(place.folder, {"index.html": b"page", "figures/ratio.png": b"picture"})


def _make_run(folder: Path, run: Path, info: Any) -> None:
    RunFolder.create(folder / "results", "test").close()
    RunFolder.create(folder, "test").discard()


def _make_cell(folder: Path, run: Path, info: Any) -> None:
    write_cell("MyCell", "lstm", folder, whole=False)


DEEDS: dict[str, Callable[[Path, Path, Any], None]] = {
    "tidying up": _use_scratch,
    "a report": _report,
    "a run": _make_run,
    "a new cell": _make_cell,
}


# Commands that measure nothing, and end within a hundredth of a second after the imports.
PRINTING: dict[str, tuple[list[str], int]] = {
    "--help": (["--help"], 0),
    "--version": (["--version"], 0),
    "list cells": (["list", "cells"], 0),
    "list metrics": (["list", "metrics"], 0),
    "list cases": (["list", "cases", "quick", "--only", "cell=gru batch_size=1 phase=inference"], 0),
    "export": (["export", "RUN", "--format", "csv"], 0),
    "compare": (["compare", "RUN", "SLOWER"], 1),
    "compare --json": (["compare", "RUN", "SLOWER", "--json"], 1),
    "bad input": (["list", "cases", "quik"], 2),
}
BROKEN, FULL, CUT, WELL = "a pipe that nobody reads", "a full disk", "a disk that fills up", "what takes all"


def outputs(parent: Path) -> Target:
    """Standard output and standard error that can't be written: the exit code is still right."""
    base, slower = (
        stored.folder(parent / name, stored.several([time] * MIN_CASES))
        for name, time in (("base", 2.0), ("slower", 3.0))
    )
    runs = {"RUN": str(base), "SLOWER": str(slower)}
    os.environ.pop("GITHUB_STEP_SUMMARY", None)

    def use(drawn: tuple[str, str, str, int]) -> None:
        from rnnbench import cli
        from rnnbench.cli import output

        command, out, err, size = drawn
        arguments, code = PRINTING[command]
        before = sys.argv, sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__
        with _opened(parent / "out", out, size) as first, _opened(parent / "err", err, size) as second:
            sys.argv = ["rnnbench", *(runs.get(word, word) for word in arguments)]
            sys.stdout = sys.__stdout__ = os.fdopen(os.dup(first), "w")  # type: ignore[misc]
            sys.stderr = sys.__stderr__ = os.fdopen(os.dup(second), "w")  # type: ignore[misc]
            try:
                with output.guarded_streams():
                    actual = cli._exit_code(debug=False)
            finally:
                mine = sys.stdout, sys.stderr
                sys.argv, sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__ = before  # type: ignore[misc]
                for stream in mine:
                    stream.close()
        allowed = {WELL: {code}, CUT: {code, 2}, BROKEN: {128 + signal.SIGPIPE}, FULL: {2}}[out]
        if code == 2:  # bad input prints on standard error only
            allowed = {2}
        assert actual in allowed, f"{command} ended with {actual} where {sorted(allowed)} is right"

    kinds = st.sampled_from([BROKEN, FULL, CUT, WELL])
    few = st.sampled_from([name for name in PRINTING if "compare" not in name] * 6 + sorted(PRINTING))
    return st.tuples(few, kinds, kinds, st.integers(0, 2000)), use


@contextlib.contextmanager
def _opened(file: Path, kind: str, size: int) -> Iterator[int]:
    """A file descriptor of the given kind; `size`: bytes until the disk is full."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    if kind == BROKEN:
        read, descriptor = os.pipe()
        os.close(read)
    else:
        path = {FULL: Path("/dev/full"), WELL: Path(os.devnull), CUT: file}[
            kind
        ]  # the limit below applies to all kinds of files
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if kind == CUT:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield descriptor
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        os.close(descriptor)


def a_run(parent: Path) -> Path:
    """A small run for targets that need one."""
    path = stored.folder(parent, {CASE: [[2.0], [2.1]], REFERENCE: [[1.0], [1.1]]})
    (path / "telemetry.jsonl").write_text(json.dumps({"a": 1}) + "\n")
    return path
