"""Find out in which order a module reads the first two dimensions of its input: the steps first, or the batch.

A change of one sequence leaves the outputs of the other sequences as they were; a change of one step changes those of
other steps. Small inputs with unlike sizes of two and more are tried first, since one row or one step shows nothing,
then the given sizes.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from rnnbench.adapt.contract import TRIAL_LENGTH, TRIAL_ROWS, on_trial, seed
from rnnbench.cells.states import BATCHED, copied

Order = Literal["steps first", "batch first", "either", "unknown"]  # either: each step of each sequence by itself
REGISTERED = ("_parameters", "_buffers", "_modules")


def reads_batch_first(module: Any, input: Any = None, *more: Any) -> bool | None:
    """Return whether a module reads (batch, seq, ...); None if it is not known, or if the order makes no difference."""
    order = input_order(module, input, *more)
    return None if order in ("either", "unknown") else order == "batch first"


def input_order(module: Any, input: Any = None, *more: Any) -> Order:
    """Return the order in which a module reads its input: its own `batch_first`, else what trials of a copy show.

    `input`: (seq, batch, ...) or (batch, seq, ...); `more`: further arguments of the call. The module is left as it is.
    Functions are not tried: there is no copy of what they use. An input of fewer dimensions has no order.
    """
    if not has_order(input):
        return "unknown"
    declared = getattr(module, "batch_first", None)
    if declared is not None:
        return "batch first" if declared else "steps first"
    if not isinstance(module, nn.Module):
        return "unknown"
    gpus = [input.device] if input.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(gpus), _nothing_compiled():
        for trial, others in _trials(input, more):
            # In training, such as with batch norm, each sequence may change the others.
            for is_training in dict.fromkeys((module.training, False)):
                order = _order_in(module, trial, others, is_training=is_training)
                if order != "unknown":
                    return order
    return "unknown"


def _nothing_compiled() -> AbstractContextManager[object]:
    """Run compiled code as plain Python. Does nothing before the compiler is imported: that would take seconds."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def has_order(input: object) -> bool:
    """Return whether an input has both steps and a batch: floats (., ., features, ...) or whole numbers (., ., ...)."""
    return isinstance(input, Tensor) and input.dim() >= (BATCHED if input.is_floating_point() else BATCHED - 1)


def _trials(input: Tensor, more: tuple[Any, ...]) -> Iterator[tuple[Tensor, tuple[Any, ...]]]:
    """Yield inputs of other sizes, then of the call's own, each with the further arguments that fit it."""
    sizes = (input.shape[0], input.shape[1])
    grown = (TRIAL_LENGTH if sizes[0] == 1 else sizes[0], TRIAL_ROWS if sizes[1] == 1 else sizes[1])
    rows = input.detach().flatten(0, 1)
    for trial_sizes in dict.fromkeys(((TRIAL_LENGTH, TRIAL_ROWS), grown)):
        if trial_sizes == sizes:
            continue
        index = torch.arange(trial_sizes[0] * trial_sizes[1], device=input.device) % max(1, len(rows))
        trial = rows[index].view(*trial_sizes, *input.shape[2:])
        for batch in (1, 0) if tree_leaves(more) else (1,):  # which dimension may be the batch
            yield trial, tree_map(partial(_resized, size=sizes[batch], new_size=trial_sizes[batch]), more)
    yield input.detach(), more


def _resized(part: Any, size: int, new_size: int) -> Any:
    """Return a tensor of a state for another batch: (layers, batch, ...) or (batch, ...), if it has this batch size."""
    if not isinstance(part, Tensor) or not part.dim():
        return part
    dim = 1 if part.dim() >= BATCHED else 0
    if part.shape[dim] != size:
        return part
    return part.index_select(dim, torch.arange(new_size, device=part.device) % size)


def _order_in(module: nn.Module, input: Tensor, more: tuple[Any, ...], *, is_training: bool) -> Order:
    """Return the order that calls with this input show; `unknown` if a call fails or draws its own random numbers."""
    try:
        first = _output(module, input, more, is_training=is_training)
        places = _places(first, input)
        if places is None or not torch.equal(first, _output(module, input, more, is_training=is_training)):
            return "unknown"
        mixes = [_is_mixed(module, input, more, first, axis, places[axis], is_training=is_training) for axis in (0, 1)]
    except Exception:  # whatever a stranger's code raises: other sizes may fit
        return "unknown"
    return _order_of(mixes[0], mixes[1])


def _order_of(first: bool | None, second: bool | None) -> Order:
    """Return the order, from whether places along each axis change each other; None for an axis of one place."""
    if first is None and second is None:
        return "unknown"
    if first is None:
        return "batch first" if second else "steps first"
    if second is None:
        return "steps first" if first else "batch first"
    if first == second:
        return "unknown" if first else "either"
    return "steps first" if first else "batch first"


def _places(output: Tensor, input: Tensor) -> tuple[int | None, int | None] | None:
    """Return the output's dimension for each axis of the input, None for one that it lacks; None if unclear."""
    sizes = tuple(input.shape[:2])
    output_sizes = tuple(output.shape[:2])
    if output_sizes == sizes:
        return 0, 1
    if output_sizes == sizes[::-1]:
        return 1, 0
    if sizes[0] == sizes[1] or not output_sizes:
        return None
    if output_sizes[0] == sizes[0]:  # an output for each sequence, and not for each step
        return 0, None
    return (None, 0) if output_sizes[0] == sizes[1] else None


def _is_mixed(
    module: nn.Module,
    input: Tensor,
    more: tuple[Any, ...],
    first: Tensor,
    axis: int,
    dim: int | None,
    *,
    is_training: bool,
) -> bool | None:
    """Return whether a change at one place of an axis changes the output at others; None for an axis of one place."""
    size = input.shape[axis]
    if dim is None:
        return True
    if size == 1:
        return None
    # Before the place and behind it, as a module may read from the end.
    for place in (size // 2,) if size > 2 else (0, 1):
        changed = _changed(input, axis, place)
        after = _output(module, changed, more, is_training=is_training)
        others = torch.arange(size, device=first.device) != place
        places = torch.nonzero(others).flatten()
        if not torch.equal(after.index_select(dim, places), first.index_select(dim, places)):
            return True
    return False


def _changed(input: Tensor, axis: int, place: int) -> Tensor:
    """Return an input with other values at one place of an axis: values of another place, if they differ."""
    new = input.clone()
    part = new.select(axis, place)
    if not input.is_floating_point():
        others = ~part if input.dtype == torch.bool else torch.where(part > 0, part - 1, part + 1)
    else:
        others = input.roll(1, -1).select(axis, place)
        if torch.equal(others, part):
            others = part + torch.randn_like(part)
    part.copy_(others)
    return new


def _output(module: nn.Module, input: Tensor, more: tuple[Any, ...], *, is_training: bool) -> Tensor:
    """Return the first tensor of a call's result; random numbers are the same in each call."""
    seed(0)
    with left_as_it_was(module) as trial:
        if trial.training != is_training:
            trial.train(is_training)
        result = trial(input.clone(), *(copied(part) for part in more))
        tensor: Tensor = next(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return tensor.clone()


@contextmanager
def left_as_it_was(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a copy of a module for a call. Of a module that can't be copied, yield itself, and restore it afterwards.

    Its attributes and tensors are put back. It may for example keep a state with its graph from call to call.
    """
    module = getattr(module, "_orig_mod", module)
    trial = on_trial(module)
    if trial is not module:
        yield trial
        return
    parts = [(part, _attributes(part)) for part in module.modules()]
    tensors = [part for part in _tensors(module) if part.layout == torch.strided]
    values = [tensor.detach().clone() for tensor in tensors]
    try:
        yield module
    finally:
        for part, (plain, *registered) in parts:
            vars(part).clear()
            vars(part).update(plain)
            for name, entries in zip(REGISTERED, registered, strict=True):
                vars(part)[name] = entries
        for tensor, value in zip(tensors, values, strict=True):
            if not torch.equal(tensor, value):
                tensor.data.copy_(value)


def _attributes(part: nn.Module) -> Sequence[dict[str, Any]]:
    """Return copies of a module's attributes, then of its parameters, buffers and parts by name."""
    return [dict(vars(part)), *(dict(vars(part)[name]) for name in REGISTERED)]


def _tensors(module: nn.Module) -> list[Tensor]:
    """Return the parameters and buffers of a module and its parts, and the tensors in their plain attributes."""
    attributes = (value for part in module.modules() for value in vars(part).values())
    return [leaf for value in attributes for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
