"""Find out what a user's module is: a layer of torch.nn, a cell (one step), or a module that runs sequences itself.

Each is called as torch.nn's layers are, `(input, state)`.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from rnnbench.adapt.calls import (
    Adapted,
    Beginning,
    CellCall,
    beginning,
    can_hoist,
    find_call,
    in_usual_form,
)
from rnnbench.adapt.contract import TRIAL_LENGTH, TRIAL_ROWS, needed_after_input, on_trial, seed
from rnnbench.adapt.first_states import own_first_state, sizes_of
from rnnbench.adapt.refusals import refusal
from rnnbench.adapt.rows import check_rows_apart
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.states import BATCHED, State, is_alike, leaves, rebuilt
from rnnbench.cells.vanilla import VanillaCell

Kind = Literal["layer", "cell", "sequence"]
CellWay = Callable[[Any, Tensor, State], tuple[Tensor, State]]  # (cell, input, state) -> (outputs, state)
CELL_OF: dict[type[nn.Module], type[nn.Module]] = {nn.RNN: VanillaCell, nn.GRU: GRUCell, nn.LSTM: LSTMCell}


@dataclass(frozen=True)
class RunModule:
    """A module as the ways run it."""

    module: nn.Module  # as given; a cell of another form in the usual one, with the given cell in it
    kind: Kind
    like: tuple[Tensor, ...]  # a state of one sequence as torch.nn's layers take it; empty if the module makes its own
    begins_with: Beginning = "zeros"  # without a state
    is_batch_first: bool = False
    example: Tensor | None = None  # an input (seq, batch, ...) that it was called with

    @property
    def given(self) -> Any:
        """The user's own module."""
        return self.module.given if isinstance(self.module, Adapted) else self.module

    def zeros(self, input: Tensor) -> State:
        """Return a state of zeros in torch.nn's form for an input (seq, batch, features); None if it has none."""
        states = tuple(
            part.new_zeros(
                len(part),
                input.shape[1],
                *part.shape[2:],
                dtype=input.dtype if part.is_floating_point() and input.is_floating_point() else None,
                device=input.device,
            )
            for part in self.like
        )
        return states[0] if len(states) == 1 else states or None

    def first_state(self, input: Tensor, state: State = None) -> State:
        """Return the state that a call begins with, for an input (seq, batch, features); `state`: the user's, or None.

        The output may be missing in front of a state that it is no part of. A module that takes its first step without
        a state is given the one after this step. Raises ValueError if the shapes are not those of the module, and if
        the state is missing and the module would go on from its last call.
        """
        if self.kind == "sequence" or (state is None and self.begins_with == "zeros"):
            return self.zeros(input) if state is None else state
        zeros = leaves(self.zeros(input))
        if state is None and self.begins_with == "unknown":
            raise ValueError(
                f"state: {type(self.given).__name__} keeps its own state, so a step without one goes on from the last "
                "call; each call needs a first state, as (input, state)"
            )
        if state is None and self.begins_with == "step":
            return self.first_step(input)[1]
        if state is None:
            # What the cell says it begins with; it is asked in each call, since it may be learned.
            like = input[0] if input.is_floating_point() else zeros[0]
            cell_state = own_first_state(self.given, input[0], like)
            if isinstance(self.module, Adapted):
                state = _in_layers(self.module.call.flat(zeros[0][0], cell_state))
            else:
                state = _in_layers(leaves(cell_state))
        elif self._lacks_output(state):
            state = (zeros[0], *leaves(state))
        shapes = [tuple(part.shape) for part in leaves(state)]
        expected = [tuple(part.shape) for part in zeros]
        if shapes != expected:
            text = f"state: expected {_in_words(expected)} as (layers, batch, ...), found {_in_words(shapes)}"
            raise ValueError(text)
        return state

    def _lacks_output(self, state: State) -> bool:
        """Return whether a state lacks the output of the last step, which comes first in the usual form."""
        if not isinstance(self.module, Adapted) or self.module.call.output_index is not None:
            return False
        return len(leaves(state)) < len(self.like)

    def begins_itself(self, state: State) -> bool:
        """Return whether a call with this state, or None, takes its first step without a state."""
        return state is None and self.kind == "cell" and self.begins_with == "step"

    def first_step(self, input: Tensor) -> tuple[Tensor, State]:
        """Take the first step of an input (seq, batch, features) without a state.

        Returns the output (batch, features), and the state after it as torch.nn takes it.
        """
        result = self.given(input[0])
        parts = leaves(result)
        if isinstance(self.module, Adapted):
            call = self.module.call
            parts = call.flat(*call.split(result))
        return parts[0], _in_layers(parts)

    def run_steps(self, way: CellWay, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a cell by `way` over an input (seq, batch, features), from a state as users give it, or None."""
        if not self.begins_itself(state):
            return way(self.module, input, self.first_state(input, state))
        output, state = self.first_step(input)
        if len(input) == 1:
            return output[None], state
        outputs, final = way(self.module, input[1:], state)
        return torch.cat((output[None], outputs)), final


def _in_words(shapes: Sequence[tuple[int, ...]]) -> str:
    """Return `(1, 3, 8) and (1, 3, 8)` for the shapes of the tensors of a state."""
    return " and ".join(map(str, shapes)) or "none"


def _in_layers(parts: Sequence[Tensor]) -> State:
    """Return a state of one layer, each tensor (batch, ...), as torch.nn's layers take it."""
    return parts[0][None] if len(parts) == 1 else tuple(part[None] for part in parts)


def run_module(module: nn.Module, input: Tensor, state: State) -> RunModule:
    """Find out whether a module is a layer of torch.nn, a cell (one step), or runs a whole sequence itself.

    `input`: (seq, batch, features); `state`: what the user gives with it, as torch.nn's layers take it, or None. A copy
    is called a few times to find out, which may draw random numbers and change settings. Raises ValueError if the state
    does not have the form of torch.nn's, or is not known, and CellError for a cell that mixes the sequences of a batch.
    """
    is_cells = input.dim() >= BATCHED and input.is_floating_point()
    is_usual = is_cells and input.dim() == BATCHED
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)) and not is_usual:
        raise ValueError(
            f"input: expected (seq, batch, features) in floating point for {type(module).__name__}, found "
            f"{tuple(input.shape)} of {input.dtype}"
        )
    if type(module) in CELL_OF:
        return RunModule(module, "layer", _layer_state(module) if state is None else _given_state(input, state))
    cell = None if isinstance(module, nn.RNNBase) or not is_cells else _as_cell(module, input, state)
    if cell is None:
        if state is None and not may_lack_a_state(module):
            otherwise = (
                "it can't be called with an input alone, and is not a cell of a known form: one step, "
                "cell(input, state) -> state or (output, state), for a batch. A cell needs an input (seq, batch, "
                "features). If the module runs whole sequences, give its state with the input, as (input, state)"
            )
            raise ValueError(f"module: {why_no_cell(module, input, otherwise)}")
        like = () if state is None else _given_state(input, state)
        return RunModule(module, "sequence", like)
    return cell


def why_no_cell(module: nn.Module, input: Tensor, otherwise: str) -> str:
    """Return the `refusal` of a module that is no cell of a known form; `input`: (seq, batch, ...)."""
    x = input[0].detach().clone()
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    return refusal(module, x, x.new_zeros(len(x), _sizes(module, x)[0], dtype=dtype), otherwise)


def _as_cell(module: nn.Module, input: Tensor, state: State) -> RunModule | None:
    """Return a module that is a cell, in the usual form; None if it is none. Raises CellError as `find_call`."""
    x = input[0, :1].detach().expand(TRIAL_LENGTH, *input.shape[2:])
    state_tensors = () if state is None else leaves(state)
    calls = (find_call(module, x, x.new_zeros(len(x), size), in_both_modes=True) for size in _sizes(module, x))
    call, first = next(filter(None, calls), (None, ()))
    if call is None:
        return None
    lacks_output = bool(state_tensors) and call.output_index is None and len(state_tensors) == len(first) - 1
    if state_tensors and not lacks_output and len(state_tensors) != len(first):
        return None
    is_known = isinstance(module, nn.RNNCellBase) or can_hoist(module)
    if not _steps_as_cell(module, call, x, first, is_known=is_known):
        return None
    check_rows_apart(module, call.results, x, first)
    begins = beginning(module, x, call, first)
    like = tuple(part[None, :1] for part in first)
    if state_tensors:
        like = like[: int(lacks_output)] + _given_state(input, state, 2)
    copies_state = not can_hoist(module) and _stepped(module, call, x, first)[1]
    if copies_state or not call.is_plain("state"):
        module = Adapted(module, replace(call, copies_state=copies_state))
    return RunModule(module, "cell", like, begins)


def _steps_as_cell(module: nn.Module, call: CellCall, x: Tensor, first: Sequence[Tensor], *, is_known: bool) -> bool:
    """Return whether a step works for fewer sequences, too, and another state gives another result.

    Otherwise rows are layers or steps and not sequences, or the module runs sequences and takes rows, too.
    """
    fewer: Any = None
    with suppress(Exception):
        fewer, _ = _stepped(module, call, x[:TRIAL_ROWS], tuple(part[:TRIAL_ROWS] for part in first))
    if fewer is None or not all(len(part) == TRIAL_ROWS for part in fewer):
        return False
    others = tuple(part + (torch.rand_like(part) if part.is_floating_point() else 1) for part in first)
    x = torch.randn_like(x)
    with suppress(Exception):
        return is_known or not all(
            map(torch.equal, *(_stepped(module, call, x, state)[0] for state in (first, others)))
        )
    return True  # the state has a meaning that other numbers do not have


def _stepped(module: nn.Module, call: CellCall, x: Tensor, state: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], bool]:
    """Return the state after a step of a copy, and whether the step writes into the state before. Seeds torch."""
    seed(0)
    tensors = tuple(part.clone() for part in state)
    before = [part._version for part in tensors]
    with torch.no_grad():
        new = leaves(call.run(on_trial(module), x.clone(), tensors))
    return new, [part._version for part in tensors] != before


def _sizes(module: nn.Module, input: Tensor) -> list[int]:
    """Return sizes that a state may have; the input's if the module has none."""
    return list(sizes_of(module)) or [input.shape[-1]]


def _given_state(input: Tensor, state: State, min_dims: int = 3) -> tuple[Tensor, ...]:
    """Return zeros like the user's state, for one sequence; raises ValueError if the state is of another batch size.

    `min_dims`: 2 if a tensor may hold a number for each sequence.
    """
    parts = leaves(state)
    if any(part.dim() < min_dims or part.shape[1] != input.shape[1] for part in parts):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise ValueError(f"state: expected (layers, {input.shape[1]}, hidden) for each tensor, found {shapes}")
    return tuple(torch.zeros_like(part[:, :1]) for part in parts)


def _layer_state(layer: Any) -> tuple[Tensor, ...]:
    """Return a state of one sequence of a layer of torch.nn."""
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = (layer.proj_size or layer.hidden_size, layer.hidden_size)[: 2 if isinstance(layer, nn.LSTM) else 1]
    return tuple(torch.zeros(layers, 1, size) for size in sizes)


def why_only_as_given(module: nn.Module, kind: Kind) -> str:
    """Return why only a plain call does what the module does now; empty if all ways do.

    Other ways don't call the module itself, and code that was compiled does not see hooks that came later.
    """
    for part in module.modules():
        if part._forward_pre_hooks or part._forward_hooks or part._backward_pre_hooks or part._backward_hooks:
            return f"{type(part).__name__} has hooks, and only a plain call surely runs them"
    if kind == "layer" and type(module) not in CELL_OF:
        return f"its class is now {type(module).__name__}, which has no hand-written cell"
    return ""


# A module for whole sequences as people write it may have the batch first, take no state, and give its outputs alone.


@dataclass(frozen=True)
class LayerCall:
    """How a module is called. One that takes no state gives the state that the call is given."""

    is_batch_first: bool
    takes_state: bool
    width: int = 0  # the features of its outputs, once they are known

    def run(self, forward: Callable[..., Any], input: Tensor, state: Any) -> tuple[Any, Any]:
        """Run a sequence in the usual form: (seq, batch, input) -> (seq, batch, features)."""
        sequence = input.transpose(0, 1) if self.is_batch_first else input
        result = forward(sequence, state) if self.takes_state else forward(sequence)
        outputs = result[0] if isinstance(result, tuple | list) else result
        if self.is_batch_first and isinstance(outputs, Tensor) and outputs.dim() > 1:
            outputs = outputs.transpose(0, 1)
        return outputs, result[1] if self.takes_state else state


def adapt_layer(module: nn.Module, input: Tensor, usual: Any) -> tuple[nn.Module, LayerCall] | None:
    """Make a module callable in the usual form, if it is not: its `forward` is replaced in this instance.

    `input`: (seq, batch, features); `usual`: a state in torch.nn's form. Returns the module, or one that calls it where
    its `forward` can't be replaced, and how it is called; None if nothing had to be changed, or no way was found.
    Raises CellError if it mixes the sequences of a batch.
    """
    steps = input.flatten(0, 1)
    trial = steps[torch.arange(TRIAL_LENGTH * TRIAL_ROWS) % len(steps)].view(TRIAL_LENGTH, TRIAL_ROWS, *steps.shape[1:])
    if trial.is_floating_point():
        trial = trial + 0.1 * torch.randn_like(trial)
    call = _find_layer_call(on_trial(module), trial, usual)
    layer_call = call or LayerCall(is_batch_first=False, takes_state=True)
    state = tree_map(lambda part: part[:, :1].expand(-1, TRIAL_ROWS, *part.shape[2:]).transpose(0, 1), usual)

    def results(forward: nn.Module, x: Tensor, parts: tuple[Tensor, ...]) -> list[Tensor]:
        layer_state = rebuilt(state, iter([part.transpose(0, 1).contiguous() for part in parts]))
        return [layer_call.run(forward, x.transpose(0, 1), layer_state)[0].transpose(0, 1)]

    check_rows_apart(module, results, trial.transpose(0, 1), leaves(state))
    return None if call is None or call == LayerCall(False, True, call.width) else (in_usual_form(module, call), call)


def runs_whole(module: nn.Module, step: tuple[int, ...], usual: Any, *, reads_tokens: bool = False) -> bool:
    """Return whether a module on the CPU runs a whole sequence; `usual`: a state in torch.nn's form, for any batch.

    `step`: the shape of one step of one sequence; `reads_tokens`: it is a whole number below `step[0]`.
    """
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.get_default_dtype())
    if reads_tokens:
        input = torch.randint(step[0], (TRIAL_LENGTH, TRIAL_ROWS))
    else:
        input = torch.randn(TRIAL_LENGTH, TRIAL_ROWS, *step, dtype=dtype)
    return isinstance(module, nn.RNNBase) or _find_layer_call(module, input, usual) is not None


def _find_layer_call(module: nn.Module, input: Tensor, usual: Any) -> LayerCall | None:
    """Return how a module runs a sequence (TRIAL_LENGTH, TRIAL_ROWS, ...); None if no way is found."""
    state = tree_map(lambda part: part[:, :1].expand(-1, TRIAL_ROWS, *part.shape[2:]).contiguous(), usual)
    declared = getattr(module, "batch_first", None)
    for takes_state in (True, False) if may_lack_a_state(module) else (True,):
        for is_batch_first in (False, True) if declared is None else (bool(declared),):
            call = LayerCall(is_batch_first, takes_state)
            if (width := _width(call, module, input, state, by_trial=declared is None)) is not None:
                return replace(call, width=width)
    return None


def _width(call: LayerCall, module: Callable[..., Any], input: Tensor, state: Any, *, by_trial: bool) -> int | None:
    """Return the number of features of the outputs; None if a module can't be called in this way.

    `by_trial`: also require that no sequence has an effect on the others, which tells steps from sequences.
    """
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs, new = call.run(module, input.clone(), state)
            fits = outputs.dim() == 3 and outputs.shape[:2] == input.shape[:2]
            if not fits or (call.takes_state and not is_alike(new, state)):
                return None
            changed = input.clone()
            changed[:, 0] = changed[:, 0].flip(0) * (2 if changed.is_floating_point() else 1)
            if by_trial and not torch.equal(call.run(module, changed, state)[0][:, 1:], outputs[:, 1:]):
                return None  # a change of the first sequence has an effect on the others
            return int(outputs.shape[-1])
    except Exception:  # whatever a stranger's code raises: another way may fit
        return None


def may_lack_a_state(module: nn.Module) -> bool:
    """Return whether a module can be called with the input alone."""
    return not needed_after_input(getattr(module, "forward", module))  # TorchScript with overloads has none
