"""What a user's own class must do before its time means anything; each fault is said in a line.

`cell(input, state) -> state` for one step, with `input`: (batch, input) and each tensor of the state (batch, hidden);
or `module(input, state) -> (outputs, state)` for a whole sequence, with `input`: (seq, batch, input), `outputs`:
(seq, batch, hidden) and each tensor of the state (num_layers * directions, batch, hidden).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.states import State, leaves, tensors, to_cell
from rnnbench.workloads.bodies import Cells
from rnnbench.workloads.phases import fixed_direction
from rnnbench.workloads.prepare import Built

Shape = Sequence[int]


def check_signature(built: Built) -> None:
    """Call the class by itself, once, and look at what it gives. Raises CellError, and whatever the class raises."""
    body = built.model.body
    try:
        if isinstance(body, Cells):
            _check_cell(body.cells[0], built)
            if built.case.implementation != "loop" and hasattr(body.cells[0], "advance"):
                _check_cell(body.cells[0], built, _in_two_parts)
        else:
            _check_whole(body.layer, built)
    except Exception:
        _say_if_other(body, built)
        raise


def check_calls(built: Built) -> None:
    """Run the model over the sequence as it is timed, and back where gradients are. Raises CellError."""
    name = _name(built.model.body)
    if built.case.workload.phase != "inference":
        _check_training(built, name)
        built.model.zero_grad(set_to_none=True)
        return
    with torch.inference_mode():
        output, _ = _unchanged(built.model, built.input, built.state, name)
    _check_finite(f"{name}: over the sequence its output", output)


def _check_cell(cell: nn.Module, built: Built, call: Callable[..., Any] | None = None) -> None:
    name, input, state = type(cell).__name__, built.input[0], _first_state(built)
    with torch.no_grad():
        new = _unchanged(call or cell, input, state, name, *([cell] if call else []))
    _check_state(f"{name}: its new", new, state)


def _in_two_parts(input: Tensor, state: State, cell: Any) -> State:
    """A step as `hoisted` takes it."""
    return cell.advance(cell.project(input), state)


def _check_whole(module: nn.Module, built: Built) -> None:
    name, input, state = type(module).__name__, built.input, built.layer_state
    with torch.no_grad():
        found = _unchanged(module, input, state, name)
    if not isinstance(found, tuple) or len(found) != 2:
        raise CellError(f"{name} returns {_kind(found)} where (outputs, state) is wanted")
    outputs, final = found
    workload = built.case.workload
    shape = (*input.shape[:2], workload.directions * workload.hidden_size)
    _check_tensor(f"{name}: its output", outputs, shape, input)
    _check_state(f"{name}: its final", final, state)


def _check_state(what: str, found: Any, like: State) -> None:
    """Form, shapes, type and values of a state, in the form of another."""
    wanted = tensors(like)
    names = ("h", "c") if len(wanted) <= 2 else tuple(f"state {place}" for place in range(len(wanted)))
    if len(wanted) == 1:
        parts: Sequence[Any] = (found,)
    elif isinstance(found, tuple | list) and len(found) == len(wanted):
        parts = found
    else:
        raise CellError(f"{what} state is {_kind(found)} where ({', '.join(names)}) is wanted")
    for name, part, one in zip(names, parts, wanted, strict=False):
        _check_tensor(f"{what} {name}", part, one.shape, one)


def _check_tensor(what: str, found: Any, shape: Shape, like: Tensor) -> None:
    if not isinstance(found, Tensor):
        raise CellError(f"{what} is {_kind(found)} where a tensor {tuple(shape)} is wanted")
    if tuple(found.shape) != tuple(shape):
        raise CellError(f"{what} is {tuple(found.shape)} where {tuple(shape)} is wanted")
    if found.dtype != like.dtype:
        raise CellError(f"{what} is {found.dtype} where {like.dtype} is wanted")
    if found.device != like.device:
        raise CellError(f"{what} is on {found.device} where {like.device} is wanted")
    _check_finite(what, found)


def _check_finite(what: str, found: Tensor | None) -> None:
    if found is not None and not bool(found.isfinite().all()):
        raise CellError(f"{what} has {'NaN' if bool(found.isnan().any()) else 'infinite values'}")


def _check_training(built: Built, name: str) -> None:
    breaks = f"{name} works in inference and breaks in training"
    body = built.model.body
    own = [(part, parameter) for part, parameter in body.named_parameters() if parameter.requires_grad]
    try:
        with torch.enable_grad():
            output, _ = _unchanged(built.model, built.input, built.state, name)
            _check_finite(f"{name}: over the sequence its output", output)
            output.backward(fixed_direction(built.input, output.shape))
    except (CellError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "can't allocate memory" in str(error):  # so says torch on a CPU, and it is no fault of the class
            raise
        said = str(error).strip().splitlines() or [""]
        raise CellError(f"{breaks}: {type(error).__name__}: {said[0]}") from error
    unreached = [_own_name(part) for part, parameter in own if parameter.grad is None]
    if own and len(unreached) == len(own):
        raise CellError(f"{breaks}: no gradient reaches any of its parameters; is its output detached?")
    if unreached:
        raise CellError(f"{breaks}: no gradient reaches {', '.join(dict.fromkeys(unreached))}")
    for part, parameter in own:
        _check_finite(f"{breaks}: the gradient of {_own_name(part)}", parameter.grad)


def _own_name(part: str) -> str:
    """A parameter of a body as its class names it: `cells.0.weight_hh` is `weight_hh`, `layer.weight_hh_l0` too."""
    return part.split(".", 2)[2] if part.startswith("cells.") else part.removeprefix("layer.")


def _unchanged(call: Callable[..., Any], input: Tensor, state: State, name: str, *more: Any) -> Any:
    """What a call gives; raises CellError where it writes into what it is given."""
    given = (input, *leaves(state))
    before = [part.clone() for part in given]
    found = call(input, state, *more)
    for place, (part, old) in enumerate(zip(given, before, strict=True)):
        if not torch.equal(part, old):
            part.copy_(old)
            what = "its input" if place == 0 else "the state that it is given"
            raise CellError(f"{name} changes {what} in place; the next call would get other numbers")
    return found


def _say_if_other(body: Any, built: Built) -> None:
    """Raise CellError where the class has the other of the two signatures."""
    state, asked = _layer_state_of_one(built), built.case.implementation
    is_cell = isinstance(body, Cells)
    module = body.cells[0] if is_cell else body.layer
    try:
        with torch.no_grad():
            fits = _fits_whole(module, built.input, state) if is_cell else _fits_cell(module, built.input[0], state)
    except Exception:  # then it is neither, and what it did the way it was asked to is the news
        return
    if fits:
        found = "runs the whole sequence, as torch.nn.LSTM does" if is_cell else "takes one step, as torch.nn.LSTMCell"
        right = "sequence" if is_cell else "loop"
        raise CellError(
            f'{_name(body)} {found}: its sweep needs implementation = "{right}", and this case has "{asked}"'
        )


def _fits_whole(module: Any, input: Tensor, state: State) -> bool:
    found = module(input, state)
    is_pair = isinstance(found, tuple) and len(found) == 2
    return is_pair and found[0].shape[:2] == input.shape[:2] and _shapes(found[1]) == _shapes(state)


def _fits_cell(module: Any, input: Tensor, state: State) -> bool:
    state = to_cell(state, stacked=False)
    return _shapes(module(input, state)) == _shapes(state)


def _shapes(state: State) -> list[torch.Size]:
    return [part.shape for part in tensors(state)]


def _layer_state_of_one(built: Built) -> State:
    """The state of one layer in one direction, in torch.nn's form."""
    parts = tuple(part[:1] for part in tensors(built.layer_state))
    return parts[0] if isinstance(built.layer_state, Tensor) else parts


def _first_state(built: Built) -> State:
    return to_cell(_layer_state_of_one(built), stacked=False)


def _name(body: Any) -> str:
    return type(body.cells[0] if isinstance(body, Cells) else body.layer).__name__


def _kind(value: Any) -> str:
    """`a tuple of 2`, `a tensor (3, 6)`, `a float`."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{article} {kind} of {len(value)}" if isinstance(value, tuple | list | dict) else f"{article} {kind}"
