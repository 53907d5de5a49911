"""The data sets: the tutorial notebook's values, and any length and stride."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from torch import Tensor
from torch.utils.data import DataLoader

from rnnbench.workloads.data.datasets import RegularDataset, WindowDataset
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


@pytest.mark.parametrize(("dataset", "items"), NOTEBOOK)
def test_a_plain_data_loader_gives_the_notebooks_values_in_batches_of_one(dataset, items) -> None:
    for (values, label), (inputs, targets) in zip(items, DataLoader(dataset, batch_size=1), strict=True):
        assert torch.equal(inputs, torch.tensor([values]))
        assert torch.equal(targets, torch.tensor([label]))


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
