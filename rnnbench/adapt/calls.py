"""Find out by trial how a cell's step is called: people write it in many ways.

Beside the usual form, `cell(input, state) -> state`, a cell may

- return `(output, state)`, or `(output, h, c)` where it takes `h` and `c` as arguments of their own;
- take no state in the first step;
- keep a state of any structure and any sizes.

The state comes from the cell's own `initial_state`, `init_hidden` and the like, from its `state_size`, or from a first
step without a state. Of several calls that work, the one that depends on most parameters is chosen.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import form_of, is_of_state, on_trial, seed, shaken
from rnnbench.adapt.first_states import FRAME_DIMS, INITIAL, first_states, own_first_state, state_parameters
from rnnbench.adapt.forms import STEP_FORMS, Giving
from rnnbench.adapt.rows import check_rows_apart
from rnnbench.cells import CellError
from rnnbench.cells.states import copied, getters_of, is_alike, leaves, rebuilt, tensors_of
from rnnbench.text import error_in_words, last_frame

Taking = Literal["second", "apart"]  # the state: as second argument, or each tensor by itself
Beginning = Literal["zeros", "own", "step", "unknown"]  # of a sequence: see `beginning`
CALL_ATTRIBUTE = "_rnnbench_call"  # of a module: how it is called
LOG = logging.getLogger("rnnbench")
MIN_ROWS = 3


@dataclass(frozen=True)
class CellCall:
    """How a cell is called. Its state is passed around as a flat tuple of tensors, the output first."""

    like: Any  # a state in the cell's own structure
    taking: Taking
    giving: Giving
    output_index: int | None = 0  # the tensor of the state that is the output too; None if the output is none of them
    batch_dims: tuple[int, ...] = ()  # which dimension of each tensor of the cell's own state is the batch
    copies_state: bool = False  # the cell writes into its state: outputs of earlier steps may be the same tensor
    flattens: bool = False  # the output is a frame for each sequence, and is passed around as (batch, features)

    def is_plain(self, giving: Giving) -> bool:
        """Return whether a step takes a usual state, which begins with the output, and returns one in this form."""
        return (self.taking, self.giving, self.output_index) == ("second", giving, 0) and self._is_flat

    @cached_property
    def _is_flat(self) -> bool:
        """Whether the cell's state is a tensor or a tuple of tensors, which needs no rebuilding in each step."""
        return not any(self.batch_dims) and (
            isinstance(self.like, Tensor)
            or (type(self.like) is tuple and all(isinstance(part, Tensor) for part in self.like))
        )

    @cached_property
    def getters(self) -> tuple[Callable[[Any], Tensor], ...]:
        """Functions that get each tensor of a cell's state; empty if it is nested, or if the batch is not in front."""
        return () if any(self.batch_dims) else getters_of(self.like)

    def run(self, forward: Callable[..., Any], input: Tensor, state: Any) -> Any:
        """Run one step in the usual form."""
        parts = (state,) if isinstance(state, Tensor) else state
        cell_state = self.cell_state(tuple(part.clone() for part in parts) if self.copies_state else parts)
        flat = self.flat(*self.split(self.result(forward, input, cell_state)))
        return flat[0] if len(flat) == 1 else flat

    def results(self, forward: Callable[..., Any], input: Tensor, state: Any) -> tuple[Tensor, ...]:
        """Return all tensors that a step gives, the output first."""
        return leaves(self.run(forward, input, state))

    def result(self, forward: Callable[..., Any], input: Tensor, state: Any) -> Any:
        """Return what a step returns for a state of the cell."""
        return forward(input, state) if self.taking == "second" else forward(input, *state)

    def split(self, result: Any) -> tuple[Any, Any]:
        """Return the output and the state of a step's result; the output is None where the step gives only a state."""
        return STEP_FORMS[self.giving].split(result, self.like)

    def flat(self, output: Tensor | None, state: Any) -> tuple[Tensor, ...]:
        """Return a state of the cell as a flat tuple, the output first."""
        if not self._is_flat:
            tensors = batch_in_front(tensors_of(state, self.like), self.batch_dims)
        else:
            tensors = (state,) if isinstance(state, Tensor) else tuple(state)
        if self.output_index is None:
            first = tensors[0] if output is None else output
            return (first.flatten(1) if self.flattens else first), *tensors
        index = self.output_index
        return (tensors[index], *tensors[:index], *tensors[index + 1 :]) if index else tensors

    def cell_state(self, parts: tuple[Tensor, ...]) -> Any:
        """Invert `flat`: return a state in the cell's own structure, without the output if that is no part of it."""
        index = self.output_index
        if index is None:
            parts = parts[1:]
        elif index:
            parts = (*parts[1 : index + 1], parts[0], *parts[index + 1 :])
        if not self._is_flat:
            pairs = zip(parts, self.batch_dims, strict=True)
            return rebuilt(self.like, (part.movedim(0, dim) if dim else part for part, dim in pairs))
        return parts[0] if isinstance(self.like, Tensor) else parts


def batch_in_front(tensors: Sequence[Tensor], batch_dims: Sequence[int]) -> tuple[Tensor, ...]:
    """Return tensors with the batch as their first dimension; `batch_dims`: the dimension where it is now."""
    return tuple(part.movedim(dim, 0) if dim else part for part, dim in zip(tensors, batch_dims, strict=True))


def can_hoist(cell: nn.Module) -> bool:
    """Return whether a cell separates the part that does not depend on the state, and needs no call of itself.

    Hooks run in calls alone: those of pruning and of the older `weight_norm` make the weights.
    """
    has_hooks = bool(cell._forward_pre_hooks or cell._forward_hooks)
    return hasattr(cell, "project") and hasattr(cell, "advance") and not has_hooks


class Adapted(nn.Module):
    """A module that calls another one in the usual form, `(input, state)`; the other one stays as it is."""

    def __init__(self, given: nn.Module, call: Any) -> None:
        super().__init__()
        self.given = given
        self.call = call

    def forward(self, input: Tensor, state: Any) -> Any:
        """Run one step, or a sequence."""
        return self.call.run(self.given, input, state)


def run_by_attribute(self: Any, input: Tensor, state: Any) -> Any:
    """Return the `forward` of a module that is called as its attribute CALL_ATTRIBUTE says."""
    return getattr(self, CALL_ATTRIBUTE).run(MethodType(type(self).forward, self), input, state)


def in_usual_form(module: nn.Module, call: Any, forward: Callable[..., Any] = run_by_attribute) -> nn.Module:
    """Replace the `forward` of this module, or return a module that calls it if it is of TorchScript."""
    if isinstance(module, torch.jit.ScriptModule):
        return Adapted(module, call)
    setattr(module, CALL_ATTRIBUTE, call)
    module.forward = MethodType(forward, module)
    return module


class OtherForm(CellError):
    """A step works, but the state after it has another form than the one before: other sizes, or another structure."""

    def __init__(self, change: str, state: Any) -> None:
        """`change`: how the sizes change; empty if the structure does. `state`: the one after the step."""
        super().__init__(change)
        self.change = change
        self.state = state


def adapt(cell: nn.Module, input: Tensor, usual: Any) -> tuple[nn.Module, tuple[Tensor, ...] | None]:
    """Make a cell callable in the usual form, if it is not: the `forward` of this instance is replaced.

    `input`: (batch, features); `usual`: the state that it gets if it is usual. Returns the cell, or a module that calls
    it where its `forward` can't be replaced, and the first state in the form in which it is passed around, each tensor
    (batch, ...), or None if no way was found. Raises CellError if the cell gives a first state that is not made of
    tensors, or mixes the sequences of a batch.
    """
    call_and_state = find_call(cell, input, usual)
    if call_and_state is None:
        return cell, None
    call, first = call_and_state
    check_rows_apart(cell, call.results, input, first)
    if not call.is_plain("state"):
        cell = in_usual_form(cell, call, _state_of_pair if call.is_plain("output, state") else run_by_attribute)
    return cell, first


def find_call(
    cell: nn.Module, input: Tensor, usual: Any, *, in_both_modes: bool = False
) -> tuple[CellCall, tuple[Tensor, ...]] | None:
    """Return how a cell is called, and its first state; None if no way was found. Arguments and errors as of `adapt`.

    `in_both_modes`: the call must be right in training and in evaluation. The output may be a tensor of the state in
    one mode alone, as with dropout between the two: then it is kept apart.
    """
    best = None
    most = -1
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for trial, rows, candidate in _candidates(cell, input, usual):
            try:
                attempt = _try_call(trial, rows, candidate, in_both_modes)
            except Exception as fault:  # whatever a stranger's code raises: another way may fit
                LOG.debug("%s can't be called so, %s: %s", type(cell).__name__, candidate, error_in_words(fault))
                continue
            if attempt.reach > most:
                first = tuple(part[: len(input)].detach().clone() for part in attempt.first_state)
                best = (attempt.call, first)
                most = attempt.reach
            if most == len(list(cell.parameters())):
                break
    return best


def _candidates(cell: nn.Module, input: Tensor, usual: Any) -> Iterator[tuple[nn.Module, Tensor, CellCall]]:
    """Yield ways to call a cell, each with a copy of the cell and an input."""
    h = tensors_of(usual)[0]
    declared_state = own_first_state(on_trial(cell), input, h)
    if declared_state is None or is_alike(declared_state, usual):
        yield on_trial(cell), input, CellCall(copied(usual), "second", "state")
    names, has_default = state_parameters(cell)
    if not names:
        return
    # In a small batch, a sequence without a batch would look like a step.
    rows = input if len(input) >= MIN_ROWS else input[:1].expand(MIN_ROWS, *input.shape[1:])
    ways: list[Taking] = ["second"]
    if len(names) > 1:  # what is not given to a cell that keeps its state itself would be what it kept
        ways = ["apart"] if is_of_state(names[1]) else ["second", "apart"]
    trial = on_trial(cell)
    for state in map(copied, first_states(trial, rows, h, has_default=has_default)):  # a learned one is a view
        for taking, giving in product(ways, STEP_FORMS):
            is_one = not isinstance(state, tuple | list)
            if is_one and (taking == "apart" or giving == "*state, *more"):
                continue
            if (
                taking == "apart"
                and not STEP_FORMS[giving].has_output
                and declared_state is None
                and not all(map(is_of_state, names[1:]))
            ):
                continue  # (output, h) looks like (h, c), and the argument may be a time span or a mask
            yield trial, rows, CellCall(state, taking, giving)


def beginning(cell: nn.Module, input: Tensor, call: CellCall, first: Sequence[Tensor]) -> Beginning:
    """Return what a sequence begins with where no state is given.

    `input`: (batch, features); `call` and `first` as `find_call` returns them. `own`: a function of the cell gives the
    first state, which may be learned. `step`: the cell takes its first step without a state, and this is no step from
    zeros, whatever the values of its parameters and buffers are now. A cell that says nothing of its first state begins
    with zeros, as torch.nn's do. `unknown`: a step without a state goes on from the last one, since the cell keeps it.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if own_first_state(on_trial(cell), input, first[0]) is not None:
            return "own" if any(callable(getattr(cell, name, None)) for name in INITIAL) else "zeros"
        if not state_parameters(cell)[1]:
            return "zeros"
        trial = shaken(cell)
        try:
            without = tensors_of(copied(trial(input.clone())))
            seed(0)  # as for the step before
            again = tensors_of(trial(input.clone()))
        except Exception:  # whatever a stranger's code raises: then it is always called with a state
            return "zeros"
        zeros = call.cell_state(tuple(map(torch.zeros_like, first)))
        if all(map(torch.equal, without, tensors_of(call.result(shaken(cell), input.clone(), zeros)))):
            return "zeros"
    return "step" if all(map(torch.equal, without, again)) else "unknown"


def _state_of_pair(self: Any, input: Tensor, state: Any) -> Any:
    """Return the state of (output, state): a path of its own, since a microsecond counts in a small cell's step."""
    return type(self).forward(self, input, state)[1]


@dataclass(frozen=True)
class CallTrial:
    """A way to call a cell that works."""

    call: CellCall
    first_state: tuple[Tensor, ...]
    reach: int  # the number of parameters on which a result depends


def _try_call(cell: nn.Module, input: Tensor, call: CellCall, in_both_modes: bool) -> CallTrial:
    """Try a way of `_candidates` on other numbers than `input`, since zeros would hide what a result depends on.

    The call that it returns also says what the output is, and where the batch is. Raises CellError if the state after a
    step does not have the form of the one before it, or the output is no row for each sequence; and whatever the cell
    raises.
    """
    x = torch.randn_like(input) if input.is_floating_point() else input

    def after_two(by: nn.Module) -> list[Tensor]:
        """Return the state and the output after two steps; after one step from zeros, unlike parts may be equal."""
        seed(0)  # the same random numbers, such as those of dropout, each time
        output = None
        new = call.like
        for _ in range(2):
            output, new = call.split(call.result(by, x.clone(), copied(new)))
            if not is_alike(new, call.like):
                raise OtherForm(_change_of_form(new, call.like), new)
        results = [*tensors_of(new, call.like), *([] if output is None else [output])]
        return [each.clone() for each in results]

    results = after_two(cell)
    reached = _reach(cell, results, after_two)
    has_output = STEP_FORMS[call.giving].has_output
    parts = results[:-1] if has_output else results
    dims = tuple(part.shape[:2].index(len(x)) for part in parts)  # the second behind that of layers
    output = results[-1]
    output_index = None
    is_of_frames = x.dim() >= FRAME_DIMS
    if not has_output:  # the first vector that depends on most parameters is the output, too
        vectors = [i for i, part in enumerate(parts) if part.dim() == 2]
        if vectors or not is_of_frames:
            output_index = max(vectors, key=reached.__getitem__)
        else:
            output = parts[0]
    elif len(output) != len(x) or output.dim() < 2 or (output.dim() > 2 and not is_of_frames):
        raise CellError("the output does not have one row for each sequence")
    else:  # also with other parameters: an output that is the state times a gain of 1 is another tensor
        *changed, other = after_two(shaken(cell, in_other_mode=in_both_modes))
        pairs = zip(batch_in_front(parts, dims), batch_in_front(changed, dims), strict=True)
        is_output = [torch.equal(one, output) and torch.equal(two, other) for one, two in pairs]
        output_index = is_output.index(True) if any(is_output) else None
    flattens = output.dim() > 2 and (output_index is None or parts[output_index].dim() > 2)
    if flattens:  # it is kept apart, even if it is a frame of the state
        output_index = None
    call = replace(call, output_index=output_index, batch_dims=dims, flattens=flattens)
    return CallTrial(call, call.flat(torch.zeros_like(output), call.like), max(reached))


def _change_of_form(new: Any, like: Any) -> str:
    """Return how a step has changed the sizes of a state; empty if it has changed more than sizes."""
    try:
        pairs = list(zip(tensors_of(like), tensors_of(new, like), strict=True))
    except (CellError, KeyError, ValueError):
        return ""
    for old, part in pairs:
        if old.dim() != part.dim() or old.dim() < 2:
            return ""
        if len(old) != len(part):
            change = "grew" if len(part) > len(old) else "shrank"
            return f"its state {change} from {len(old)} to {len(part)} rows in a step"
        if old.shape != part.shape:
            return f"its state changes from {tuple(old.shape)} to {tuple(part.shape)} in a step"
    return ""


@dataclass
class FailedTrials:
    """Why no call of a cell works, as far as trials show."""

    change: str = ""  # of the sizes of its state in a step that works
    structure: str = ""  # of what a step returns that works and returns something else
    error: Exception | None = None  # of the trial that got furthest


def why_no_call(cell: nn.Module, input: Tensor, usual: Any) -> FailedTrials:
    """Return why no call of a cell works; all fields are empty if one works. The arguments are those of `adapt`."""
    failure = FailedTrials()
    furthest = -1
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for trial, rows, candidate in _candidates(cell, input, usual):
            try:
                _try_call(trial, rows, candidate, in_both_modes=False)
            except OtherForm as other:
                failure.change = failure.change or other.change
                if candidate.giving == "state" and not failure.structure:
                    failure.structure = f"a step returns {form_of(other.state)} for a state {form_of(candidate.like)}"
            except Exception as error:  # whatever a stranger's code raises
                line = last_frame(error, of_call=True)
                reached = 0 if line is None else line.lineno or 0
                if reached > furthest:
                    furthest = reached
                    failure.error = error
            else:
                return FailedTrials()
    return failure


def _reach(cell: nn.Module, before: Sequence[Tensor], results: Callable[[nn.Module], list[Tensor]]) -> list[int]:
    """Return on how many parameters of a cell each of its `results` depends, which are `before` as it is.

    Found by changing one at a time: a compiled cell may be specialised for gradients by a trial call.
    """
    reached = [0] * len(before)
    for parameter in cell.parameters():
        original = parameter.detach().clone()
        try:
            parameter.copy_(original + torch.randn_like(original))
            pairs = zip(reached, before, results(cell), strict=True)
            reached = [count + (not torch.equal(one, other)) for count, one, other in pairs]
        finally:
            parameter.copy_(original)
    return reached
