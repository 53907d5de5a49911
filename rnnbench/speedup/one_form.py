"""One form of all calls of compiled code: torch compiles anew for another order in memory, and for another mode.

Inference mode, `no_grad`, and calls of which nothing needs a gradient are three modes to torch's compiler, and tensors
that were made in inference mode are of another kind. So a measured shape would be compiled again in a call.

Where code for any batch size is wanted, the first call at each size says which dimension is that of the batch. torch
makes code for 1 apart from that for all other sizes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

SMALLEST_BATCH = 2  # that code for any batch size runs: torch compiles a batch of 1 for itself


class BatchDims(NamedTuple):
    """The dimension of the batch."""

    input: int
    state: int  # in each tensor of a state that has the batch there


def in_one_form(run: Callable[..., Any], any_batch: BatchDims | None = None) -> Callable[..., Any]:
    """Return compiled code that gets contiguous tensors, and is run under `no_grad` unless gradients are needed.

    `run(module, input, state, ...)`. `any_batch`: has code made for every batch size of 2 and more, where no gradients
    are needed; None: for each size apart.
    """
    seen: WeakKeyDictionary[nn.Module, set[torch.Size]] = WeakKeyDictionary()

    def run_in_one_form(module: nn.Module, input: Tensor, state: Any, *options: Any) -> Any:
        if _needs_gradients(module, input, state):
            return run(module, input.contiguous(), tree_map_only(Tensor, Tensor.contiguous, state), *options)
        with torch.inference_mode(mode=False), torch.no_grad():
            input = _usual(input)
            state = tree_map_only(Tensor, _usual, state)
            if any_batch is not None and input.shape not in (shapes := seen.setdefault(module, set())):
                shapes.add(input.shape)
                input, state = _marked(input, state, any_batch)
            return run(module, input, state, *options)

    return run_in_one_form


def _marked(input: Tensor, state: Any, dims: BatchDims) -> tuple[Tensor, Any]:
    """Return tensors of which torch's compiler knows that the batch may have any size; the user's stay as they are."""
    batch_size = input.shape[dims.input]

    def marked(tensor: Tensor, dim: int) -> Tensor:
        tensor = tensor.detach()
        if tensor.dim() > dim and tensor.shape[dim] == batch_size >= SMALLEST_BATCH:
            torch._dynamo.maybe_mark_dynamic(tensor, dim)
        return tensor

    return marked(input, dims.input), tree_map_only(Tensor, lambda part: marked(part, dims.state), state)


def _needs_gradients(module: nn.Module, input: Tensor, state: Any) -> bool:
    if not torch.is_grad_enabled():
        return False
    parts: list[Tensor] = []
    tree_map_only(Tensor, parts.append, state)
    return any(tensor.requires_grad for tensor in (input, *parts, *module.parameters()))


def _usual(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor that was not made in inference mode."""
    return tensor.clone(memory_format=torch.contiguous_format) if tensor.is_inference() else tensor.contiguous()
