"""The data sets: the tutorial notebook's values, and any length and stride.

Both ways to load give the same batches, in loader processes too, and those end when nobody needs them.

Training from a loader, end to end.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from torch import Tensor

from rnnbench.store.records import DATA_SETS, Case, DataSet, Workload
from rnnbench.workloads.data import Batched, Example, LoadingWay, RegularDataset, WindowDataset, loader, make
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.doubles.errors import told

SAMPLES = torch.tensor([[1.1, 2.1], [2.5, 3.5], [0.5, 1.5]])
SERIES = torch.tensor([[1.0, 0.0], [0.5, 1.5], [1.0, 2.0], [2.0, 1.0], [1.5, 0.5], [2.5, 1.5]])


def regular() -> RegularDataset:
    return RegularDataset(SAMPLES, torch.tensor([0, 1, 0]))


def without_overlap() -> WindowDataset:
    return WindowDataset(SERIES, torch.tensor([0, 1]), length=3, stride=3)


def with_overlap() -> WindowDataset:
    return WindowDataset(SERIES[:5], torch.tensor([0, 1, 0]), length=3, stride=1)


NOTEBOOK = [
    pytest.param(regular(), [([1.1, 2.1], 0), ([2.5, 3.5], 1), ([0.5, 1.5], 0)], id="regular"),
    pytest.param(
        without_overlap(),
        [([[1.0, 0.0], [0.5, 1.5], [1.0, 2.0]], 0), ([[2.0, 1.0], [1.5, 0.5], [2.5, 1.5]], 1)],
        id="without overlap",
    ),
    pytest.param(
        with_overlap(),
        [
            ([[1.0, 0.0], [0.5, 1.5], [1.0, 2.0]], 0),
            ([[0.5, 1.5], [1.0, 2.0], [2.0, 1.0]], 1),
            ([[1.0, 2.0], [2.0, 1.0], [1.5, 0.5]], 0),
        ],
        id="with overlap",
    ),
]


@pytest.mark.parametrize(("dataset", "items"), NOTEBOOK)
def test_the_notebooks_values_are_its_items(dataset, items) -> None:
    assert len(dataset) == len(items)
    for (values, label), (input, target) in zip(items, dataset, strict=True):
        assert torch.equal(input, torch.tensor(values))
        assert target == label


@pytest.mark.parametrize("dataset", [regular(), without_overlap(), with_overlap()])
def test_items_are_counted_from_both_ends_and_end_there(dataset) -> None:
    last = len(dataset) - 1
    for from_end, from_start in zip(dataset[-1], dataset[last], strict=True):
        assert torch.equal(from_end, from_start)
    for outside in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError):
            dataset[outside]


@st.composite
def windowed(draw: st.DrawFn) -> tuple[Tensor, int, int]:
    """A series of numbers or of vectors, a length that fits it, and any stride."""
    length, stride = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    steps = draw(st.integers(length, 30))
    shape = draw(st.sampled_from([(steps,), (steps, 1), (steps, 3)]))
    return torch.rand(shape), length, stride


@given(windowed())
def test_windows_are_the_slices_a_stride_apart_that_fit_and_share_the_series_memory(given) -> None:
    series, length, stride = given
    slices = [series[start : start + length] for start in range(0, len(series) - length + 1, stride)]
    dataset = WindowDataset(series, torch.arange(len(slices)), length, stride)
    assert len(dataset) == len(slices)
    for number, (window, (input, target)) in enumerate(
        zip(slices, (dataset[i] for i in range(len(dataset))), strict=True)
    ):
        assert torch.equal(input, window)
        assert target == number
        assert input.untyped_storage().data_ptr() == series.untyped_storage().data_ptr()
    assert dataset.windows.untyped_storage().data_ptr() == series.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    ("steps", "targets", "length", "stride"),
    [
        (2, 0, 3, 1),
        (5, 2, 3, 1),
        (5, 2, 3, 3),
        (5, 3, 3, 0),
        (5, 3, 3, -1),
        (5, 3, 0, 1),
    ],
)
def test_what_makes_no_windows_is_told(
    steps: int, targets: int, length: int, stride: int, snapshot: SnapshotAssertion
) -> None:
    assert told(lambda: WindowDataset(torch.zeros(steps, 2), torch.zeros(targets), length, stride)) == snapshot


def test_samples_want_a_target_each() -> None:
    with pytest.raises(ValueError, match="3 inputs and 2 targets"):
        RegularDataset(SAMPLES, torch.tensor([0, 1]))


def load(**changes: int) -> Workload:
    return small.workload(
        **{"phase": "loading", "samples": 7, "seq_len": 4, "input_size": 5, "output_size": 2} | changes
    )


@pytest.mark.parametrize("name", DATA_SETS)
@pytest.mark.parametrize("samples", [1, 7])
def test_a_data_set_has_as_many_samples_as_asked_for_with_a_target_for_each_step(name: DataSet, samples: int) -> None:
    dataset = make(name, load(samples=samples), torch.float64)
    assert len(dataset) == samples
    input, target = dataset[samples - 1]
    assert (input.shape, target.shape) == ((4, 5), (4, 2))
    assert input.dtype == target.dtype == torch.float64


# Python 3.12 and later warn of forking beside threads. torch starts threads before it forks its loaders.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@st.composite
def datasets(draw: st.DrawFn) -> Batched:
    length, stride, items = draw(st.integers(1, 5)), draw(st.integers(1, 7)), draw(st.integers(1, 20))
    targets = torch.rand(items, *draw(st.sampled_from([(), (2,), (length, 2)])))
    if draw(st.booleans()):
        return RegularDataset(torch.rand(items, *draw(st.sampled_from([(3,), (length, 3)]))), targets)
    return WindowDataset(torch.rand((items - 1) * stride + length, 3), targets, length, stride)


def epochs(
    dataset: Batched, implementation: LoadingWay, batch_size: int, seed: int | None, workers: int = 0
) -> list[Example]:
    """The batches of two epochs."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = loader(dataset, implementation, batch_size, workers, generator=generator)
    return [(inputs, targets) for _ in range(2) for inputs, targets in batches][: 2 * len(batches)]


def is_equal(first: list[Example], second: list[Example]) -> bool:
    parts: list[tuple[Tensor, Tensor]] = [
        pair for batches in zip(first, second, strict=True) for pair in zip(*batches, strict=True)
    ]
    return all(torch.equal(*pair) for pair in parts)


@given(datasets(), st.integers(1, 9), st.none() | st.integers(0, 100))
def test_both_ways_give_the_same_batches_in_the_same_order(dataset: Batched, batch_size: int, seed: int | None) -> None:
    count = -(-len(dataset) // batch_size)
    per_item, vectorised = (
        epochs(dataset, implementation, batch_size, seed)[:count] for implementation in ("per_item", "vectorised")
    )
    assert is_equal(per_item, vectorised)
    seen = torch.cat([targets if targets.dim() < 3 else targets.transpose(0, 1) for _, targets in per_item])
    assert sorted(seen.flatten().tolist()) == sorted(dataset.batch(torch.arange(len(dataset)))[1].flatten().tolist())


def eight_windows() -> WindowDataset:
    return WindowDataset(torch.arange(40.0).reshape(20, 2), torch.arange(144.0).reshape(8, 6, 3), 6, 2)


@pytest.mark.parametrize("implementation", ["per_item", "vectorised"])
def test_steps_come_first_then_the_batch(implementation: LoadingWay) -> None:
    dataset = eight_windows()
    shapes = [(tuple(inputs.shape), tuple(targets.shape)) for inputs, targets in loader(dataset, implementation, 3)]
    assert shapes == [((6, 3, 2), (6, 3, 3)), ((6, 3, 2), (6, 3, 3)), ((6, 2, 2), (6, 2, 3))]
    inputs, _ = next(iter(loader(dataset, implementation, 3)))
    assert torch.equal(inputs[:, 1], dataset[1][0])


@pytest.mark.parametrize("implementation", ["per_item", "vectorised"])
def test_every_epoch_is_shuffled_anew(implementation: LoadingWay) -> None:
    first, second = epochs(eight_windows(), implementation, 8, seed=1)
    assert not torch.equal(first[0], second[0])


@forks
@pytest.mark.parametrize("implementation", ["per_item", "vectorised"])
def test_batches_that_other_processes_load_are_the_same(implementation: LoadingWay) -> None:
    assert is_equal(
        epochs(eight_windows(), implementation, 3, seed=1, workers=1),
        epochs(eight_windows(), implementation, 3, seed=1),
    )


@forks
def test_loading_processes_last_from_epoch_to_epoch_and_end_with_the_loader() -> None:
    batches = loader(eight_windows(), "vectorised", 3, workers=2)
    before = set(psutil.Process().children())
    list(batches)
    loading = set(psutil.Process().children()) - before
    assert len(loading) == 2
    list(batches)
    assert set(psutil.Process().children()) - before == loading
    del batches
    gone, alive = psutil.wait_procs(loading, timeout=5)
    assert len(gone) == 2, alive


FEEDS = """
import sys, time, torch
from rnnbench.workloads.data import RegularDataset
from rnnbench.workloads.data import loader

class Slow(RegularDataset):
    def __getitem__(self, index):
        time.sleep(60)

batches = iter(loader(Slow(torch.zeros(4, 2), torch.zeros(4)), "per_item", 1, workers=2))
print("started", flush=True)
next(batches)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they end after 5 s, when torch looks for their parent")
def test_loading_processes_end_at_once_when_the_process_that_they_feed_is_killed() -> None:
    feeding = subprocess.Popen(
        [sys.executable, "-c", FEEDS], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    with feeding:
        assert feeding.stdout is not None
        assert feeding.stdout.readline() == "started\n"
        loading = psutil.Process(feeding.pid).children()
        assert len(loading) == 2
        time.sleep(0.5)  # until they have begun
        os.kill(feeding.pid, signal.SIGKILL)
        gone, alive = psutil.wait_procs(loading, timeout=3)
    for process in alive:
        process.kill()
    assert len(gone) == 2


ROOT = Path()
EPOCH: dict[str, Any] = {"phase": "epoch", "samples": 7, "batch_size": 3}


@pytest.mark.parametrize("cell", ["gru", "lstm", "deep"])
def test_an_epoch_with_a_last_batch_that_is_smaller_changes_no_weight_and_leaves_gradients(cell: str) -> None:
    built = build(small.case(cell, **EPOCH), ROOT)
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
    assert epoch.parity == ("is the reference" if case.is_reference else "agrees")
    assert epoch.metrics["macs"] == step.metrics["macs"]
    assert epoch.metrics["operators"] > 2 * step.metrics["operators"]
    assert epoch.metrics["parameters"] == step.metrics["parameters"]
