"""States of any structure, those that a stranger's cell begins with, and copies of modules for calls on trial."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from itertools import product
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.states import in_precision
from rnnbench.text import error_in_words

KEPT = "_rnnbench_call"  # attribute of a module: how it was found to be called


def tensors_of(state: Any, like: Any = None) -> list[Tensor]:
    """Return all tensors of a state in order; those of a dictionary in the order of `like`, another state of this form.

    Raises CellError if the state holds something else.
    """
    if isinstance(state, Tensor):
        return [state]
    parts = _parts(state)
    parts_like = parts if like is None else _parts(like)
    return [tensor for name in parts_like for tensor in tensors_of(parts[name], parts_like[name])]


def rebuilt(like: Any, tensors: Iterator[Tensor]) -> Any:
    """The inverse of `tensors_of`, and of `leaves` in `cells/states.py`: these tensors in the structure of `like`."""
    if isinstance(like, Tensor):
        return next(tensors)
    new = {name: rebuilt(part, tensors) for name, part in _parts(like).items()}
    if isinstance(like, Mapping):
        return new
    if isinstance(like, list):
        return list(new.values())
    if isinstance(like, tuple):
        return type(like)(*new.values()) if hasattr(like, "_fields") else tuple(new.values())
    return replace(like, **new)


def is_alike(state: Any, other: Any) -> bool:
    """Whether two states have parts of the same names or places, and tensors of the same shapes and types."""
    if isinstance(state, Tensor) or isinstance(other, Tensor):
        both = isinstance(state, Tensor) and isinstance(other, Tensor)
        return both and state.shape == other.shape and state.dtype == other.dtype
    try:
        parts, others = _parts(state), _parts(other)
    except CellError:
        return False
    return parts.keys() == others.keys() and all(is_alike(parts[name], others[name]) for name in parts)


def copied(state: Any) -> Any:
    """A copy of a state; what is not a state of tensors is returned as it is."""
    try:
        return rebuilt(state, iter([tensor.detach().clone() for tensor in tensors_of(state)]))
    except CellError:
        return state


def on_trial(module: nn.Module) -> nn.Module:
    """Return a copy of a module for calls that leave no traces in it; the module itself if it can't be copied."""
    try:
        return copy.deepcopy(module)
    except Exception:  # whatever a stranger's code raises
        return module


class Adapted(nn.Module):
    """Calls a module in the usual form, `(input, state)`; the module itself stays as it is."""

    def __init__(self, given: nn.Module, call: Any) -> None:
        super().__init__()
        self.given = given
        self.call = call

    def forward(self, input: Tensor, state: Any) -> Any:
        """Run one step, or a sequence."""
        return self.call.run(self.given, input, state)


def run_found(self: Any, input: Tensor, state: Any) -> Any:
    """The `forward` of a module that is called as its attribute KEPT says."""
    return getattr(self, KEPT).run(MethodType(type(self).forward, self), input, state)


def in_usual_form(module: nn.Module, call: Any, forward: Callable[..., Any] = run_found) -> nn.Module:
    """Replace the `forward` of this instance; one of TorchScript, where that can't be, is called by another module."""
    if isinstance(module, torch.jit.ScriptModule):
        return Adapted(module, call)
    setattr(module, KEPT, call)
    module.forward = MethodType(forward, module)
    return module


def _parts(state: Any) -> Mapping[Any, Any]:
    if isinstance(state, Mapping):
        return state
    if isinstance(state, tuple | list):
        return dict(enumerate(state))
    if is_dataclass(state) and not isinstance(state, type):
        return {field.name: getattr(state, field.name) for field in fields(state)}
    raise CellError(f"its state holds {type(state).__name__}; expected tensors, in tuples, lists, dicts or dataclasses")


INITIAL = ("initial_state", "init_state", "init_hidden", "initHidden", "zero_state", "get_initial_state")
COUNTS = range(1, 9)  # tensors of a state: h, or h and c, or one for each layer


def first_states(cell: nn.Module, input: Tensor, h: Tensor, *, has_default: bool) -> Iterator[Any]:
    """States that a cell may begin with: its own, what its first step without a state gives, then the usual ones.

    The usual ones are a tensor, then tuples and lists of some.
    """
    if (own := own_first_state(cell, len(input), h)) is not None:
        yield own
        return
    if has_default:
        with suppress(Exception):  # whatever a stranger's code raises
            result = cell(input.clone())
            yield copied(result)
            if isinstance(result, tuple | list):
                yield copied(result[1])
                yield copied(tuple(result[1:]))
    count = getattr(cell, "states", None)
    for tensors in [count] if isinstance(count, int) and count > 0 else COUNTS:
        state = tuple(torch.randn(len(input), h.shape[-1], dtype=h.dtype).to(h.device) for _ in range(tensors))
        yield from [state[0]] if tensors == 1 else [state, list(state)]


def own_first_state(cell: nn.Module, batch: int, h: Tensor) -> Any:
    """Return the state that a cell says it begins with, in the type of `h`; None if it says none.

    Raises CellError if it is not made of tensors.
    """
    for name, arguments in product(INITIAL, ((batch,), ())):
        function = getattr(cell, name, None)
        if not callable(function):
            continue
        try:
            state = function(*arguments)
            if state is not None:
                own = (_for_batch(tensor.to(h.device), batch) for tensor in tensors_of(state))
                return rebuilt(state, (in_precision(tensor, h.dtype) for tensor in own))
        except TypeError:  # it takes other arguments
            continue
        except Exception as error:  # whatever a stranger's code raises
            said = error if isinstance(error, CellError) else f"it raises {error_in_words(error)}"
            raise CellError(f"{type(cell).__name__}.{name}: {said}") from error
    size = getattr(cell, "state_size", None)
    if isinstance(size, int) and not isinstance(size, bool):
        return h.new_zeros(batch, size)
    if isinstance(size, tuple | list) and size and all(isinstance(width, int) for width in size):
        return tuple(h.new_zeros(batch, width) for width in size)
    return None


def _for_batch(tensor: Tensor, batch: int) -> Tensor:
    """Return a tensor of a state for the whole batch; a cell may give it for one sequence."""
    has_batch_second = tensor.dim() > 2 and tensor.shape[1] == batch  # behind a dimension of one layer
    is_of_one = tensor.dim() and len(tensor) == 1 and batch > 1 and not has_batch_second
    return tensor.expand(batch, *tensor.shape[1:]).contiguous() if is_of_one else tensor
