"""How long ONNX Runtime and OpenVINO take over a grid of sizes, beside torch.nn's layer and the way `fused`.

All run the same weights in inference, with as many threads as torch, and are called in blocks that take turns in random
order. A column is the median of the ratios of adjacent blocks to the module as given, and `minimum` of a way that of
the shortest blocks, which nothing has disturbed. `error` is the largest relative error of the outputs and final states.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import product
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.errors import UserError
from rnnbench.speedup.agreement import RunSubject, why_not
from rnnbench.speedup.peers.comparing import PEER_ROWS, called
from rnnbench.speedup.search import recognised
from rnnbench.text import listed
from tests.validation.fastest_grid import Place

INPUT = 64
BLOCK_SECONDS, BLOCKS, LEAST_BLOCKS, MOST_SECONDS = 0.003, 60, 8, 1.5
PACKAGES = ("onnx", "onnxruntime", "openvino")
PLACES = tuple(
    Place(kind, hidden, batch, length, threads, "inference")
    for kind, hidden, batch, length, threads in product(
        ("LSTM", "GRU"), (64, 256, 512), (1, 8, 32), (16, 64, 256), (1, 2)
    )
)
Call = Callable[[], object]


def peers(share: float = 1.0, places: Sequence[Place] = PLACES, blocks: int = BLOCKS) -> pd.DataFrame:
    """Return a row for each place of a share of the grid. Needs the packages of the extra `peers`."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"fastest-peers needs {listed(missing)}: pip install {' '.join(missing)}")
    chosen = random.Random(0).sample(places, max(1, round(share * len(places))))
    threads = torch.get_num_threads()
    try:
        return pd.DataFrame(_rows([place for place in places if place in chosen], blocks))
    finally:
        torch.set_num_threads(threads)


def _rows(places: Sequence[Place], blocks: int) -> Iterator[dict[str, object]]:
    for place in places:
        torch.set_num_threads(place.threads)
        module = place.build()
        input = torch.randn(place.length, place.batch, INPUT)
        with torch.inference_mode():
            runs, facts = _runs(module, input, place)
            seconds = _clocked(runs, blocks)
        given = seconds.pop("as given")
        row: dict[str, object] = {
            "module": place.kind,
            "hidden": place.hidden,
            "batch": place.batch,
            "length": place.length,
            "threads": place.threads,
            "as given (us)": 1e6 * median(given),
        }
        for name, times in seconds.items():
            row[name] = median(mine / theirs for mine, theirs in zip(times, given, strict=True))
            row[f"{name}, minimum"] = min(times) / min(given)
        yield row | facts


def _runs(module: nn.Module, input: Tensor, place: Place) -> tuple[dict[str, Call], dict[str, object]]:
    """Return the calls that take turns, and what each conversion took and how far its results are off."""
    runs: dict[str, Call] = {"as given": lambda: module(input)}
    facts: dict[str, object] = {}
    steps, batch, features = input.shape
    sizes = {"seq_len": steps, "batch_size": batch, "input_size": features, "threads": place.threads}
    row = {**sizes, "dtype": "float32", "device": "cpu", "phase": "inference", "way": "fused"}
    fused = rnnbench.fastest(module, input, ways=[row])
    runs["fused"] = lambda: fused(input)
    run, steps_first, _ = recognised(module, input)
    subject = RunSubject(run, steps_first, run.first_state(steps_first), (input,), "inference")
    for peer in PEER_ROWS:
        if not peer.is_compiled:
            session = subject.sessions[peer.name] = peer.open(subject)
            if reason := why_not(subject, peer.name):
                raise RuntimeError(f"{peer.name}: {reason}")
            facts[f"{peer.name}, error"] = subject.errors[peer.name]
            runs[peer.name] = lambda session=session: called(run, session, input)  # type: ignore[misc]
    return runs, facts


def _clocked(runs: dict[str, Call], blocks: int) -> dict[str, list[float]]:
    """Return seconds per call of each, for each block."""
    calls = {name: max(1, round(BLOCK_SECONDS / min(_block(run, 2) for _ in range(2)))) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    begun = time.perf_counter()
    for number in range(blocks):
        if number >= LEAST_BLOCKS and time.perf_counter() - begun > MOST_SECONDS * len(runs):
            break
        for name in order.sample([*runs], len(runs)):
            runs[name]()  # the first call after a switch is slower
            seconds[name].append(_block(runs[name], calls[name]))
    return seconds


def _block(run: Call, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the median ratio of each way and peer, by module, hidden size and number of threads."""
    ways: list[Any] = [name for name in ("fused", "onnxruntime", "openvino") if name in table]
    return table.groupby(["module", "hidden", "threads"], sort=False)[ways].median().reset_index()
