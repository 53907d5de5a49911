"""What measuring would leave changed in the user's process, noted before and put back after."""

import random
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rnnbench.harness.machine import torch_state


@dataclass(frozen=True)
class Kept:
    """A tensor's values at one moment."""

    tensor: Tensor
    values: Tensor
    version: int | None  # torch counts the changes of a tensor, but not of one that was made in inference mode

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """As it is now."""
        return cls(tensor, tensor.detach().clone(), None if tensor.is_inference() else tensor._version)

    @property
    def is_changed(self) -> bool:
        """Whether something was written into the tensor, which torch counts, but for some kernels' own buffers."""
        return self.version is not None and self.tensor._version != self.version

    def put_back(self) -> None:
        """Write the values again where there are others now; else leave it be, as a graph may hold it."""
        if not torch.equal(self.tensor, self.values):
            with torch.no_grad():
                self.tensor.copy_(self.values)


def keep_process(put_back: ExitStack) -> None:
    """torch's settings, the current GPU and the states of all random generators."""
    put_back.callback(torch_state.restore, torch_state.capture())
    if gpus():
        put_back.callback(torch.cuda.set_device, torch.cuda.current_device())
    put_back.enter_context(torch.random.fork_rng(gpus()))
    put_back.callback(random.setstate, random.getstate())
    put_back.callback(np.random.set_state, np.random.get_state())


def gpus() -> list[int]:
    """The GPUs whose random generators may be used; asking starts none."""
    cuda: Any = torch.cuda  # partly untyped in torch
    return list(range(cuda.device_count())) if cuda.is_initialized() else []


def keep_buffers(module: nn.Module, put_back: ExitStack) -> None:
    """What a module notes while it runs, such as the running means of a batch norm."""
    for owner in module.modules():
        for name, buffer in owner.named_buffers(recurse=False):
            if not is_lazy(buffer):
                put_back.callback(setattr, owner, name, buffer)
                put_back.callback(Kept.of(buffer).put_back)


def keep_gradient(tensor: Tensor, put_back: ExitStack) -> None:
    """`tensor.grad`, which is the same tensor afterwards, with the same values."""
    put_back.callback(setattr, tensor, "grad", tensor.grad)
