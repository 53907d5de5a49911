"""Cases of the suite `quick` as plain calls, for other tools."""

from collections.abc import Callable
from pathlib import Path

import torch

from rnnbench import suites
from rnnbench.expressions import parse_only
from rnnbench.store.records import Case
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import build

TWELVE = [
    "cell=vanilla,lstm,gru implementation=loop phase=inference,training seq_len=16 hidden_size=64 batch_size=1,32"
]


def chosen() -> list[Case]:
    """Twelve hand-written cases spread over cells, phases and batch sizes."""
    groups = suites.read("quick").groups(parse_only(TWELVE), None, most=None)
    return [case for group in groups for case in group.cases if not case.is_reference]


def pairs() -> list[tuple[Case, Case]]:
    """Four hand-written cases with their torch.nn reference."""
    only = parse_only(["cell=vanilla,lstm implementation=loop seq_len=16 hidden_size=64 batch_size=32"])
    groups = suites.read("quick").groups(only, None, most=None)
    return [
        (next(case for case in group.cases if not case.is_reference), next(c for c in group.cases if c.is_reference))
        for group in groups
    ]


def timed(case: Case) -> TimedCall:
    """The call that rnnbench would time, on one thread."""
    torch.set_num_threads(1)
    return build(case, Path()).timed_call()


def bare(case: Case) -> Callable[[], object]:
    """The same call as a function that sets its own autograd mode, for tools that set none."""
    call = timed(case)

    def run() -> object:
        with call.mode():
            return call.call()

    return run
