"""What is tried with each kind of input: it is read and used as a command would use it, or raises UserError.

To add a kind, add a function to `TARGETS` that returns a strategy of inputs and a function that uses one.
"""

import atexit
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from rnnbench.analysis.compare_files import compare_saved, read_saved
from rnnbench.analysis.run_times import read
from rnnbench.analysis.stored import compare
from rnnbench.analysis.stored import read as read_stored
from rnnbench.analysis.summary import noise, summarize
from rnnbench.harness.coordinator.resume import read_state
from rnnbench.report import benchmarks, why
from rnnbench.report.page.page import html
from rnnbench.report.page.run import run_page
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.store.folder import read_info, read_profiles
from rnnbench.store.profiles import Kernels
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from tests.doubles import saved_files, screens, stored
from tests.doubles import workload as small
from tests.doubles.ceilings import ceiling as made_up_ceiling
from tests.profiling.profiles import cause, profile
from tests.validation.fuzz.inputs import DEEP, NASTY, bent, document, lines, near, toml

Target = tuple[st.SearchStrategy[Any], Callable[[Any], None]]
SUITE: dict[str, Any] = {
    "name": "mine",
    "description": "of mine",
    "measure": {"replicates": 3, "precision": 0.02, "window_seconds": 0.01},
    "check": {"margin": 0.03, "margins": [{"only": "cell=gru batch_size=1", "margin": 0.1}], "budget_seconds": 60},
    "defaults": {"phase": ["inference", "training"], "threads": 1, "dtype": "float32", "device": ["cpu"]},
    "sweep": [
        {"cell": ["lstm", "gru"], "implementation": ["loop", "torch.nn"], "batch_size": [1, 32], "hidden_size": 64},
        {"cell": ["windows"], "implementation": ["per_item"], "phase": "loading", "workers": [0, 1], "samples": 64},
    ],
}
RENDERED = 200  # one in so many runs or files becomes tables and a page, which takes longest
TERMS = ("cell=lstm", "cell=gru,vanilla", "hidden_size=64", "batch_size=1,32", "phase=training", "batch_size=7")
ONLY = (
    "cell",
    "hidden_size",
    "batch_size",
    "=",
    ",",
    "lstm",
    "gru",
    "64",
    "1",
    " ",
    "dtype",
    "float32",
    "'",
    '"',
    "\\",
    *NASTY,
)


def _folder() -> Path:
    """A temporary folder of this process, in memory if possible."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="rnnbench-fuzz-", dir=shared if shared.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def suite_files() -> Target:
    """Suite files: read a suite and make its cases, as `rnnbench list cases` does."""
    file = _folder() / "mine.toml"

    def use(content: bytes) -> None:
        file.write_bytes(content)
        chosen = suites.read(str(file))
        groups = chosen.groups({}, None, most=suites.MAX_CASES)
        suites.margins(chosen.content.check, [case for group in groups for case in group.cases])

    near_suites = near(SUITE).map(toml)
    deep = st.sampled_from(DEEP).map(lambda value: b"name = " + value)
    return st.one_of(near_suites, near_suites, bent(toml(SUITE)), st.binary(max_size=200), deep), use


def only_expressions() -> Target:
    """`--only` expressions, with a valid suite."""
    suite = suites.read("quick")

    def use(text: str) -> None:
        suite.groups(parse_only([text]), None, most=suites.MAX_CASES)

    parts = st.lists(st.sampled_from(ONLY), max_size=9).map("".join)
    terms = st.lists(st.sampled_from(TERMS), max_size=4).map(" ".join)
    return st.one_of(parts, terms, st.text(max_size=40)), use


def _run(parent: Path) -> Path:
    """A small run of two groups with everything that a run can have, profiles included."""
    cases = [small.case("gru", batch_size=size) for size in (1, 2)]
    own = {case: [[0.002, 0.003], [0.0021, 0.0022], [0.002, 0.0025]] for case in cases}
    references = {small.reference_case("gru", batch_size=size): [[0.001, 0.0011]] * 3 for size in (1, 2)}
    path = stored.folder(parent, own | references)
    info = json.loads((path / "run.json").read_text())
    ceiling = made_up_ceiling("cpu", "float64", 1, 1e9, ((1024, 1e9), (4096, 1e8)), 1e-6, None)
    processor = stored.PROCESSOR.to_json()
    machine = {
        "cpu": "one",
        "processor": processor,
        "cores_allowed": [0, 1],
        "memory_bytes": 1 << 30,
        "cgroup_cpu_limit": "max 100000",
    }
    worker = {"torch": "2", "python": "3.12", "protocol": 4, "devices": {}, "settings": {}}
    info |= {"ceilings": [ceiling.to_json()], "notes": ["a note"], "stage_seconds": {"ceilings": 0.1}, "seconds": 3.5}
    info["environment"] = {"machine": machine, "worker": worker, "software": {"variables": {}}, "load": {"a": None}}
    info["resolved"] = SUITE
    (path / "run.json").write_text(json.dumps(info))
    profiles = [profile(case=case.key, causes=(cause(),)) for case in (*own, *references)]
    profiles[0] = replace(profiles[0], kernels=Kernels(3, {"products": 1e-5}), files={"trace": "t"})
    (path / "profiles.jsonl").write_text("".join(json.dumps(entry.to_json()) + "\n" for entry in profiles))
    return path


def _read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _files(path: Path) -> st.SearchStrategy[tuple[str, bytes]]:
    """A file of a run and its new content."""
    windows = sorted(path.glob("windows-*.jsonl"))
    return st.one_of(
        st.tuples(st.just("run.json"), document(json.loads((path / "run.json").read_text()))),
        *(st.tuples(st.just(name), lines(_read(path / name))) for name in ("measurements.jsonl", "profiles.jsonl")),
        *(st.tuples(st.just(file.name), lines(_read(file))) for file in windows[:2]),
        st.tuples(st.sampled_from(["windows-.jsonl", "windows-x.jsonl", "spoilt-x.jsonl"]), lines(_read(windows[0]))),
    )


def _with(path: Path, change: tuple[str, bytes], use: Callable[[Path], None]) -> None:
    """Call `use` with a copy of a run in which one file has another content."""
    name, content = change
    copy = path.with_name(f"{path.name}-copy")
    shutil.copytree(path, copy)
    try:
        (copy / name).write_bytes(content)
        use(copy)
    finally:
        shutil.rmtree(copy)


def run_folders() -> Target:
    """Run folders: read, summarize and print a run, make tables and a page, and read its state for `--resume`."""
    path, number = _run(_folder()), itertools.count()

    def use(run: Path) -> None:
        info, times = read_info(run), read(run)
        summary, profiles = summarize(times), read_profiles(run)
        read_state(run)
        if next(number) % RENDERED == 0:
            screens.of_run(summary, info)
            why.sections(times, profiles)
            html(run_page(summary, noise(times), info)).encode()

    return _files(path), lambda change: _with(path, change, use)


def compared_runs() -> Target:
    """Run folders: compare a run with a valid one and write the verdicts in all formats."""
    path = _run(_folder())

    base = read_stored(path)

    def use(run: Path) -> None:
        head = read_stored(run)
        settings = suites.check_settings(run, head.info.resolved)
        margins = suites.margins(settings, (measurement.case for measurement in head.measurements.values()))
        for comparison in (compare(base, head, margins), compare(head, base, dict.fromkeys(base.measurements, 0.02))):
            found = verdicts.of(comparison)
            texts = [found.json(), found.json_lines(), *outputs.annotations(found)]
            texts += [render(found) for render in (outputs.junit, outputs.markdown, screens.of_verdicts)]
            "\n".join(texts).encode()

    return _files(path), lambda change: _with(path, change, use)


def pytest_benchmark_files() -> Target:
    """Files of pytest-benchmark: read and summarize one, and compare it with a valid one in both directions."""
    right, file = (_folder() / name for name in ("right.json", "mine.json"))
    axes = small.case("gru").axes(), small.reference_case("gru").axes()
    cases = [
        saved_files.benchmark(name, [1.0, 1.1, 1.2], group="one", extra=extra | {"macs": 100})
        for name, extra in zip(("test_own", "test_layer"), axes, strict=True)
    ]
    plain = [saved_files.benchmark(name, [1.0, 1.1]) for name in ("test_a", "test_b")]
    trees = [saved_files.content(benchmarks) for benchmarks in (cases, plain, cases + plain)]
    saved_files.write(right, cases + plain)
    base = read_saved(right)

    def use(content: bytes) -> None:
        file.write_bytes(content)
        head = read_saved(file)
        benchmarks.section(head)
        for sides in ((base, head), (head, base)):
            outputs.markdown(verdicts.of(compare_saved(*sides, 0.02))).encode()

    return st.one_of(*map(document, trees)), use


TARGETS: dict[str, Callable[[], Target]] = {
    "suite files": suite_files,
    "--only expressions": only_expressions,
    "run folders": run_folders,
    "compared runs": compared_runs,
    "pytest-benchmark files": pytest_benchmark_files,
}
