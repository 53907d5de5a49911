"""Keep debuggers and garbage collection out of timed calls, and restore what measuring changes in the process."""

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rnnbench.harness.machine import global_state


@dataclass(frozen=True)
class Kept:
    """A copy of a tensor's values at one moment."""

    tensor: Tensor
    values: Tensor
    version: int | None  # torch's count of changes to the tensor; None for one created in inference mode

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """Copy the current values of a tensor."""
        return cls(tensor, tensor.detach().clone(), None if tensor.is_inference() else tensor._version)

    @property
    def is_changed(self) -> bool:
        """Whether something was written into the tensor; torch misses writes by some kernels into their own buffers."""
        return self.version is not None and self.tensor._version != self.version

    def put_back(self) -> None:
        """Restore the values if they differ; otherwise do not write, since a graph may hold the tensor."""
        if not torch.allclose(self.tensor, self.values, rtol=0, atol=0, equal_nan=True):
            with torch.no_grad():
                self.tensor.copy_(self.values)


def keep_process(put_back: ExitStack) -> None:
    """Restore torch's settings, the current GPU and the states of all random generators when `put_back` closes."""
    put_back.callback(global_state.restore, global_state.capture())
    if gpus():
        put_back.callback(torch.cuda.set_device, torch.cuda.current_device())
    put_back.enter_context(torch.random.fork_rng(gpus()))
    put_back.callback(random.setstate, random.getstate())
    put_back.callback(np.random.set_state, np.random.get_state())


@contextmanager
def calls_on_trial() -> Iterator[None]:
    """Put the process back after calls, which are made outside of inference mode: its tensors count no changes."""
    with torch.inference_mode(mode=False), ExitStack() as put_back:
        keep_process(put_back)
        yield


def gpus() -> list[int]:
    """The GPUs whose random generators may be in use; this call does not initialize CUDA."""
    cuda: Any = torch.cuda  # partly untyped in torch
    return list(range(cuda.device_count())) if cuda.is_initialized() else []


def keep_tensors(module: nn.Module, put_back: ExitStack) -> None:
    """Restore a module's parameters and buffers when `put_back` closes: a hook may be an optimizer's step."""
    for owner in module.modules():
        for name, tensor in (*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)):
            if not is_lazy(tensor):
                put_back.callback(setattr, owner, name, tensor)
                put_back.callback(Kept.of(tensor).put_back)


TOOLS = 6  # places for tools in `sys.monitoring`, which Python has since 3.12


@contextmanager
def undisturbed() -> Iterator[None]:
    """Turn off garbage collection, tracing and profiling, and restore them at the end, whatever else fails."""
    profiler = sys.getprofile()
    monitoring: Any = getattr(sys, "monitoring", None)  # which newer versions of Python have
    with ExitStack() as put_back:
        if gc.isenabled():
            put_back.callback(gc.enable)
            gc.disable()
        put_back.callback(sys.settrace, sys.gettrace())
        sys.settrace(None)
        if callable(profiler):  # not cProfile's, which Python calls by `sys.monitoring` since 3.12
            put_back.callback(sys.setprofile, profiler)
            sys.setprofile(None)
        for tool in range(TOOLS if monitoring else 0):
            if monitoring.get_tool(tool) is not None and (events := monitoring.get_events(tool)):
                put_back.callback(monitoring.set_events, tool, events)
                monitoring.set_events(tool, 0)
        yield
