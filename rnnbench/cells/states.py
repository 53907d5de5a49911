"""What is done with states and other tensors of cells, whatever their structure.

A torch.nn layer keeps `h` or `(h, c)`, each (num_layers, batch, hidden). A cell keeps `h` or `(h, c)`, each
(batch, hidden), and a stacked cell keeps a tuple with one such state for each layer. `to_cell` and `to_layer` convert
between these usual forms; `tensors_of` and `rebuilt` take states of any structure apart and put them together.

`convert` changes the precision of a module; torch's own `to` and `double` would make complex numbers real.

A cell may take gradients in its own steps, for example to learn while it runs (arXiv:2407.04620). Inference mode
allows no gradients, so such a cell runs `outside_inference_mode`: in torch's usual mode, with `no_grad` around it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from operator import attrgetter, itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.store.records import AUTOCAST, DType

BATCHED = 3  # dimensions of a batch of sequences
State = Any  # Tensor, (Tensor, Tensor), or a tuple of either: the forms above


def to_cell(layer_state: State, *, stacked: bool) -> State:
    """Return a torch.nn layer's state in the cell's form."""
    states: tuple[State, ...]
    if isinstance(layer_state, Tensor):
        states = layer_state.unbind(0)
    else:
        states = tuple(zip(*(part.unbind(0) for part in layer_state), strict=True))
    return states if stacked else states[0]


def to_layer(cell_state: State, *, stacked: bool) -> State:
    """Invert `to_cell`."""
    states = cell_state if stacked else (cell_state,)
    if isinstance(states[0], Tensor):
        return torch.stack(states)
    return tuple(torch.stack(part) for part in zip(*states, strict=True))


def output(cell_state: State, *, stacked: bool) -> Tensor:
    """Return the output of a cell: the `h` of its top layer, (batch, hidden)."""
    top = cell_state[-1] if stacked else cell_state
    h: Tensor = top if isinstance(top, Tensor) else top[0]
    return h


def dense_parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the dense tensors that a tensor consists of: itself, or the indices and the values of a sparse one."""
    if tensor.layout == torch.strided:
        return (tensor,)
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return (tensor.to_dense(),)  # a tensor of oneDNN


def same_values(tensor: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of one layout hold the same values at the same places; NaN equals NaN."""
    pairs = list(zip(dense_parts(tensor), dense_parts(other), strict=True))
    return all(
        one.shape == two.shape and torch.allclose(one, two, rtol=0, atol=0, equal_nan=True) for one, two in pairs
    )


def copy_values(tensor: Tensor, values: Tensor) -> None:
    """Write the values of a tensor of the same shape into another one, which keeps its layout."""
    if values.layout != tensor.layout:
        values = values.to_dense() if tensor.layout == torch.strided else values.to_sparse(layout=tensor.layout)
    if tensor.layout != torch.strided:
        tensor.resize_as_sparse_(values)
    tensor.copy_(values)


def storage_address(tensor: Tensor) -> int:
    """Return the address of a tensor's storage, or of the storage of a sparse tensor's values.

    A tensor and its views have the same address.
    """
    return dense_parts(tensor)[-1].untyped_storage().data_ptr()


def leaves(state: State) -> tuple[Tensor, ...]:
    """Return all tensors of a state in either form, in order."""
    return (state,) if isinstance(state, Tensor) else tuple(leaf for part in state for leaf in leaves(part))


def tensors_of(state: Any, like: Any = None) -> list[Tensor]:
    """Return all tensors of a state in order; those of dictionaries in the order of another state, `like`.

    Raises CellError if the state holds something else.
    """
    if isinstance(state, Tensor):
        return [state]
    parts = _parts(state)
    parts_like = parts if like is None else _parts(like)
    return [tensor for name in parts_like for tensor in tensors_of(parts[name], parts_like[name])]


def rebuilt(like: Any, tensors: Iterator[Tensor]) -> Any:
    """Invert `tensors_of` and `leaves`: return these tensors in the structure of `like`."""
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


def getters_of(state: Any) -> tuple[Callable[[Any], Tensor], ...]:
    """Return a function for each tensor of a state, in order, that gets it from a state of this form.

    Empty if the state is nested. They can be pickled.
    """
    if isinstance(state, Tensor):
        return (_itself,)
    parts = _parts(state)
    if not all(isinstance(part, Tensor) for part in parts.values()):
        return ()
    getter: Any = itemgetter if isinstance(state, Mapping | tuple | list) else attrgetter
    return tuple(getter(name) for name in parts)


def _itself(state: Any) -> Any:
    """Return a state that is a tensor; a lambda could not be pickled."""
    return state


def is_alike(state: Any, other: Any) -> bool:
    """Return whether two states have parts of the same names or places, and tensors of the same shapes and types."""
    if isinstance(state, Tensor) or isinstance(other, Tensor):
        both = isinstance(state, Tensor) and isinstance(other, Tensor)
        return both and state.shape == other.shape and state.dtype == other.dtype
    try:
        parts = _parts(state)
        others = _parts(other)
    except CellError:
        return False
    return parts.keys() == others.keys() and all(is_alike(parts[name], others[name]) for name in parts)


def copied(state: Any) -> Any:
    """Return a copy of a state; what is not a state of tensors is returned as it is."""
    try:
        return rebuilt(state, iter([tensor.detach().clone() for tensor in tensors_of(state)]))
    except CellError:
        return state


def _parts(state: Any) -> Mapping[Any, Any]:
    """Return the parts of a state by name or place; raises CellError if it is no tuple, list, dict or dataclass."""
    if isinstance(state, Mapping):
        return state
    if isinstance(state, tuple | list):
        return dict(enumerate(state))
    if is_dataclass(state) and not isinstance(state, type):
        return {field.name: getattr(state, field.name) for field in fields(state)}
    raise CellError(f"its state holds {type(state).__name__}; expected tensors, in tuples, lists, dicts or dataclasses")


def torch_dtype(dtype: DType) -> torch.dtype:
    """Return the type of a case's tensors: float32 for tf32 and autocast, which are ways to compute with float32."""
    is_tensor_type = dtype != "tf32" and not dtype.startswith(AUTOCAST)
    tensor_type: torch.dtype = getattr(torch, dtype if is_tensor_type else "float32")
    return tensor_type


def in_precision(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the tensor in a type of floating point: complex numbers stay complex, and whole numbers stay as they are.

    The numbers of a complex tensor get 64 bits for float64, and 32 for all other types.
    """
    if tensor.is_complex():
        return tensor.to(torch.complex128 if dtype is torch.float64 else torch.complex64)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def convert(module: nn.Module, device: str, dtype: torch.dtype) -> None:
    """Move a module's parameters and buffers to a device and into a precision, as `in_precision` does."""
    apply: Any = module._apply  # what `to` and `double` call
    apply(lambda tensor: in_precision(tensor.to(device), dtype))


def fails_in_inference_mode(call: Callable[[], object]) -> bool:
    """Return True if a call fails in inference mode and works outside of it."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.inference_mode():
                call()
        except Exception:  # whatever a stranger's code raises
            with suppress(Exception), outside_inference_mode():
                call()
                return True
    return False


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Run calls without gradients, but in a mode in which a call may take gradients itself."""
    with torch.inference_mode(mode=False), torch.no_grad():
        yield
