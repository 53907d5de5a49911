"""States of any structure (tensors, tuples, lists, dictionaries and dataclasses of them), and modules on trial."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor, nn

from rnnbench.cells import CellError

KEPT = "_rnnbench_call"  # attribute of a module: how it was found to be called
MAX_DEPTH = 20  # of a state; a deeper one contains itself


def tensors_of(state: Any, like: Any = None, depth: int = 0) -> list[Tensor]:
    """All tensors of a state in order; those of a dictionary in the order of `like`, another state of this structure.

    Raises CellError if the state holds something else, or contains itself.
    """
    if isinstance(state, Tensor):
        return [state]
    if depth == MAX_DEPTH:
        raise CellError(f"its state is nested more than {MAX_DEPTH} deep; does it contain itself?")
    parts = _parts(state)
    parts_like = parts if like is None else _parts(like)
    return [tensor for name in parts_like for tensor in tensors_of(parts[name], parts_like[name], depth + 1)]


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
    """Whether two states have the same structure, and tensors of the same shapes and types."""
    if isinstance(state, Tensor) or isinstance(other, Tensor):
        both = isinstance(state, Tensor) and isinstance(other, Tensor)
        return both and state.shape == other.shape and state.dtype == other.dtype
    try:
        parts, others = _parts(state), _parts(other)
    except CellError:
        return False
    is_named = isinstance(state, Mapping) or is_dataclass(state)
    if (is_named or isinstance(other, Mapping) or is_dataclass(other)) and type(state) is not type(other):
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
        if (scripted := vars(module).get("_actual_script_module")) is None:
            return copy.deepcopy(module)
        twin = copy.copy(module)  # a deep copy of a class of TorchScript loses its other functions, such as init_hidden
        twin.__dict__["_actual_script_module"] = copy.deepcopy(scripted)
    except Exception:  # whatever a stranger's code raises
        return module
    return twin


def _parts(state: Any) -> Mapping[Any, Any]:
    if isinstance(state, Mapping):
        return state
    if isinstance(state, tuple | list):
        return dict(enumerate(state))
    if is_dataclass(state) and not isinstance(state, type):
        return {field.name: getattr(state, field.name) for field in fields(state)}
    raise CellError(f"its state holds {type(state).__name__}; expected tensors, in tuples, lists, dicts or dataclasses")
