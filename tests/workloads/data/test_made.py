import pytest
import torch

from rnnbench.store.records import DATA_SETS, DataSet, Workload
from rnnbench.workloads.data.datasets import WindowDataset
from rnnbench.workloads.data.made import make
from tests.doubles import workload as small


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


@pytest.mark.parametrize(("name", "steps"), [("windows", 28), ("overlapping", 10)])
def test_windows_lie_a_length_apart_and_overlapping_ones_a_step(name: DataSet, steps: int) -> None:
    dataset = make(name, load(), torch.float32)
    assert isinstance(dataset, WindowDataset)
    assert len(dataset.series) == steps


def test_a_data_set_is_the_same_each_time_it_is_made() -> None:
    first, second = (make("windows", load(), torch.float32) for _ in range(2))
    assert all(torch.equal(*pair) for item in zip(first, second, strict=True) for pair in zip(*item, strict=True))  # type: ignore[call-overload]
