"""The planted cases for other tools; `$PLANTED` is the folder of `planted.toml`."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from rnnbench import suites
from rnnbench.store.records import Case
from rnnbench.workloads.prepare import build

ROOT = Path(os.environ.get("PLANTED", Path(__file__).with_name("planted")))


def cases() -> dict[str, Case]:
    """The 24 cases by their names in the tables."""
    groups = suites.read(str(ROOT / "planted.toml")).groups({}, None, most=None)
    own = [case for group in groups for case in group.cases if not case.is_reference]
    return {
        f"{case.cell.rpartition(':')[2]} {case.workload.phase} batch {case.workload.batch_size}": case for case in own
    }


def bare(name: str) -> Callable[[], object]:
    """A case's call on one thread, which sets its own autograd mode."""
    torch.set_num_threads(1)
    timed = build(cases()[name], ROOT).timed_call()

    def run() -> object:
        with timed.mode():
            return timed.call()

    return run
