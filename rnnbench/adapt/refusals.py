"""Check what a module must do before its time means anything, and find the likely cause if it does not.

Each message is one line that also says what would be right.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from rnnbench.adapt.calls import why_no_call
from rnnbench.adapt.contract import (
    check_form,
    form_of,
    is_of_state,
    needed_after_input,
    on_trial,
    parameters_of,
    seed,
    unchanged,
)
from rnnbench.adapt.first_states import FRAME_DIMS, state_parameters
from rnnbench.cells import CellError
from rnnbench.cells.states import State, copied, leaves, tensors_of, to_cell
from rnnbench.text import error_in_words, listed, place

UNFIT = "shapes cannot be multiplied"  # in torch's error of a product of unlike sizes
FRAME_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def check_signature(
    module: Any, input: Tensor, layer_state: State, width: int, implementation: str, *, is_cell: bool
) -> None:
    """Call a module once, by itself, and check what it returns. Raises CellError, and whatever the module raises.

    `input`: (seq, batch, ...); `layer_state`: in torch.nn's form; `width`: the features of the outputs.
    """
    name = type(module).__name__
    of_one = tree_map(lambda part: part[:1], layer_state)  # one layer and direction
    state = to_cell(of_one, stacked=False) if is_cell else layer_state
    call_input = input[0] if is_cell else input
    try:
        with torch.no_grad():
            result = unchanged(module, call_input, state, name)
            if is_cell:
                check_form(f"{name}: its new state", result, state)
                if implementation != "loop" and hasattr(module, "advance"):  # one step as `hoisted` computes it
                    in_two = unchanged(lambda x, h: module.advance(module.project(x), h), call_input, state, name)
                    check_form(f"{name}: its new state", in_two, state)
                return
        if not isinstance(result, tuple) or len(result) != 2:
            raise CellError(f"{name} returns {form_of(result)}; expected (outputs, state)")
        outputs = leaves(state)[0].new_empty(*input.shape[:2], width)
        check_form(f"{name}: its output", result[0], outputs)
        check_form(f"{name}: its final state", result[1], state)
    except Exception as error:
        if _fits_other(module, input, of_one, is_cell=is_cell):
            form = "takes one step, as torch.nn.LSTMCell does"
            right = "loop"
            option = "give rnnbench run no --sequence"
            if is_cell:
                form = "runs the whole sequence, as torch.nn.LSTM does"
                right = "sequence"
                option = "give rnnbench run --sequence"
            raise CellError(
                f'{name} {form}, and this case has the implementation "{implementation}": {option}, or write '
                f'implementation = "{right}" into its sweep'
            ) from None
        if why := refusal(module, call_input, state, is_cell=is_cell):
            raise CellError(why) from error
        raise


def _fits_other(module: Any, input: Tensor, layer_state: State, *, is_cell: bool) -> bool:
    """Return whether a module has the other of the two signatures."""
    state = layer_state if is_cell else to_cell(layer_state, stacked=False)
    with suppress(Exception), torch.no_grad():  # else the error of the requested signature is the one to report
        result = module(input if is_cell else input[0], state)
        outputs, final = result if is_cell else (input, result)
        shapes = [[part.shape for part in leaves(each)] for each in (final, state)]
        return shapes[0] == shapes[1] and bool(outputs.shape[:2] == input.shape[:2])
    return False


def refusal(module: nn.Module, input: Tensor, state: Any, otherwise: str = "", *, is_cell: bool = True) -> str:
    """Return why a module can't be run: the likely cause, or else `otherwise`, and its last exception.

    `input`: (batch, ...) of a cell, else of a whole sequence; `state`: left out if the module takes none.
    """
    name = type(module).__name__
    forward = getattr(module, "forward", module)
    error: Exception | None = None
    try:
        with torch.no_grad():
            on_trial(module)(*copied((input, state) if len(parameters_of(forward)) != 1 else (input,)))
    except Exception as raised:  # whatever a stranger's code raises
        error = raised
    cause = _likely_cause(module, forward, input, is_cell=is_cell) if error else ""
    if not cause and error and UNFIT in str(error):
        cause = f"its weights fit no input {form_of(input)} with a state {form_of(state)}"
    why = f"{name} can't be called: {cause}" if cause else ""
    if not why and is_cell:
        cause, furthest = _cause_in_state(module, forward, input, state, error, is_known_cell=not otherwise)
        if cause:
            return f"{name}: {cause}"
        if error and furthest and not otherwise and _in_words(furthest) != _in_words(error):  # it depends on the state
            error = furthest
            why = f"{name}: no first state was found by trial; add a method init_state(batch_size) that returns it"
    why = why or otherwise
    return f"{why}. Its last exception: {_in_words(error)}" if why and error else why


def _in_words(error: Exception) -> str:
    """Return an exception as `KeyError: 'h' (file.py:12)`."""
    return f"{error_in_words(error)}{place(error)}"


def _likely_cause(module: nn.Module, forward: Callable[..., object], input: Tensor, *, is_cell: bool) -> str:
    """Return why a call fails, as a clause that says what to do; empty if no cause is known."""
    names = needed_after_input(forward)
    strange = [name for name in names[1:] if not is_of_state(name)]
    if any(map(is_of_state, names[1:])) and not is_of_state(names[0]):
        strange = names[:1]  # a second input, before the state
    if strange:
        name = strange[0]
        return (
            f"it needs `{name}`, which is not known to be a state: give it a value in a subclass, "
            f"def forward(self, input, state, {name}=1.0); if it is a state, call it c, or add init_state(batch_size)"
        )
    kinds: set[type[nn.Module]] = {type(part) for part in module.modules()}
    if input.is_floating_point() and nn.Embedding in kinds:
        return "it has an Embedding, so it reads whole numbers: rnnbench run --input tokens:100"
    if is_cell and input.dim() < FRAME_DIMS and (frames := kinds & set(FRAME_LAYERS)):
        return f"it has a {frames.pop().__name__}, so it reads frames: rnnbench run --input frames:3x8x8"
    return ""


def _cause_in_state(
    module: nn.Module,
    forward: Callable[..., object],
    input: Tensor,
    state: Any,
    raised: Exception | None,
    *,
    is_known_cell: bool,
) -> tuple[str, Exception | None]:
    """Return what is wrong with a cell's state, as a clause; else empty, and the exception of the furthest trial.

    `raised`: by a plain call; `is_known_cell`: else a module that takes no state may run whole sequences.
    """
    names, _ = state_parameters(module)
    if len(parameters_of(forward)) == 1:
        if _keeps_state(module, input):
            return (
                "it keeps its own state from call to call, so two sequences can't begin alike; take the state as an "
                "argument and return it, def forward(self, input, state)"
            ), None
        if is_known_cell:
            last = f". Its last exception: {_in_words(raised)}" if raised else ""
            return (
                "its forward takes no state; a cell takes one, def forward(self, input, state), and a module that runs "
                f"whole sequences is run with --sequence{last}"
            ), None
    failure = why_no_call(module, input, state)
    error = failure.error
    change = failure.change or (failure.structure if raised and is_known_cell else "")
    if change:
        return f"{change}, so no step can go on from it; expected a state of equal form before and after", None
    required = needed_after_input(forward)
    if error is not None and len(required) > 1 and all(map(is_of_state, required)):
        count = NUMBER_WORDS.get(len(required), len(required))
        return (
            f"it takes {count} state arguments ({listed(names[: len(required)])}), and no sizes of them that fit "
            "were found; add a method init_state(batch_size) that returns all of them. Its last exception: "
            f"{_in_words(error)}"
        ), None
    return "", error


def _keeps_state(module: nn.Module, input: Tensor) -> bool:
    """Return whether a second call with the same input gives something else, though random numbers are the same."""
    trial = on_trial(module)
    if trial is module:
        return False
    results = []
    with suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):  # whatever a stranger's code raises
        for _ in range(2):
            seed(0)
            results.append([tensor.clone() for tensor in tensors_of(trial(input.clone()))])
    return len(results) > 1 and not all(map(torch.equal, *results))
