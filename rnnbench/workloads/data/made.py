"""The data sets of a case: normal draws from a fixed seed, in the sizes of its workload."""

import torch

from rnnbench.store.records import DataSet, Workload
from rnnbench.workloads.data.datasets import Batched, RegularDataset, WindowDataset

SEED = 3


def make(name: DataSet, workload: Workload, dtype: torch.dtype) -> Batched:
    """`samples` inputs (seq, input) with targets (seq, output), in the memory of the host.

    The series that windows are cut from is as long as `samples` sequences. If windows overlap, it is as long as one
    sequence and one step for each further sample.
    """
    generator = torch.Generator().manual_seed(SEED)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    samples, length = workload.samples, workload.seq_len
    targets = draw(samples, length, workload.output_size)
    if name == "regular":
        return RegularDataset(draw(samples, length, workload.input_size), targets)
    stride = length if name == "windows" else 1
    series = draw((samples - 1) * stride + length, workload.input_size)
    return WindowDataset(series, targets, length, stride)
