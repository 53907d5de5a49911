"""One form of all calls of compiled code: torch compiles anew for another order in memory, and for another mode.

Inference mode, `no_grad`, and calls of which nothing needs a gradient are three modes to torch's compiler, and tensors
that were made in inference mode are of another kind. So a measured shape would be compiled again in a call.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


def in_one_form(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return compiled code that gets contiguous tensors, and is run under `no_grad` unless gradients are needed.

    `run(module, input, state, ...)`.
    """

    def run_in_one_form(module: nn.Module, input: Tensor, state: Any, *options: Any) -> Any:
        if _needs_gradients(module, input, state):
            return run(module, input.contiguous(), tree_map_only(Tensor, Tensor.contiguous, state), *options)
        with torch.inference_mode(mode=False), torch.no_grad():
            return run(module, _usual(input), tree_map_only(Tensor, _usual, state), *options)

    return run_in_one_form


def _needs_gradients(module: nn.Module, input: Tensor, state: Any) -> bool:
    if not torch.is_grad_enabled():
        return False
    parts: list[Tensor] = []
    tree_map_only(Tensor, parts.append, state)
    return any(tensor.requires_grad for tensor in (input, *parts, *module.parameters()))


def _usual(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor that was not made in inference mode."""
    return tensor.clone(memory_format=torch.contiguous_format) if tensor.is_inference() else tensor.contiguous()
