"""Keep debuggers and garbage collection out of timed calls, and restore what measuring changes in the process."""

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rnnbench.harness.machine import global_state


def keep_values(tensor: Tensor, put_back: ExitStack) -> Tensor:
    """Restore a tensor's values when `put_back` closes, and return a copy of them.

    They are written only if they differ, since a graph may hold the tensor.
    """
    values = tensor.detach().clone()

    def restore() -> None:
        if not torch.allclose(tensor, values, rtol=0, atol=0, equal_nan=True):
            tensor.data.copy_(values)

    put_back.callback(restore)
    return values


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
                keep_values(tensor, put_back)


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
