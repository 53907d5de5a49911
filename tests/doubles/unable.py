"""A layer that this processor can't run, whichever processor it is; oneDNN has no LSTM in float16 on most of them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rnnbench.workloads.processor import why_not

REASON = "this processor can't run torch.nn.LSTM under autocast to "
CODE = """
import torch


class Cast(torch.nn.LSTM):
    def forward(self, input, state=None):
        with torch.autocast("cpu", torch.{dtype}):
            outputs, final = super().forward(input, state)
        return outputs.float(), tuple(part.float() for part in final)
"""


def unable_dtype() -> torch.dtype:
    """The type under whose autocast this processor can't run LSTM; where it can run all, the test is skipped."""
    if why_not("LSTM", "autocast to bfloat16", False):
        return torch.bfloat16
    if why_not("LSTM", "autocast to float16", False):
        return torch.float16
    pytest.skip("this processor runs LSTM in bfloat16 and in float16")


class Cast(nn.Module):
    """An LSTM that lowers its own precision."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer, self.dtype = nn.LSTM(input_size, hidden_size), unable_dtype()

    def forward(self, input: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", self.dtype):
            outputs, final = self.layer(input, state)
        return outputs.float(), final


def cell_file(folder: Path) -> str:
    """Write a cell that this processor can't run; its name on the command line."""
    file = folder / "cast.py"
    file.write_text(CODE.format(dtype=str(unable_dtype()).removeprefix("torch.")))
    return f"{file}:Cast"
