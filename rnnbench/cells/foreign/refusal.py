"""Why a module can't be called as a cell: the likely cause, and what the module itself raises."""

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells.foreign.signatures import needed_after_input
from rnnbench.cells.foreign.structures import copied, on_trial, tensors_of
from rnnbench.cells.foreign.trials import is_of_state
from rnnbench.raised import place
from rnnbench.text import error_in_words

OF_FRAMES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MATRIX = 2  # dimensions of (batch, features)


def last_exception(cell: nn.Module, input: Tensor, state: Any) -> str:
    """Return what a plain step with a state of the usual form raises, or one without a state; empty if both work."""
    error: Exception | None = None
    for arguments in ((input,), (input, state)):
        try:
            with torch.no_grad():
                on_trial(cell)(*copied(arguments))
        except Exception as raised:  # whatever a stranger's code raises
            error = raised
    return "" if error is None else f"{error_in_words(error)}{place(error)}"


def likely_cause(cell: nn.Module, input: Tensor, h: Tensor) -> str:
    """Return why a step of a cell fails, as a clause that says what to do; empty if no cause is known.

    `input`: (batch, ...); `h`: a tensor of a state of the usual form.
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
