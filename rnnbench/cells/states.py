"""The two forms of a recurrent state, and conversions between them.

A torch.nn layer keeps `h` or `(h, c)`, each (num_layers, batch, hidden). A cell keeps `h` or `(h, c)`, each
(batch, hidden); a stacked cell keeps a tuple with one such state for each layer.

Conversion to another precision. torch's own `to` and `double` make complex numbers real.

Cells that take gradients in their own steps, such as those that learn while they run (arXiv:2407.04620).

No gradient can be taken in inference mode, so they run in torch's usual mode, with `no_grad` around them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.store.records import DType

BATCHED = 3  # dimensions of a batch of sequences
State = Any  # Tensor, (Tensor, Tensor), or a tuple of either: the forms above


def to_cell(layer_state: State, *, stacked: bool) -> State:
    """A torch.nn layer's state in the cell's form."""
    states: tuple[State, ...]
    if isinstance(layer_state, Tensor):
        states = layer_state.unbind(0)
    else:
        states = tuple(zip(*(part.unbind(0) for part in layer_state), strict=True))
    return states if stacked else states[0]


def to_layer(cell_state: State, *, stacked: bool) -> State:
    """The inverse of `to_cell`."""
    states = cell_state if stacked else (cell_state,)
    if isinstance(states[0], Tensor):
        return torch.stack(states)
    return tuple(torch.stack(part) for part in zip(*states, strict=True))


def output(cell_state: State, *, stacked: bool) -> Tensor:
    """The output of a cell: the top layer's `h`, (batch, hidden)."""
    top = cell_state[-1] if stacked else cell_state
    shown: Tensor = top if isinstance(top, Tensor) else top[0]
    return shown


def storage_address(tensor: Tensor) -> int:
    """Where a tensor's storage begins; views of one tensor have the same."""
    return tensor.untyped_storage().data_ptr()


def leaves(state: State) -> tuple[Tensor, ...]:
    """All tensors of a state in either form, in order."""
    return (state,) if isinstance(state, Tensor) else tuple(leaf for part in state for leaf in leaves(part))


def torch_dtype(dtype: DType) -> torch.dtype:
    """The type of a case's tensors: float32 for tf32, which is a way to multiply float32."""
    tensor_type: torch.dtype = getattr(torch, "float32" if dtype == "tf32" else dtype)
    return tensor_type


def in_precision(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in a type of floating point: complex numbers stay complex, and whole numbers stay as they are.

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
    """Whether a call fails in inference mode and works outside of it. What it raises in both is left to later calls."""
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
    """Without gradients, but in a mode in which a call may take its own."""
    with torch.inference_mode(mode=False), torch.no_grad():
        yield
