"""The data sets, both ways to load them, in loader processes too, and training from a loader, end to end."""

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnbench.store.metrics import METRICS
from rnnbench.store.records import DATA_SETS, Case
from rnnbench.workloads.data import Batches, Epochs, Example, Samples, build_loading, windows
from rnnbench.workloads.observe import observe, observe_loading
from rnnbench.workloads.parity import ParityError
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small

ROOT = Path()
SERIES = torch.tensor([[1.0, 0.0], [0.5, 1.5], [1.0, 2.0], [2.0, 1.0], [1.5, 0.5], [2.5, 1.5]])


@pytest.mark.parametrize(
    ("series", "stride", "items"),
    [
        (SERIES, 3, [[[1.0, 0.0], [0.5, 1.5], [1.0, 2.0]], [[2.0, 1.0], [1.5, 0.5], [2.5, 1.5]]]),
        (
            SERIES[:5],
            1,
            [
                [[1.0, 0.0], [0.5, 1.5], [1.0, 2.0]],
                [[0.5, 1.5], [1.0, 2.0], [2.0, 1.0]],
                [[1.0, 2.0], [2.0, 1.0], [1.5, 0.5]],
            ],
        ),
    ],
    ids=["without overlap", "overlapping"],
)
def test_the_windows_of_the_tutorials_series_are_its_items(series: Tensor, stride: int, items: Any) -> None:
    labels = torch.arange(len(items))
    dataset = Samples(windows(series, 3, stride), labels)
    assert len(dataset) == len(items)
    for index, item in enumerate(items):
        assert dataset[index][0].tolist() == item
        assert dataset[index][1] == index
    with pytest.raises(IndexError):
        dataset[len(items)]


# Python 3.12 and later warn of forking beside threads. torch starts threads before it forks its loaders.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
both_ways = pytest.mark.parametrize("way", ["per_item", "vectorised"])


@st.composite
def datasets(draw: st.DrawFn) -> Samples:
    length, stride, items = draw(st.integers(1, 5)), draw(st.integers(1, 7)), draw(st.integers(1, 20))
    targets = torch.rand(items, length, 2)
    if draw(st.booleans()):
        return Samples(torch.rand(items, length, 3), targets)
    return Samples(windows(torch.rand((items - 1) * stride + length, 3), length, stride), targets)


def epochs(dataset: Samples, way: Any, batch_size: int, workers: int = 0) -> list[Example]:
    """The batches of two epochs."""
    epoch = Epochs(dataset, way, small.workload(batch_size=batch_size, workers=workers))
    return [*epoch, *epoch]


def is_equal(first: list[Example], second: list[Example]) -> bool:
    pairs = (pair for batches in zip(first, second, strict=True) for pair in zip(*batches, strict=True))
    return all(torch.equal(*pair) for pair in pairs)


@given(datasets(), st.integers(1, 9))
def test_both_ways_give_the_same_batches_in_the_same_order(dataset: Samples, batch_size: int) -> None:
    count = -(-len(dataset) // batch_size)  # later epochs are shuffled by other draws
    per_item, vectorised = (epochs(dataset, way, batch_size)[:count] for way in ("per_item", "vectorised"))
    assert is_equal(per_item, vectorised)
    seen = torch.cat([targets.flatten() for _, targets in per_item])
    assert sorted(seen.tolist()) == sorted(dataset.tensors[1].flatten().tolist())


def eight_windows() -> Samples:
    return Samples(windows(torch.arange(40.0).reshape(20, 2), 6, 2), torch.arange(144.0).reshape(8, 6, 3))


@both_ways
def test_steps_come_first_then_the_batch_and_every_epoch_is_shuffled_anew(way: Any) -> None:
    dataset = eight_windows()
    batches = epochs(dataset, way, 3)
    shapes = [(tuple(inputs.shape), tuple(targets.shape)) for inputs, targets in batches[:3]]
    assert shapes == [((6, 3, 2), (6, 3, 3)), ((6, 3, 2), (6, 3, 3)), ((6, 2, 2), (6, 2, 3))]
    inputs, targets = batches[0]
    [item] = [item for item in range(8) if torch.equal(inputs[:, 1], dataset[item][0])]
    assert torch.equal(targets[:, 1], dataset[item][1])
    assert not is_equal(batches[:3], batches[3:])


@forks
@both_ways
def test_batches_that_other_processes_load_are_the_same(way: Any) -> None:
    assert is_equal(epochs(eight_windows(), way, 3, workers=1), epochs(eight_windows(), way, 3))


@forks
def test_loading_processes_last_from_epoch_to_epoch_and_end_with_the_loader() -> None:
    batches = Epochs(eight_windows(), "vectorised", small.workload(batch_size=3, workers=2))
    before = set(psutil.Process().children())
    list(batches)
    loading = set(psutil.Process().children()) - before
    assert len(loading) == 2
    list(batches)
    assert set(psutil.Process().children()) - before == loading
    batches.close()
    gone, alive = psutil.wait_procs(loading, timeout=60)
    assert len(gone) == 2, alive


EPOCH: dict[str, Any] = {"phase": "epoch", "samples": 7, "batch_size": 3}


@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("cell", ["gru", "lstm", "deep"])
def test_an_epoch_with_a_last_batch_that_is_smaller_changes_no_weight_and_leaves_gradients(
    cell: str, dtype: Any
) -> None:
    built = build(small.case(cell, **EPOCH, dtype=dtype), ROOT)
    for parameter in built.model.parameters():
        parameter.data.mul_(1e-3)  # so that gradients are zero in float16
    before = [parameter.detach().clone() for parameter in built.model.parameters()]
    timed = built.timed_call()
    with timed.mode():
        timed.call()
        timed.call()
    for old, parameter in zip(before, built.model.parameters(), strict=True):
        assert torch.equal(old, parameter)
        assert parameter.grad is not None


@pytest.mark.parametrize("case", [small.case("gru", **EPOCH), small.reference_case("lstm", **EPOCH, dtype="float32")])
def test_an_epoch_is_checked_and_counted_as_its_steps(case: Case) -> None:
    epoch = observe(build(case, ROOT))
    changes: dict[str, Any] = {"phase": "step", "samples": 0, "batch_size": 7}
    make = small.reference_case if case.is_reference else small.case
    name: Any = case.workload.reference if case.is_reference else case.cell
    step = observe(build(make(name, dtype=case.workload.dtype, **changes), ROOT))
    assert str(epoch.parity) == ("is the reference" if case.is_reference else "agrees")
    assert epoch.metrics["macs"] == step.metrics["macs"]
    assert epoch.metrics["operators"] > 2 * step.metrics["operators"]
    assert epoch.metrics["parameters"] == step.metrics["parameters"]


# The phase `loading`: a call is one epoch, both ways are compared, and what it has not is missing with a reason


def loading(implementation: Any = "vectorised", cell: Any = "windows", **changes: Any) -> Case:
    sizes = {"phase": "loading", "samples": 10, "batch_size": 4, "dtype": "float32"}
    return Case(cell, implementation, small.workload(reference=cell, **sizes | changes))


@pytest.mark.parametrize("cell", DATA_SETS)
@pytest.mark.parametrize(("implementation", "parity"), [("per_item", "is the reference"), ("vectorised", "agrees")])
def test_one_call_draws_every_sample_once_in_both_ways(
    cell: str, implementation: str, parity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, drawn = build_loading(loading(implementation, cell)), list[tuple[int, ...]]()
    assert str(observe_loading(built).parity) == parity
    monkeypatch.setattr(torch.Tensor, "sum", lambda inputs: drawn.append(tuple(inputs.shape)))
    built.timed_call().call()
    assert drawn == [(4, 4, 5), (4, 4, 5), (4, 2, 5)]


def test_a_way_that_gives_other_batches_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build_loading(loading())
    batch = Batches.__getitem__
    monkeypatch.setattr(Batches, "__getitem__", lambda batches, indices: batch(batches, indices[::-1].copy()))
    with pytest.raises(ParityError, match="batch 0 is not the one that comes item by item"):
        observe_loading(built)


@forks
@pytest.mark.parametrize("workers", [0, 1])
def test_what_loading_has_not_is_missing_with_a_reason(workers: int) -> None:
    measurement = observe_loading(build_loading(loading("per_item", workers=workers)))
    by_others = {"energy", "instructions", "compiled"} | (
        {"device"} if workers == 0 else set()
    )  # other probes measure these
    observed = {metric.name for metric in METRICS if metric.probe and metric.probe not in by_others}
    assert measurement.metrics.keys() | measurement.missing.keys() == observed
    assert measurement.missing["parameters"] == "loading has no model"
    assert measurement.missing["macs"] == ("other processes load" if workers else "loading multiplies nothing")
    assert ("operators" in measurement.metrics) == (workers == 0)
