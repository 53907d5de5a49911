"""What a user's own class must do before its time means anything; each fault is reported in one line.

`cell(input, state) -> state` for one step, with `input`: (batch, input) and each tensor of the state (batch, hidden);
or `module(input, state) -> (outputs, state)` for a whole sequence, with `input`: (seq, batch, input), `outputs`:
(seq, batch, hidden) and each tensor of the state (num_layers * directions, batch, hidden).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.refusal import last_exception, likely_cause
from rnnbench.cells import CellError
from rnnbench.cells.states import State, each_tensor, leaves, tensor_names, tensors, to_cell
from rnnbench.text import error_in_words

Shape = Sequence[int]


def check_signature(
    module: nn.Module, input: Tensor, layer_state: State, width: int, implementation: str, *, is_cell: bool
) -> None:
    """Call a module once, by itself, and check what it returns. Raises CellError, and whatever the module raises.

    `input`: (seq, batch, ...); `layer_state`: in torch.nn's form; `width`: the features of the outputs.
    """
    of_one = each_tensor(layer_state, lambda part: part[:1])  # of one layer in one direction
    state = to_cell(of_one, stacked=False) if is_cell else layer_state
    try:
        if not is_cell:
            _check_whole(module, input, state, width)
        else:
            _check_cell(module, input[0], state)
            if implementation != "loop" and hasattr(module, "advance"):
                _check_cell(module, input[0], state, _in_two_parts)
    except Exception as error:
        name, given = type(module).__name__, input[0] if is_cell else input
        if _fits_other(module, input, of_one, is_cell=is_cell):
            form, right = "takes one step, as torch.nn.LSTMCell", "loop"
            if is_cell:
                form, right = "runs the whole sequence, as torch.nn.LSTM does", "sequence"
            raise CellError(
                f'{name} {form}: its sweep needs implementation = "{right}", and this case has "{implementation}"'
            ) from None
        if cause := likely_cause(module, given, tensors(state)[0] if is_cell else None):
            found = last_exception(module, given, state) or error_in_words(error)
            raise CellError(f"{name} can't be called: {cause}. Its last exception: {found}") from error
        raise


def _fits_other(module: Any, input: Tensor, layer_state: State, *, is_cell: bool) -> bool:
    """Return whether a module has the other of the two signatures."""
    try:
        with torch.no_grad():
            if not is_cell:
                state = to_cell(layer_state, stacked=False)
                return _shapes(module(input[0], state)) == _shapes(state)
            result = module(input, layer_state)
            is_pair = isinstance(result, tuple) and len(result) == 2
            return is_pair and result[0].shape[:2] == input.shape[:2] and _shapes(result[1]) == _shapes(layer_state)
    except Exception:  # it has neither signature, so the error of the requested one is the one to report
        return False


def _check_cell(cell: nn.Module, input: Tensor, state: State, call: Callable[..., Any] | None = None) -> None:
    name = type(cell).__name__
    with torch.no_grad():
        new = unchanged(call or cell, input, state, name, *([cell] if call else []))
    _check_state(f"{name}: its new", new, state)


def _in_two_parts(input: Tensor, state: State, cell: Any) -> State:
    """One step as `hoisted` computes it."""
    return cell.advance(cell.project(input), state)


def _check_whole(module: nn.Module, input: Tensor, state: State, width: int) -> None:
    name = type(module).__name__
    with torch.no_grad():
        result = unchanged(module, input, state, name)
    if not isinstance(result, tuple) or len(result) != 2:
        raise CellError(f"{name} returns {_kind(result)}; expected (outputs, state)")
    outputs, final = result
    shape = (*input.shape[:2], width)
    _check_tensor(f"{name}: its output", outputs, shape, tensors(state)[0])
    _check_state(f"{name}: its final", final, state)


def _check_state(what: str, state: Any, like: State) -> None:
    """Check form, shapes, types and values of a state against another state."""
    wanted = tensors(like)
    names = tensor_names(len(wanted), has_c=True)
    if len(wanted) == 1:
        parts: Sequence[Any] = (state,)
    elif isinstance(state, tuple | list) and len(state) == len(wanted):
        parts = state
    else:
        raise CellError(f"{what} state is {_kind(state)}; expected ({', '.join(names)})")
    for name, part, tensor in zip(names, parts, wanted, strict=False):
        _check_tensor(f"{what} {name}", part, tensor.shape, tensor)


def _check_tensor(what: str, value: Any, shape: Shape, like: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise CellError(f"{what} is {_kind(value)}; expected a tensor {tuple(shape)}")
    if tuple(value.shape) != tuple(shape):
        raise CellError(f"{what} is {tuple(value.shape)}; expected {tuple(shape)}")
    if value.dtype != like.dtype:
        raise CellError(f"{what} is {value.dtype}; expected {like.dtype}")
    if value.device != like.device:
        raise CellError(f"{what} is on {value.device}; expected {like.device}")
    check_finite(what, value)


def check_finite(what: str, tensor: Tensor | None) -> None:
    """Raise CellError if a tensor has a value that is not finite."""
    if tensor is not None and not bool(tensor.isfinite().all()):
        raise CellError(f"{what} has {'NaN' if bool(tensor.isnan().any()) else 'infinite values'}")


def unchanged(call: Callable[..., Any], input: Tensor, state: State, name: str, *more: Any) -> Any:
    """Return the result of a call; raises CellError if the call changes its arguments in place."""
    given = (input, *leaves(state))
    before = [part.clone() for part in given]
    result = call(input, state, *more)
    for index, (part, old) in enumerate(zip(given, before, strict=True)):
        if not torch.equal(part, old):
            part.copy_(old)
            what = "its input" if index == 0 else "the state that it is given"
            raise CellError(f"{name} changes {what} in place; the next call would get other numbers")
    return result


def _shapes(state: State) -> list[torch.Size]:
    return [part.shape for part in tensors(state)]


def _kind(value: Any) -> str:
    """`a tuple of 2`, `a tensor (3, 6)`, `a float`."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{article} {kind} of {len(value)}" if isinstance(value, tuple | list | dict) else f"{article} {kind}"
