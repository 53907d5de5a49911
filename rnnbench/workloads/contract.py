"""What a user's own class must do before its time means anything; each fault is reported in one line.

`cell(input, state) -> state` for one step, with `input`: (batch, input) and each tensor of the state (batch, hidden);
or `module(input, state) -> (outputs, state)` for a whole sequence, with `input`: (seq, batch, input), `outputs`:
(seq, batch, hidden) and each tensor of the state (num_layers * directions, batch, hidden).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.foreign.refusal import last_exception, likely_cause
from rnnbench.cells.states import State, each_tensor, leaves, tensor_names, tensors, to_cell
from rnnbench.text import error_in_words, message_of
from rnnbench.workloads.bodies import Cells
from rnnbench.workloads.phases import fixed_direction
from rnnbench.workloads.prepare import Built

Shape = Sequence[int]


def check_signature(built: Built) -> None:
    """Call the class once, by itself, and check what it returns. Raises CellError, and whatever the class raises."""
    body = built.model.body
    try:
        if isinstance(body, Cells):
            _check_cell(body.cells[0], built)
            if built.case.implementation != "loop" and hasattr(body.cells[0], "advance"):
                _check_cell(body.cells[0], built, _in_two_parts)
        else:
            _check_whole(body.layer, built)
    except Exception as error:
        _say_if_other(body, built)
        is_cell, module = isinstance(body, Cells), _module(body)
        input, state = (built.input[0], _first_state(built)) if is_cell else (built.input, built.layer_state)
        if cause := likely_cause(module, input, tensors(state)[0] if is_cell else None):
            found = last_exception(module, input, state) or error_in_words(error)
            raise CellError(f"{_name(body)} can't be called: {cause}. Its last exception: {found}") from error
        raise


def check_calls(built: Built) -> str:
    """Run the model over the sequence as in a timed call, with backward in training. Raises CellError.

    Returns a note about parameters that no gradient reaches; empty if there are none.
    """
    name = _name(built.model.body)
    if built.case.workload.phase != "inference":
        note = _check_training(built, name)
        built.model.zero_grad(set_to_none=True)
        return note
    with torch.inference_mode():
        output, _ = _unchanged(built.model, built.input, built.state, name)
    _check_finite(f"{name}: over the sequence its output", output)
    return ""


def _check_cell(cell: nn.Module, built: Built, call: Callable[..., Any] | None = None) -> None:
    name, input, state = type(cell).__name__, built.input[0], _first_state(built)
    with torch.no_grad():
        new = _unchanged(call or cell, input, state, name, *([cell] if call else []))
    _check_state(f"{name}: its new", new, state)


def _in_two_parts(input: Tensor, state: State, cell: Any) -> State:
    """One step as `hoisted` computes it."""
    return cell.advance(cell.project(input), state)


def _check_whole(module: nn.Module, built: Built) -> None:
    name, input, state = type(module).__name__, built.input, built.layer_state
    with torch.no_grad():
        result = _unchanged(module, input, state, name)
    if not isinstance(result, tuple) or len(result) != 2:
        raise CellError(f"{name} returns {_kind(result)}; expected (outputs, state)")
    outputs, final = result
    shape = (*input.shape[:2], built.model.head.in_features)
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
    _check_finite(what, value)


def _check_finite(what: str, tensor: Tensor | None) -> None:
    if tensor is not None and not bool(tensor.isfinite().all()):
        raise CellError(f"{what} has {'NaN' if bool(tensor.isnan().any()) else 'infinite values'}")


def _check_training(built: Built, name: str) -> str:
    breaks = f"{name} works in inference and breaks in training"
    body = built.model.body
    own = [(part, parameter) for part, parameter in body.named_parameters() if parameter.requires_grad]
    try:
        with torch.enable_grad():
            output, _ = _unchanged(built.model, built.input, built.state, name)
            _check_finite(f"{name}: over the sequence its output", output)
            output.backward(fixed_direction(output.detach(), output.shape))
    except (CellError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "can't allocate memory" in message_of(error):  # torch's message on a CPU; the class is not at fault
            raise
        raise CellError(f"{breaks}: {error_in_words(error)}") from error
    unreached = [_own_name(part) for part, parameter in own if parameter.grad is None]
    if own and len(unreached) == len(own):
        raise CellError(f"{breaks}: no gradient reaches any of its parameters; is its output detached?")
    for part, parameter in own:
        _check_finite(f"{breaks}: the gradient of {_own_name(part)}", parameter.grad)
    return f"no gradient reaches {', '.join(dict.fromkeys(unreached))}" if unreached else ""


def _own_name(part: str) -> str:
    """A body's parameter as its class names it: `weight_hh` for `cells.0.weight_hh` and for `layer.weight_hh`."""
    return part.split(".", 2)[2] if part.startswith("cells.") else part.removeprefix("layer.")


def _unchanged(call: Callable[..., Any], input: Tensor, state: State, name: str, *more: Any) -> Any:
    """The result of a call; raises CellError if the call changes its arguments in place."""
    given = (input, *leaves(state))
    before = [part.clone() for part in given]
    result = call(input, state, *more)
    for index, (part, old) in enumerate(zip(given, before, strict=True)):
        if not torch.equal(part, old):
            part.copy_(old)
            what = "its input" if index == 0 else "the state that it is given"
            raise CellError(f"{name} changes {what} in place; the next call would get other numbers")
    return result


def _say_if_other(body: Any, built: Built) -> None:
    """Raise CellError if the class has the other of the two signatures."""
    state, implementation = _layer_state_of_one(built), built.case.implementation
    is_cell = isinstance(body, Cells)
    module = _module(body)
    try:
        with torch.no_grad():
            fits = _fits_whole(module, built.input, state) if is_cell else _fits_cell(module, built.input[0], state)
    except Exception:  # it has neither signature, so the error of the requested one is the one to report
        return
    if fits:
        form = "runs the whole sequence, as torch.nn.LSTM does" if is_cell else "takes one step, as torch.nn.LSTMCell"
        right = "sequence" if is_cell else "loop"
        raise CellError(
            f'{_name(body)} {form}: its sweep needs implementation = "{right}", and this case has "{implementation}"'
        )


def _fits_whole(module: Any, input: Tensor, state: State) -> bool:
    result = module(input, state)
    is_pair = isinstance(result, tuple) and len(result) == 2
    return is_pair and result[0].shape[:2] == input.shape[:2] and _shapes(result[1]) == _shapes(state)


def _fits_cell(module: Any, input: Tensor, state: State) -> bool:
    state = to_cell(state, stacked=False)
    return _shapes(module(input, state)) == _shapes(state)


def _shapes(state: State) -> list[torch.Size]:
    return [part.shape for part in tensors(state)]


def _layer_state_of_one(built: Built) -> State:
    """The state of one layer in one direction, in torch.nn's form."""
    return each_tensor(built.layer_state, lambda part: part[:1])


def _first_state(built: Built) -> State:
    return to_cell(_layer_state_of_one(built), stacked=False)


def _module(body: Any) -> nn.Module:
    module: nn.Module = body.cells[0] if isinstance(body, Cells) else body.layer
    return module


def _name(body: Any) -> str:
    return type(_module(body)).__name__


def _kind(value: Any) -> str:
    """`a tuple of 2`, `a tensor (3, 6)`, `a float`."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{article} {kind} of {len(value)}" if isinstance(value, tuple | list | dict) else f"{article} {kind}"
