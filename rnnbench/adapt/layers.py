"""A module for whole sequences as people write it, called as torch.nn's layers are: `(input, state)` to both.

Beside that form, it may have the batch first, take no state, and give its outputs alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import needed_after_input
from rnnbench.adapt.states import copied, in_usual_form, is_alike, on_trial
from rnnbench.cells.states import each_tensor

STEPS, ROWS = 5, 3  # of a trial, unlike so that they can be told apart


@dataclass(frozen=True)
class LayerCall:
    """How a module is called. One that takes no state gives the state that the call is given."""

    is_batch_first: bool
    takes_state: bool

    def run(self, forward: Callable[..., Any], input: Tensor, state: Any) -> tuple[Any, Any]:
        """A sequence in the usual form: (seq, batch, input) -> (seq, batch, features)."""
        given = input.transpose(0, 1) if self.is_batch_first else input
        result = forward(given, state) if self.takes_state else forward(given)
        outputs = result[0] if isinstance(result, tuple | list) else result
        if self.is_batch_first and isinstance(outputs, Tensor) and outputs.dim() > 1:
            outputs = outputs.transpose(0, 1)
        return outputs, result[1] if self.takes_state else state


@dataclass(frozen=True)
class AdaptedLayer:
    """A module in the usual form, how it is called, and the features of its outputs."""

    module: nn.Module  # as given, with another `forward`; a module that calls it where that can't be replaced
    call: LayerCall
    width: int


def adapt_layer(module: nn.Module, input: Tensor, usual: Any) -> AdaptedLayer | None:
    """Make a module callable in the usual form, if it is not: its `forward` is replaced in this instance.

    `input`: (seq, batch, features); `usual`: a state in torch.nn's form. Returns how it is called, or None if nothing
    had to be changed, or no way was found.
    """
    given = input.flatten(0, 1)
    trial = given[torch.arange(STEPS * ROWS) % len(given)].view(STEPS, ROWS, *given.shape[1:])
    if trial.is_floating_point():
        trial = trial + 0.1 * torch.randn_like(trial)
    state = _of_rows(usual)
    declared = getattr(module, "batch_first", None)
    for takes_state in (True, False) if may_lack_a_state(module) else (True,):
        for is_batch_first in (False, True) if declared is None else (bool(declared),):
            call = LayerCall(is_batch_first, takes_state)
            width = _width(call, on_trial(module), trial, state, by_trial=declared is None)
            if width is not None:
                is_usual = takes_state and not is_batch_first
                return None if is_usual else AdaptedLayer(in_usual_form(module, call), call, width)
    return None


def runs_whole(module: nn.Module, step: tuple[int, ...], usual: Any, *, reads_tokens: bool = False) -> bool:
    """Whether a module on the CPU runs a whole sequence; `usual`: a state in torch.nn's form, for any batch.

    `step`: the shape of one step of one sequence; `reads_tokens`: it is a whole number below `step[0]`.
    """
    if isinstance(module, nn.RNNBase):
        return True
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.get_default_dtype())
    input = torch.randint(step[0], (STEPS, ROWS)) if reads_tokens else torch.randn(STEPS, ROWS, *step, dtype=dtype)
    state = _of_rows(usual)
    calls = (
        LayerCall(is_batch_first, takes_state) for takes_state in (True, False) for is_batch_first in (False, True)
    )
    return any(_width(call, module, input, state, by_trial=False) is not None for call in calls)


def _width(call: LayerCall, module: nn.Module, input: Tensor, state: Any, *, by_trial: bool) -> int | None:
    """Return the features of the outputs; None if a module can't be called like this.

    `by_trial`: no sequence may have an effect on the others, which tells steps from sequences.
    """
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs, new = call.run(module, input.clone(), state)
            fits = outputs.dim() == 3 and outputs.shape[:2] == input.shape[:2]
            if not fits or (call.takes_state and not is_alike(new, state)):
                return None
            if by_trial and not _are_alone(lambda given: call.run(module, given, state)[0], input, dim=1):
                return None
            return int(outputs.shape[-1])
    except Exception:  # whatever a stranger's code raises: another way may fit
        return None


def _are_alone(outputs: Callable[[Tensor], Tensor], input: Tensor, dim: int) -> bool:
    """Return whether a change of the first of these, sequences or steps, leaves the outputs of the others."""
    changed = input.clone()
    first = changed.select(dim, 0)
    first.copy_(first.flip(0) * (2 if first.is_floating_point() else 1))
    parts = (outputs(given).narrow(dim, 1, input.shape[dim] - 1) for given in (input.clone(), changed))
    return torch.equal(*parts)


def reads_batch_first(module: Any, input: Tensor, *state: Any) -> bool | None:
    """Return whether a module reads (batch, seq, ...): its own `batch_first`, else by trial; None if it is not known.

    Changing one sequence leaves the outputs of the others as they were; changing the first step does not.
    """
    declared = getattr(module, "batch_first", None)
    if declared is not None:
        return bool(declared)
    module = getattr(module, "_orig_mod", module)  # a trial of a compiled module would compile it again
    if not isinstance(module, nn.Module) or input.dim() <= 2 or 1 in input.shape[:2]:
        return None

    def outputs(given: Tensor) -> Tensor:
        torch.manual_seed(0)
        result = on_trial(module)(given, *copied(state))
        shown: Tensor = result[0] if isinstance(result, tuple | list) else result
        if shown.shape[:2] != input.shape[:2]:
            raise ValueError("its outputs are of other sizes")
        return shown

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            are_alone = [_are_alone(outputs, input, dim) for dim in (0, 1)]
    except Exception:  # whatever a stranger's code raises
        return None
    return None if are_alone[0] == are_alone[1] else are_alone[0]


def may_lack_a_state(module: nn.Module) -> bool:
    """Return whether a module can be called with the input alone."""
    return not needed_after_input(getattr(module, "forward", module))  # TorchScript with overloads has none


def _of_rows(usual: Any) -> Any:
    """A state of the trial's batch."""
    return each_tensor(usual, lambda part: part[:, :1].expand(-1, ROWS, *part.shape[2:]).contiguous())
