"""`python -m tests.validation rotating-inputs`: what it costs a call that its inputs take turns.

The same model is called with a fixed input and with inputs that take turns, in short blocks, pair by pair (ABBA), so
that both see the same machine. Honest cells read an input once in a call, so they should hardly notice.
"""

import math
import random
import time

import numpy as np
import pandas as pd
import torch

from rnnbench import suites
from rnnbench.analysis.estimate import Estimate, as_ratio, signed_rank_interval
from rnnbench.expressions import parse_only
from rnnbench.store.records import Case
from rnnbench.workloads.inputs import fixed, in_turn
from rnnbench.workloads.phases import TimedCall, timed_call
from rnnbench.workloads.prepare import build
from tests.validation.cases import TWELVE

BLOCK_SECONDS = 1e-3
CASE_SECONDS = 12.0
MAX_STRETCHES = 400


def rotating(seconds: float = CASE_SECONDS) -> pd.DataFrame:
    """A row for each of twelve cases of `quick` and their references: the time with turns over that without."""
    torch.set_num_threads(1)
    suite = suites.read("quick")
    rows = []
    for case in [case for group in suite.groups(parse_only(TWELVE), None, most=None) for case in group.cases]:
        ratio, pairs = _ratio(case, seconds)
        workload = case.workload
        rows.append(
            {
                "cell": case.cell,
                "implementation": case.implementation,
                "phase": workload.phase,
                "batch_size": workload.batch_size,
                "pairs": pairs,
                "ratio": ratio.value,
                "lower": ratio.lower,
                "upper": ratio.upper,
            }
        )
    return pd.DataFrame(rows)


def _ratio(case: Case, seconds: float) -> tuple[Estimate, int]:
    built = build(case, suites.read("quick").file.parent)
    calls = [
        timed_call(case.workload.phase, built.runner(), inputs.tensors, built.state, built.output_shape)
        for inputs in (in_turn(built.input), fixed(built.input))
    ]
    rng, logs = random.Random(0), []
    with calls[0].mode():
        for call in calls:
            for _ in range(20):
                call.call()
        number = max(1, round(BLOCK_SECONDS / min(_seconds(calls[0], 1) for _ in range(9))))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            order = rng.choice(((0, 1, 1, 0), (1, 0, 0, 1)))
            times = [_seconds(calls[index], number) for index in order]
            logs.append(
                sum(math.log(took) * (1 if index == 0 else -1) for index, took in zip(order, times, strict=True))
            )
    halves = np.array(logs) / 2  # ABBA has two times of each kind
    # Medians of stretches of time, since neighbours depend on each other.
    stretches = np.array_split(halves, min(len(halves), MAX_STRETCHES))
    medians = [float(np.median(stretch)) for stretch in stretches]
    return as_ratio(signed_rank_interval(medians)), len(halves)


def _seconds(timed: TimedCall, number: int) -> float:
    started = time.perf_counter()
    for _ in range(number):
        timed.call()
    return time.perf_counter() - started
