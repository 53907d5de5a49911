"""Loading as a case: a call is one epoch, both ways are compared, and metrics that make no sense are missing."""

from typing import Any

import pytest
import torch

from rnnbench.store.metrics import METRICS
from rnnbench.store.records import DATA_SETS, Case
from rnnbench.workloads import loading
from rnnbench.workloads.data import Batches
from rnnbench.workloads.referee import ParityError
from tests.doubles import workload as small
from tests.workloads.test_data import forks


def case(implementation: Any = "vectorised", cell: Any = "windows", **changes: Any) -> Case:
    sizes = {"phase": "loading", "samples": 10, "batch_size": 4, "dtype": "float32"}
    return Case(cell, implementation, small.workload(reference=cell, **sizes | changes))


@pytest.mark.parametrize("cell", DATA_SETS)
@pytest.mark.parametrize("implementation", ["per_item", "vectorised"])
def test_one_call_draws_every_sample_once(cell: str, implementation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = loading.build(case(implementation, cell))
    drawn = []
    monkeypatch.setattr(torch.Tensor, "sum", lambda inputs: drawn.append(tuple(inputs.shape)))
    built.timed_call().call()
    assert drawn == [(4, 4, 5), (4, 4, 5), (4, 2, 5)]


@pytest.mark.parametrize("cell", DATA_SETS)
def test_both_ways_agree(cell: str) -> None:
    assert loading.build(case("per_item", cell)).observe().parity == "is the reference"
    assert loading.build(case("vectorised", cell)).observe().parity == "agrees"


def test_a_way_that_gives_other_batches_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    built = loading.build(case())
    batch = Batches.__getitem__
    monkeypatch.setattr(Batches, "__getitem__", lambda batches, indices: batch(batches, indices[::-1].copy()))
    with pytest.raises(ParityError, match="batch 0 is not the one that comes item by item"):
        built.observe()


@forks
@pytest.mark.parametrize("workers", [0, 1])
def test_what_loading_has_not_is_missing_with_a_reason(workers: int) -> None:
    measurement = loading.build(case("per_item", workers=workers)).observe()
    by_others = {"energy", "instructions", "compiled"} | (
        {"device"} if workers == 0 else set()
    )  # other probes measure these
    observed = {metric.name for metric in METRICS if metric.probe and metric.probe not in by_others}
    assert measurement.metrics.keys() | measurement.missing.keys() == observed
    assert measurement.missing["parameters"] == "loading has no model"
    assert measurement.missing["macs"] == ("other processes load" if workers else "loading multiplies nothing")
    assert ("operators" in measurement.metrics) == (workers == 0)
