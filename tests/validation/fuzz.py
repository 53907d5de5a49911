"""`python -m tests.validation fuzz`: files and texts from strangers are read, or refused with a message.

Each kind of input is tried in many processes, one after another, because hypothesis keeps what it has tried. A fault is
any exception but a UserError, or an input that takes longer than `MOST_SECONDS`.
"""

import atexit
import copy
import itertools
import json
import math
import multiprocessing
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from rnnbench.analysis.run_times import read
from rnnbench.analysis.stored import compare
from rnnbench.analysis.stored import read as read_stored
from rnnbench.analysis.summary import noise, summarize
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.start import read_state
from rnnbench.report import why
from rnnbench.report.page.page import html
from rnnbench.report.reports import run_page
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.store.folder import read_info, read_profiles
from rnnbench.store.profiles import Kernels
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from tests.doubles import screens, stored
from tests.doubles import workload as small
from tests.doubles.stored import ceiling as made_up_ceiling
from tests.profiling.profiles import cause, profile

Target = tuple[st.SearchStrategy[Any], Callable[[Any], None]]
INPUTS = 20_000  # of each kind
AT_ONCE = 1_000  # of one process
MOST_SECONDS = 10
RENDERED = 200  # one in so many runs becomes a page, which takes longest
# Texts that cause faults: terminal escapes, formulas, markup, paths, commands of GitHub, lone surrogates.
NASTY = (
    "",
    " ",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "=1+1",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "a\nb",
    "::error::x",
    "| x | y |",
    "\u202egnp.exe",
    "\ud800",
    "\x00",
    "$(reboot)",
    "{{ 7 * 7 }}",
    "nan",
    "x" * 3000,
)
NUMBERS = (0, -1, 1, 2**31, 2**64, 10**400, 0.0, -0.0, 1e-320, 1e18, 1e308, math.inf, -math.inf, math.nan)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(NASTY), st.integers(-9, 9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NASTY), inner, max_size=3),
    max_leaves=5,
)
DEEP = (b"[" * 100_000, b'{"a":' * 100_000, b"[[" * 50_000 + b"]]" * 50_000, b"1" * 10_000)
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
TERMS = ("cell=lstm", "cell=gru,vanilla", "hidden_size=64", "batch_size=1,32", "phase=training", "batch_size=7")
PARTS = (*["=", ",", "'", '"'], " ", "\\", "cell", "hidden_size", "dtype", "lstm", "64", "1", "float32", *NASTY)


@st.composite
def near(draw: st.DrawFn, tree: Any) -> Any:
    """Return a copy of a tree in which one to three values are replaced or left out."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        place, key = draw(st.sampled_from([*places(tree), ([None], 0)]))
        if draw(st.integers(0, 3)):
            place[key] = draw(VALUES)
        else:
            del place[key]
    return tree


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each dict or list of a tree with each of its keys or indices."""
    for key, value in [*(tree.items() if isinstance(tree, dict) else enumerate(tree))]:
        yield tree, key
        if isinstance(value, dict | list):
            yield from places(value)


@st.composite
def bent(draw: st.DrawFn, content: bytes) -> bytes:
    """Return bytes with some parts changed, cut out, doubled, or replaced by anything."""
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(content)))
        last = min(len(content), first + draw(st.integers(0, 30)))
        middle = draw(st.one_of(st.binary(max_size=8), st.just(b""), st.just(content[first:last] * 2)))
        content = content[:first] + middle + content[last:]
    return content


def text_of(records: Sequence[Any]) -> bytes:
    """Return records as JSON lines."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def document(tree: Any) -> st.SearchStrategy[bytes]:
    """Return a document that another program wrote: nearly right, bent, or anything else."""
    nearly = near(tree).map(lambda changed: text_of([changed]))
    return st.one_of(nearly, nearly, bent(text_of([tree])), st.binary(max_size=200), st.sampled_from(DEEP))


def torn(records: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Return lines that rnnbench wrote, as crashes and copies leave them: some lost, doubled or moved, the last cut."""
    whole_lines = st.lists(st.sampled_from(records), max_size=2 * len(records)).map(text_of)
    return st.tuples(st.one_of(whole_lines, st.just(text_of(records))), st.integers(0, 60)).map(
        lambda pair: pair[0][: len(pair[0]) - pair[1]]
    )


def toml(value: Any) -> str:
    """Return a value as TOML; one without a TOML form is written as something similar."""
    match value:
        case dict():
            return f"{{{', '.join(f'{json.dumps(key)} = {toml(item)}' for key, item in value.items())}}}"
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case None | bool() | str():
            return json.dumps(value)
    return repr(value)


def _folder() -> Path:
    """Return a temporary folder of this process, in memory if possible."""
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
        groups = chosen.groups({}, None)
        suites.margins(chosen.check, [case for group in groups for case in group.cases])

    def text(tree: Any) -> bytes:
        pairs = tree.items() if isinstance(tree, dict) else ()
        return "".join(f"{json.dumps(key)} = {toml(item)}\n" for key, item in pairs).encode("utf-8", "surrogatepass")

    deep = st.sampled_from(DEEP).map(lambda value: b"name = " + value)
    return st.one_of(
        near(SUITE).map(text), near(SUITE).map(text), bent(text(SUITE)), st.binary(max_size=200), deep
    ), use


def only_expressions() -> Target:
    """`--only` expressions, with a valid suite."""
    suite = suites.read("quick")

    def use(text: str) -> None:
        suite.groups(parse_only([text]), None)

    parts = st.lists(st.sampled_from(PARTS), max_size=9).map("".join)
    terms = st.lists(st.sampled_from(TERMS), max_size=4).map(" ".join)
    return st.one_of(parts, terms, st.text(max_size=40)), use


def _run(parent: Path) -> Path:
    """A small run of two groups with everything that a run can have, profiles included."""
    cases = [small.case("gru", batch_size=size) for size in (1, 2)]
    times = {case: [[0.002, 0.003], [0.0021, 0.0022], [0.002, 0.0025]] for case in cases}
    references = {small.reference_case("gru", batch_size=size): [[0.001, 0.0011]] * 3 for size in (1, 2)}
    path = stored.folder(parent, times | references)
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
    profiles = [profile(case=case.key, causes=(cause(),)) for case in (*times, *references)]
    profiles[0] = replace(profiles[0], kernels=Kernels(3, {"products": 1e-5}), files={"trace": "t"})
    (path / "profiles.jsonl").write_text("".join(json.dumps(entry.to_json()) + "\n" for entry in profiles))
    return path


def run_folders() -> Target:
    """Run folders: read one, make its page, its state for `--resume`, and a comparison with a valid run."""
    path, number = _run(_folder()), itertools.count()
    base = read_stored(path)

    def use(change: tuple[str, bytes]) -> None:
        name, content = change
        run = path.with_name(f"{path.name}-copy")
        shutil.copytree(path, run, dirs_exist_ok=True)
        (run / name).write_bytes(content)
        info, times = read_info(run), read(run)
        summary, profiles = summarize(times), read_profiles(run)
        read_state(run)
        head = read_stored(run)
        margins = dict.fromkeys([*base.measurements, *head.measurements], 0.02)
        for sides in ((base, head), (head, base)):
            result = verdicts.of(compare(*sides, margins))
            "\n".join([result.json(), outputs.junit(result), outputs.markdown(result)]).encode()
        if next(number) % RENDERED == 0:
            screens.of_run(summary, info)
            why.sections(times, profiles)
            html(run_page(summary, noise(times), info)).encode()

    files = [file for file in path.iterdir() if file.suffix in (".json", ".jsonl")]
    contents = {file.name: [json.loads(line) for line in file.read_text().splitlines()] for file in files}
    return st.one_of(*(st.tuples(st.just(name), torn(records)) for name, records in contents.items())), use


TARGETS: dict[str, Callable[[], Target]] = {
    "suite files": suite_files,
    "--only expressions": only_expressions,
    "run folders": run_folders,
}


def fuzz(share: float = 1.0, only: str = "") -> pd.DataFrame:
    """Return a row for each kind of input; `share`: part of the full number of inputs."""
    inputs, rows = max(1, round(INPUTS * share)), []
    for name in (name for name in TARGETS if only in name):
        shards = [(name, min(AT_ONCE, inputs - first), first) for first in range(0, inputs, AT_ONCE)]
        with multiprocessing.get_context("spawn").Pool(None, maxtasksperchild=1) as pool:
            results = pd.DataFrame(pool.starmap(try_inputs, shards, chunksize=1))
        faults = {place: value for shard in results.pop("faults") for place, value in shard.items()}
        what = "; ".join(f"{place}: {value[:300]}" for place, value in faults.items())
        counts = results[["tried", "read", "refused in words"]].sum()
        longest = results["longest (s)"].max()
        rows.append({"input": name, **counts, "faults": len(faults), "longest (s)": longest, "what": what})
    return pd.DataFrame(rows)


def try_inputs(name: str, inputs: int, number: int) -> dict[str, Any]:
    """Try inputs; `faults`: each place in the code that raised anything but UserError, with its shortest input."""
    warnings.simplefilter("error")
    strategy, use = TARGETS[name]()
    counts = Counter[str]()
    longest, faults = 0.0, dict[str, str]()

    @seed(number)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy.map(lambda value: lambda: value))
    def try_input(value: Callable[[], Any]) -> None:  # hypothesis prints values, and some are long
        nonlocal longest
        started, fault = time.process_time(), ""
        counts["tried"] += 1
        try:
            use(value())
            counts["read"] += 1
        except UserError as refused:
            counts["refused in words"] += 1
            fault = "" if str(refused).strip() else "refused without a word"
        except Exception as error:  # any other exception is a fault
            at = [frame for frame in traceback.extract_tb(error.__traceback__) if "/rnnbench/" in frame.filename][-1:]
            where = "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in at)
            fault = f"{type(error).__name__}: {ascii(str(error))[:200]}{where}"
        longest = max(longest, time.process_time() - started)
        if fault := fault or (f"more than {MOST_SECONDS} s" if time.process_time() - started > MOST_SECONDS else ""):
            faults[fault] = min(faults.get(fault, ascii(value())), ascii(value()), key=len)

    try_input()
    return {**counts, "longest (s)": longest, "faults": faults}
