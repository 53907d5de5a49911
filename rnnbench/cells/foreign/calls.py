"""A cell's step as people write it, called as every cell of rnnbench is: `cell(input, state) -> state`.

Beside the usual form, a cell may

- return `(output, state)`, or `(output, h, c)` where it takes `h` and `c` as arguments of their own;
- take its state by keyword, or none at all in the first step;
- keep a state of any structure and any sizes.

The state comes from the cell's own `initial_state`, `init_hidden` and the like, from its `state_size`, or from a first
step without a state.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnbench.cells.foreign.first_states import first_states, own_first_states
from rnnbench.cells.foreign.structures import copied, is_alike, on_trial, rebuilt, tensors_of

Taking = Literal["second", "keyword", "apart"]  # the state: as second argument, by its name, each tensor by itself
Giving = Literal["state", "output, state", "output, *state"]
KEPT = "_rnnbench_call"
MIN_ROWS = 3
UNKNOWN = -1  # in place of the index of an output
GIVING: tuple[Giving, ...] = ("state", "output, state", "output, *state")


@dataclass(frozen=True)
class CellCall:
    """How a cell is called. Its state is passed around as a flat tuple of tensors, the output first."""

    like: Any  # a state in the cell's own structure
    taking: Taking
    keyword: str
    giving: Giving
    shown: int | None  # the tensor of the state that is the output too; None if the output is none of them

    @property
    def is_usual(self) -> bool:
        """Whether the cell can be called as it is, with a state of another size or number of tensors."""
        return (self.taking, self.giving, self.shown) == ("second", "state", 0) and self._is_flat

    @property
    def is_pair(self) -> bool:
        """Whether the cell gives its output beside a usual state, which holds the output too."""
        return (self.taking, self.giving, self.shown) == ("second", "output, state", 0) and self._is_flat

    @cached_property
    def _is_flat(self) -> bool:
        """Whether the cell's own state is a tensor or a tuple of tensors, which needs no rebuilding in each step."""
        return isinstance(self.like, Tensor) or (
            type(self.like) is tuple and all(isinstance(part, Tensor) for part in self.like)
        )

    def step(self, forward: Callable[..., Any], input: Tensor, state: Any) -> Any:
        """One step in the usual form."""
        own = self.own((state,) if isinstance(state, Tensor) else state)
        output, new = split(called(forward, input, own, self.taking, self.keyword), self.giving)
        flat = self.flat(output, new)
        return flat[0] if len(flat) == 1 else flat

    def flat(self, output: Tensor | None, state: Any) -> tuple[Tensor, ...]:
        """A state of the cell as it is passed around."""
        if not self._is_flat:
            tensors = tuple(tensors_of(state))
        else:
            tensors = (state,) if isinstance(state, Tensor) else tuple(state)
        if self.shown is None:
            assert output is not None
            return output, *tensors
        return (tensors[self.shown], *tensors[: self.shown], *tensors[self.shown + 1 :]) if self.shown else tensors

    def own(self, parts: tuple[Tensor, ...]) -> Any:
        """The inverse of `flat`: the cell's own state, without the output if that is no part of it."""
        if self.shown is None:
            parts = parts[1:]
        elif self.shown:
            parts = (*parts[1 : self.shown + 1], parts[0], *parts[self.shown + 1 :])
        if not self._is_flat:
            return rebuilt(self.like, iter(parts))
        return parts[0] if isinstance(self.like, Tensor) else parts


def called(forward: Callable[..., Any], input: Tensor, state: Any, taking: Taking, keyword: str) -> Any:
    """Call a step with a state in one of the ways."""
    match taking:
        case "second":
            return forward(input, state)
        case "keyword":
            return forward(input, **{keyword: state})
        case "apart":
            return forward(input, *state)


def split(result: Any, giving: Giving) -> tuple[Any, Any]:
    """The output and the state of a step's result; the output is None where the step gives only a state."""
    match giving:
        case "state":
            return None, result
        case "output, state":
            return result[0], result[1]
        case "output, *state":
            return result[0], tuple(result[1:])


def adapt(cell: nn.Module, input: Tensor, usual: Any) -> tuple[Tensor, ...] | None:
    """Make a cell callable in the usual form, if it is not: its `forward` is replaced in this instance.

    `input`: (batch, features); `usual`: the state that it gets if it is usual. Returns the first state in the form in
    which it is passed around, each tensor (batch, ...), or None if the cell is usual, or no way was found.
    Raises CellError if the cell gives a first state that is not made of tensors.
    """
    found = found_call(cell, input, usual)
    if found is None:
        return None
    call, first = found
    if not call.is_usual:
        setattr(cell, KEPT, call)
        cell.forward = MethodType(_state_of_pair if call.is_pair else _step, cell)
    return first


def found_call(cell: nn.Module, input: Tensor, usual: Any) -> tuple[CellCall, tuple[Tensor, ...]] | None:
    """How a cell is called, and its first state; the arguments, None and what is raised are those of `adapt`."""
    if isinstance(cell, torch.jit.ScriptModule):
        return None
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if _is_usual(on_trial(cell), input, usual):
            return None
        # In a small batch, a sequence without a batch would look like a step.
        rows = input if len(input) >= MIN_ROWS else input[:1].expand(MIN_ROWS, *input.shape[1:])
        found = next(_ways(on_trial(cell), rows, tensors_of(usual)[0]), None)
    if found is None:
        return None
    call, first = found
    return call, tuple(tensor[: len(input)].clone() for tensor in first)


def begins_with_zeros(cell: nn.Module, call: CellCall, input: Tensor, first: Sequence[Tensor]) -> bool:
    """Whether a sequence begins with a state of zeros: the cell's own first state, or a first step without one.

    `input`: (batch, features); `first`: a state of so many sequences in the form in which it is passed around. A cell
    that says nothing of its first state begins with zeros, as torch.nn's do.
    """
    zeros = tuple(torch.zeros_like(part) for part in first)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        own = list(own_first_states(on_trial(cell), len(input), first[0]))
        if own:
            return not any(bool(part.any()) for part in tensors_of(own[0]))
        if not _state_parameters(cell)[2]:
            return True
        try:
            without = on_trial(cell)(input.clone())
        except Exception:  # whatever a stranger's code raises: then it is always called with a state
            return True
        given = called(on_trial(cell), input.clone(), call.own(zeros), call.taking, call.keyword)
        return all(map(torch.equal, tensors_of(without), tensors_of(given)))


class AdaptedCell(nn.Module):
    """A cell in the usual form: `cell(input, state) -> state`; the cell itself stays as it is."""

    def __init__(self, cell: nn.Module, call: CellCall) -> None:
        super().__init__()
        self.cell = cell
        self.call = call

    def forward(self, input: Tensor, state: Any) -> Any:
        """One step."""
        return self.call.step(self.cell, input, state)


def _step(self: Any, input: Tensor, state: Any) -> Any:
    call: CellCall = getattr(self, KEPT)
    return call.step(lambda *given, **named: type(self).forward(self, *given, **named), input, state)


def _state_of_pair(self: Any, input: Tensor, state: Any) -> Any:
    """The most common form by itself, since a microsecond counts in the step of a small cell."""
    return type(self).forward(self, input, state)[1]


def _is_usual(cell: nn.Module, input: Tensor, usual: Any) -> bool:
    try:
        return is_alike(cell(input.clone(), copied(usual)), usual)
    except Exception:  # whatever a stranger's code raises: another way may fit
        return False


def _ways(cell: nn.Module, input: Tensor, h: Tensor) -> Iterator[tuple[CellCall, tuple[Tensor, ...]]]:
    """The ways of calling a cell that work twice in a row, each with the first state."""
    names, is_keyword_only, has_default = _state_parameters(cell)
    if not names:
        return
    ways: list[Taking] = ["keyword"] if is_keyword_only else ["second"]
    if len(names) > 1:
        ways.append("apart")
    for state in first_states(cell, input, h, has_default=has_default):
        for taking in ways:
            for giving in GIVING:
                if found := _tried(cell, input, state, taking, names[0], giving):
                    yield found


def _tried(
    cell: nn.Module, input: Tensor, state: Any, taking: Taking, keyword: str, giving: Giving
) -> tuple[CellCall, tuple[Tensor, ...]] | None:
    """The call and the first state in this way, if the state after a step has the form of the one before it."""
    if taking == "apart" and not isinstance(state, tuple | list):
        return None
    try:
        for _ in range(2):
            output, new = split(called(cell, input.clone(), copied(state), taking, keyword), giving)
            if not is_alike(new, state):
                return None
        tensors = tensors_of(new)
    except Exception:  # whatever a stranger's code raises: another way may fit
        return None
    shown = _shown(output, tensors, len(input))
    if shown is UNKNOWN:
        return None
    output = tensors[shown] if output is None and shown is not None else output
    call = CellCall(copied(state), taking, keyword, giving, shown)
    return call, call.flat(torch.zeros_like(output), state)


def _shown(output: Any, tensors: Sequence[Tensor], batch: int) -> int | None:
    """The tensor of the state that is the output too; None if the output is none of them, UNKNOWN if it is unusable."""
    if not all(tensor.dim() and len(tensor) == batch for tensor in tensors):
        return UNKNOWN
    if output is None:
        return next((index for index, tensor in enumerate(tensors) if tensor.dim() == 2), UNKNOWN)
    if not (isinstance(output, Tensor) and output.dim() == 2 and len(output) == batch):
        return UNKNOWN
    alike = (index for index, tensor in enumerate(tensors) if tensor.shape == output.shape)
    return next((index for index in alike if torch.equal(tensors[index], output)), None)


def _state_parameters(cell: nn.Module) -> tuple[list[str], bool, bool]:
    """The names of the parameters behind the input, whether the first is keyword-only, whether all have defaults."""
    try:
        parameters = list(inspect.signature(cell.forward).parameters.values())[1:]
    except (TypeError, ValueError):
        return [], False, False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [parameter for parameter in parameters if parameter.kind in (*kinds, inspect.Parameter.KEYWORD_ONLY)]
    if not named:
        return [], False, False
    has_default = all(parameter.default is not inspect.Parameter.empty for parameter in named)
    return [parameter.name for parameter in named], named[0].kind is inspect.Parameter.KEYWORD_ONLY, has_default
