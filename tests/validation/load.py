"""`python -m tests.validation load`: is a large run's memory constant, and do workers leave things behind?"""

import gc
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from rnnbench.harness.turns.progress import Progress
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group
from rnnbench.suite_file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import FakeClock, FakeWorker, run_into

CASES = 20_000
REPLICATES = 12
FRESH = 500  # real workers, one after another
Counts = Mapping[str, float]


def load() -> pd.DataFrame:
    """A row for each checkpoint of a run of many cases with fake workers, and of a run with many real workers."""
    return pd.DataFrame([*_of(f"{CASES:,} cases", pretended(CASES)), *_of("real workers", real(FRESH))])


def _of(kind: str, checkpoints: Iterator[Counts]) -> Iterator[dict[str, Any]]:
    for counts in checkpoints:
        row = {"run": kind, **counts}
        print(row, flush=True)
        yield row


def pretended(cases: int, replicates: int = REPLICATES) -> Iterator[Counts]:
    """The coordinator's resources after each replicate of a run with fake workers, which answer at once."""
    groups = [
        Group(
            small.workload(batch_size=size),
            (small.case("vanilla", batch_size=size), small.reference_case(batch_size=size)),
        )
        for size in range(1, cases // 2 + 1)
    ]
    settings = Settings(replicates=replicates, max_replicates=replicates, windows=2, precision=None)
    yield from _checkpoints(groups, settings, pretend=True)


def real(replicates: int) -> Iterator[Counts]:
    """The coordinator's resources in a run of one small group with real workers, after each twentieth of them."""
    case, reference = small.case("vanilla", dtype="float32"), small.reference_case(dtype="float32")
    group = Group(case.workload, (case, reference))
    settings = Settings(
        replicates=replicates, max_replicates=replicates, windows=2, window_seconds=0.001, precision=None
    )
    yield from _checkpoints([group], settings, pretend=False, every=max(1, replicates // 20))


def _checkpoints(groups: list[Group], settings: Settings, *, pretend: bool, every: int = 1) -> Iterator[Counts]:
    clock, rng, counts, began = FakeClock(), random.Random(0), list[Counts](), time.monotonic()
    last = 0

    def start(name: str) -> Any:
        return FakeWorker(name, clock, lambda message: None, lambda key: rng.uniform(0.01, 0.011))

    def look(step: Progress) -> None:
        nonlocal last
        if step.replicate > last and (step.replicate - 1) % every == 0 and step.replicate > 1:
            last = step.replicate
            counts.append({"replicates": step.replicate - 1, **resources(began)})

    options: dict[str, Any] = {"start_worker": start, "now": clock} if pretend else {}
    with tempfile.TemporaryDirectory(prefix="rnnbench-load-") as folder:
        run = RunFolder.create(Path(folder), "load")
        try:
            runner = run_into(run, groups, settings, on_progress=look, seed=1, **options)
            counts.append({"replicates": runner.replicates, **resources(began)})
        finally:
            run.close()
    yield from counts


def resources(began: float) -> Counts:
    """The resources that this process holds now."""
    gc.collect()
    process = psutil.Process()
    return {
        "resident (MB)": process.memory_info().rss / 1e6,
        "open files": process.num_fds(),
        "threads": threading.active_count(),
        "children": len(process.children(recursive=True)),
        "seconds": time.monotonic() - began,
    }
