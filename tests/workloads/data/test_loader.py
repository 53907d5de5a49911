"""Both ways to load give the same batches, in loader processes too, and those end when nobody needs them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnbench.workloads.data.datasets import Batched, Example, RegularDataset, WindowDataset
from rnnbench.workloads.data.loader import LoadingWay, loader

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


def small() -> WindowDataset:
    return WindowDataset(torch.arange(40.0).reshape(20, 2), torch.arange(144.0).reshape(8, 6, 3), 6, 2)


@pytest.mark.parametrize("implementation", ["per_item", "vectorised"])
def test_steps_come_first_then_the_batch(implementation: LoadingWay) -> None:
    dataset = small()
    shapes = [(tuple(inputs.shape), tuple(targets.shape)) for inputs, targets in loader(dataset, implementation, 3)]
    assert shapes == [((6, 3, 2), (6, 3, 3)), ((6, 3, 2), (6, 3, 3)), ((6, 2, 2), (6, 2, 3))]
    inputs, _ = next(iter(loader(dataset, implementation, 3)))
    assert torch.equal(inputs[:, 1], dataset[1][0])


@pytest.mark.parametrize("implementation", ["per_item", "vectorised"])
def test_every_epoch_is_shuffled_anew(implementation: LoadingWay) -> None:
    first, second = epochs(small(), implementation, 8, seed=1)
    assert not torch.equal(first[0], second[0])


@forks
@pytest.mark.parametrize("implementation", ["per_item", "vectorised"])
def test_batches_that_other_processes_load_are_the_same(implementation: LoadingWay) -> None:
    assert is_equal(epochs(small(), implementation, 3, seed=1, workers=1), epochs(small(), implementation, 3, seed=1))


@forks
def test_loading_processes_last_from_epoch_to_epoch_and_end_with_the_loader() -> None:
    batches = loader(small(), "vectorised", 3, workers=2)
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
from rnnbench.workloads.data.datasets import RegularDataset
from rnnbench.workloads.data.loader import loader

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
