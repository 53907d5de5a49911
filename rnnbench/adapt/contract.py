"""What a user's own class must do before its time means anything; each fault is reported in one line, with its cause.

`cell(input, state) -> state` for one step, with `input`: (batch, input) and each tensor of the state (batch, hidden);
or `module(input, state) -> (outputs, state)` for a whole sequence, with `input`: (seq, batch, input), `outputs`:
(seq, batch, hidden) and each tensor of the state (num_layers * directions, batch, hidden).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.building import needed_after_input, parameters_of
from rnnbench.adapt.calls import is_of_state
from rnnbench.adapt.states import copied, on_trial, tensors_of
from rnnbench.cells import CellError
from rnnbench.cells.states import State, each_tensor, leaves, tensor_names, tensors, to_cell
from rnnbench.raised import place
from rnnbench.text import error_in_words

OF_FRAMES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MATRIX = 2  # dimensions of (batch, features)


def check_signature(
    module: Any, input: Tensor, layer_state: State, width: int, implementation: str, *, is_cell: bool
) -> None:
    """Call a module once, by itself, and check what it returns. Raises CellError, and whatever the module raises.

    `input`: (seq, batch, ...); `layer_state`: in torch.nn's form; `width`: the features of the outputs.
    """
    name, of_one = type(module).__name__, each_tensor(layer_state, lambda part: part[:1])  # one layer and direction
    state, given = (to_cell(of_one, stacked=False), input[0]) if is_cell else (layer_state, input)
    try:
        with torch.no_grad():
            result = unchanged(module, given, state, name)
            if is_cell:
                _check_state(f"{name}: its new", result, state)
                if implementation != "loop" and hasattr(module, "advance"):  # one step as `hoisted` computes it
                    in_two = unchanged(lambda x, h: module.advance(module.project(x), h), given, state, name)
                    _check_state(f"{name}: its new", in_two, state)
                return
        if not isinstance(result, tuple) or len(result) != 2:
            raise CellError(f"{name} returns {_kind(result)}; expected (outputs, state)")
        _check_tensor(f"{name}: its output", result[0], (*input.shape[:2], width), tensors(state)[0])
        _check_state(f"{name}: its final", result[1], state)
    except Exception as error:
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
    state = layer_state if is_cell else to_cell(layer_state, stacked=False)
    with suppress(Exception), torch.no_grad():  # else the error of the requested signature is the one to report
        result = module(input if is_cell else input[0], state)
        outputs, final = result if is_cell else (input, result)
        shapes = [[part.shape for part in tensors(each)] for each in (final, state)]
        return shapes[0] == shapes[1] and bool(outputs.shape[:2] == input.shape[:2])
    return False


def _check_state(what: str, state: Any, like: State) -> None:
    """Check form, shapes, types and values of a state against another state."""
    wanted = tensors(like)
    names = tensor_names(len(wanted), has_c=True)
    parts: Sequence[Any] = state if isinstance(state, tuple | list) else ()
    if len(wanted) == 1:
        parts = (state,)
    elif len(parts) != len(wanted):
        raise CellError(f"{what} state is {_kind(state)}; expected ({', '.join(names)})")
    for name, part, tensor in zip(names, parts, wanted, strict=False):
        _check_tensor(f"{what} {name}", part, tensor.shape, tensor)


def _check_tensor(what: str, value: Any, shape: Sequence[int], like: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise CellError(f"{what} is {_kind(value)}; expected a tensor {tuple(shape)}")
    pairs = (("", tuple(value.shape), tuple(shape)), ("", value.dtype, like.dtype), ("on ", value.device, like.device))
    for where, found, wanted in pairs:
        if found != wanted:
            raise CellError(f"{what} is {where}{found}; expected {wanted}")
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


def _kind(value: Any) -> str:
    """`a tuple of 2`, `a tensor (3, 6)`, `a float`."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{article} {kind} of {len(value)}" if isinstance(value, tuple | list | dict) else f"{article} {kind}"


def last_exception(module: nn.Module, input: Tensor, state: Any) -> str:
    """Return what a plain call raises, with a state if the module takes one; empty if it works."""
    takes_state = len(parameters_of(getattr(module, "forward", module))) != 1
    try:
        with torch.no_grad():
            on_trial(module)(*copied((input, state) if takes_state else (input,)))
    except Exception as error:  # whatever a stranger's code raises
        return f"{error_in_words(error)}{place(error)}"
    return ""


def likely_cause(cell: nn.Module, input: Tensor, h: Tensor | None) -> str:
    """Return why a call of a module fails, as a clause that says what to do; empty if no cause is known.

    `input`: (batch, ...) of a cell; `h`: a tensor of its state in the usual form, None for a module of whole sequences.
    """
    strange = [name for name in needed_after_input(getattr(cell, "forward", cell))[1:] if not is_of_state(name)]
    if strange:
        name = strange[0]
        return (
            f"it needs `{name}`, which is not known to be a state: give it a value in a subclass, "
            f"def forward(self, input, state, {name}=1.0); if it is a state, call it c, or add init_state(batch_size)"
        )
    kinds: set[type[nn.Module]] = {type(part) for part in cell.modules()}
    if input.is_floating_point() and nn.Embedding in kinds:
        return "it has an Embedding, so it reads whole numbers: rnnbench run --input tokens:100"
    if h is None:
        return ""
    if frames := kinds & set(OF_FRAMES):
        has = f"it has a {frames.pop().__name__}, "
        if input.dim() == MATRIX:
            return f"{has}so it reads frames: rnnbench run --input frames:3x8x8"
        return f"{has}and its output must be (batch, features): add a layer that makes these of a frame"
    causes = {
        "it keeps its state in itself from call to call: take the state as an argument and return it": _keeps_state,
        "its result does not depend on the state that it is given: use the state in the step": _ignores_state,
    }
    return next((cause for cause, applies in causes.items() if applies(cell, input, h)), "")


def _keeps_state(cell: nn.Module, input: Tensor, _h: Tensor) -> bool:
    """Return whether the second of two calls changes a tensor that the module holds, in evaluation."""
    trial, kept = on_trial(cell).eval(), []
    with suppress(Exception), torch.no_grad():
        for _ in range(2):
            trial(torch.rand_like(input))
            held = [value for part in trial.modules() for value in (*part.buffers(recurse=False), *vars(part).values())]
            kept.append([value.clone() for value in held if isinstance(value, Tensor)])
        return not all(map(torch.equal, *kept))
    return False


def _ignores_state(cell: nn.Module, input: Tensor, h: Tensor) -> bool:
    """Return whether a step gives the same for a state of zeros and of ones."""
    zeros, ones = torch.zeros_like(h), torch.ones_like(h)
    for forms in (((zeros,), (ones,)), (((zeros,) * 2,), ((ones,) * 2,)), ((zeros,) * 2, (ones,) * 2)):
        with suppress(Exception), torch.no_grad():
            return all(map(torch.equal, *(tensors_of(on_trial(cell)(input.clone(), *copied(form))) for form in forms)))
    return False
