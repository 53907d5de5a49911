"""Why a module can't be called as a cell: the likely cause, and what the module itself raises."""

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.building import needed_after_input, parameters_of
from rnnbench.adapt.calls import is_of_state
from rnnbench.adapt.states import copied, on_trial, tensors_of
from rnnbench.raised import place
from rnnbench.text import error_in_words

OF_FRAMES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MATRIX = 2  # dimensions of (batch, features)


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
