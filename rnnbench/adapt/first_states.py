"""The state that a cell begins with.

It is the cell's own (`init_hidden` and the like, or `state_size`), or what its first step without a state gives. A cell
that says neither is tried with states of the usual forms.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import POSITIONAL, parameters_of
from rnnbench.cells import CellError
from rnnbench.cells.states import copied, in_precision, rebuilt, tensors_of
from rnnbench.text import error_in_words

INITIAL = ("initial_state", "init_state", "init_hidden", "initHidden", "zero_state", "get_initial_state")
TENSOR_COUNTS = range(1, 9)  # tensors of a state: h, or h and c, or one for each layer
UNLIKE_TENSOR_COUNTS = range(2, 5)  # tensors of a state whose sizes differ: h and c, and those of a smaller network
MAX_SIZES = 8  # of the parameters of a cell, which its state may have
FRAME_DIMS = 4  # (batch, channels, height, width)
# What people call the parameters of a function that gives a first state, by what they mean.
STATE_ARGUMENT_NAMES: dict[str, tuple[str, ...]] = {
    "batch": ("batch", "batch_size", "batchsize", "bsz", "bs", "b", "n", "num_sequences", "nbatch"),
    "size": ("image_size", "img_size", "shape", "spatial", "spatial_size", "spatial_dims", "size", "hw", "tensor_size"),
    "height": ("height", "h", "rows"),
    "width": ("width", "w", "cols", "columns"),
    "hidden": ("hidden_size", "hidden_dim", "hidden", "hidden_channels", "hidden_features"),
    "input": ("input", "inputs", "x", "inp", "like", "input_tensor"),
    "device": ("device", "dev"),
    "dtype": ("dtype",),
}


def state_parameters(cell: nn.Module) -> tuple[list[str], bool]:
    """Return the names of the parameters after the input, and whether all of them have defaults."""
    parameters = list(parameters_of(getattr(cell, "forward", cell)).values())[1:]
    named = [each for each in parameters if each.kind in POSITIONAL]
    return [each.name for each in named], bool(named) and all(each.default is not each.empty for each in named)


def first_states(cell: nn.Module, input: Tensor, h: Tensor, *, has_default: bool) -> Iterator[Any]:
    """Yield states that a cell may begin with: its own, those of its first step without a state, then usual ones.

    Usual states are a tensor, tuples and lists of equal tensors, then of unlike ones. `input`: (batch, ...).
    """
    if (state_of_cell := own_first_state(cell, input, h)) is not None:
        yield state_of_cell
        return
    if has_default:
        with suppress(Exception):  # whatever a stranger's code raises
            result = cell(input.clone())
            yield copied(result)
            if isinstance(result, tuple | list):
                yield copied(result[1])
                yield copied(tuple(result[1:]))
    count = getattr(cell, "states", None)
    for tensors in [count] if isinstance(count, int) and count > 0 else TENSOR_COUNTS:
        state = tuple(_random_tensor(input, h, h.shape[-1]) for _ in range(tensors))
        yield from [state[0]] if tensors == 1 else [state, list(state)]
    yield from _other_states(cell, input, h)


def _random_tensor(input: Tensor, h: Tensor, *shape: int) -> Tensor:
    return torch.randn(len(input), *shape, dtype=h.dtype).to(h.device)


def _other_states(cell: nn.Module, input: Tensor, h: Tensor) -> Iterator[Any]:
    """Yield states of frames; of tensors of two sizes, as they are or in pairs; and of a matrix."""
    size = h.shape[-1]
    if input.dim() >= FRAME_DIMS:
        frames = [_random_tensor(input, h, size, *input.shape[2:]) for _ in range(2)]
        yield from (frames[0], tuple(frames), frames)
    for other in islice(sizes_of(cell), MAX_SIZES):
        pairs = tuple((_random_tensor(input, h, width), _random_tensor(input, h, width)) for width in (size, other))
        yield from (pairs, list(pairs))
        for count in UNLIKE_TENSOR_COUNTS if other != size else ():
            for first in range(1, count):
                widths = [size] * first + [other] * (count - first)
                yield tuple(_random_tensor(input, h, width) for width in widths)
    matrix = _random_tensor(input, h, size, size)
    yield from (matrix, (_random_tensor(input, h, size), matrix))


def sizes_of(module: nn.Module) -> Iterator[int]:
    """Yield the sizes that a state of a module may have, each once.

    Its hidden size, then those of its parameters, then other whole numbers that it keeps, such as `units`.
    """
    sizes = _hidden_sizes(module)
    sizes += [size for parameter in module.parameters() for size in reversed(parameter.shape)]
    sizes += [value for value in vars(module).values() if type(value) is int and value > 0]
    yield from dict.fromkeys(sizes)


def _hidden_sizes(module: nn.Module) -> list[int]:
    """Return the hidden size that a module keeps under a usual name; empty if it keeps none."""
    values = (getattr(module, name, None) for name in STATE_ARGUMENT_NAMES["hidden"])
    return [size for size in values if isinstance(size, int)][:1]


def own_first_state(cell: nn.Module, input: Tensor, h: Tensor) -> Any:
    """Return the state that a cell says it begins with, in the type of `h`; None if it says none.

    `input`: (batch, ...) of one step. A function that fails says none if the cell can take a step without a state.
    Otherwise CellError is raised, also if the state is not made of tensors.
    """
    batch = len(input)
    for name in INITIAL:
        function = getattr(cell, name, None)
        if not callable(function):
            continue
        fault: Exception | None = None
        for arguments in _arguments(cell, function, input, h):
            try:
                state = function(*arguments)
                if state is not None:
                    tensors = (_for_batch(tensor.to(h.device), batch) for tensor in tensors_of(state))
                    return rebuilt(state, (in_precision(tensor, h.dtype) for tensor in tensors))
            except TypeError:  # it takes other arguments
                continue
            except Exception as error:  # whatever a stranger's code raises: it may take other arguments
                fault = fault or error
        if fault is not None and not state_parameters(cell)[1]:
            message = fault if isinstance(fault, CellError) else f"it raises {error_in_words(fault)}"
            raise CellError(f"{type(cell).__name__}.{name}: {message}") from fault
    size = getattr(cell, "state_size", None)
    if isinstance(size, int) and not isinstance(size, bool):
        return h.new_zeros(batch, size)
    if isinstance(size, tuple | list) and size and all(isinstance(width, int) for width in size):
        return tuple(h.new_zeros(batch, width) for width in size)
    return None


def _arguments(cell: nn.Module, function: Callable[..., Any], input: Tensor, h: Tensor) -> Iterator[tuple[Any, ...]]:
    """Yield arguments for a function that gives a first state: by the names of its parameters, then the usual ones."""
    batch = len(input)
    spatial = tuple(input.shape[2:])
    values: dict[str, Any] = {
        "batch": batch,
        "hidden": next(iter(_hidden_sizes(cell)), h.shape[-1]),
        "input": input,
        "device": h.device,
        "dtype": h.dtype,
    }
    if spatial:
        values |= {"size": spatial, "height": spatial[0], "width": spatial[-1]}
    meanings = {name: meaning for meaning, names in STATE_ARGUMENT_NAMES.items() for name in names}
    names = [
        name
        for name, parameter in parameters_of(function).items()
        if parameter.default is inspect.Parameter.empty and parameter.kind in POSITIONAL
    ]
    known_values = [values.get(meanings.get(name.lower(), "")) for name in names]
    if names and all(value is not None for value in known_values):
        yield tuple(known_values)
    yield from ((batch,), (), (input,))
    if spatial:
        yield from ((batch, spatial), (batch, *spatial))


def _for_batch(tensor: Tensor, batch: int) -> Tensor:
    """Return a tensor of a state for the whole batch; a cell may give it for one sequence."""
    has_batch_second = tensor.dim() > 2 and tensor.shape[1] == batch  # behind a dimension of one layer
    is_of_one = tensor.dim() and len(tensor) == 1 and batch > 1 and not has_batch_second
    return tensor.expand(batch, *tensor.shape[1:]).contiguous() if is_of_one else tensor
