"""Find out by trial how a stranger's cell is called, what state it begins with, and adapt it to the usual form.

The state comes from the cell's own `initial_state`, `init_hidden` and the like, from its `state_size`, or from a first
step without a state. Of several calls that work, the one that depends on most parameters is chosen.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.building import POSITIONAL, parameters_of
from rnnbench.adapt.calls import GIVING, AdaptedCell, CellCall, Giving, Taking, batch_in_front, called, split
from rnnbench.adapt.states import (
    KEPT,
    copied,
    first_states,
    is_alike,
    on_trial,
    own_first_states,
    says_first_state,
    tensors_of,
)

Reach = list[frozenset[int]]  # for each tensor, the numbers of the parameters that it depends on


def reach(cell: nn.Module, call: Callable[[], Sequence[Tensor]]) -> Reach:
    """What each tensor that `call` returns depends on, found by changing one parameter at a time.

    Without gradients, since a compiled or scripted cell may be specialised for them by a trial call. Parameters have
    their values again afterwards.
    """
    before = _repeatable(call)
    reached: list[set[int]] = [set() for _ in before]
    for number, parameter in enumerate(cell.parameters()):
        kept = parameter.detach().clone()
        try:
            parameter.copy_(kept + torch.randn_like(kept))
            after = _repeatable(call)
        finally:
            parameter.copy_(kept)
        for tensor, changed, numbers in zip(before, after, reached, strict=True):
            if not torch.equal(tensor, changed):
                numbers.add(number)
    return [frozenset(numbers) for numbers in reached]


def in_all(reached: Reach) -> int:
    """How many parameters the tensors depend on together."""
    return len(frozenset[int]().union(*reached))


def _repeatable(call: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
    """The tensors of a call, with the same random numbers, such as those of dropout, each time."""
    torch.manual_seed(0)
    return [tensor.detach().clone() for tensor in call()]


MIN_ROWS = 3
OF_STATES = re.compile(r"(?<![a-z])([hcs][xytsz]?|hiddens?|cells?|states?|carry|mem|memory|syn|prev|previous)(?![a-z])")
UNKNOWN = -1  # in place of the index of an output


def adapt(cell: nn.Module, input: Tensor, usual: Any) -> tuple[nn.Module, tuple[Tensor, ...] | None]:
    """Make a cell callable in the usual form, if it is not: the `forward` of this instance is replaced.

    `input`: (batch, features); `usual`: the state that it gets if it is usual. Returns the cell, or a module that calls
    it where its `forward` can't be replaced, and the first state in the form in which it is passed around, each tensor
    (batch, ...), or None if no way was found. Raises CellError if the cell gives a first state that is not made of
    tensors.
    """
    found = found_call(cell, input, usual)
    if found is None:
        return cell, None
    call, first = found
    if not call.is_usual:
        if isinstance(cell, torch.jit.ScriptModule):
            return AdaptedCell(cell, call), first
        setattr(cell, KEPT, call)
        cell.forward = MethodType(_state_of_pair if call.is_pair else _step, cell)
    return cell, first


def found_call(cell: nn.Module, input: Tensor, usual: Any) -> tuple[CellCall, tuple[Tensor, ...]] | None:
    """Return how a cell is called, and its first state; the arguments, None and what is raised are those of `adapt`."""
    count = len(list(cell.parameters()))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        reached = -1 if _says_otherwise(cell, input, usual) else _usual_reach(on_trial(cell), input, usual)
        best = (CellCall(copied(usual), "second", "", "state", 0), tuple(tensors_of(usual))) if reached >= 0 else None
        # In a small batch, a sequence without a batch would look like a step.
        rows = input if len(input) >= MIN_ROWS else input[:1].expand(MIN_ROWS, *input.shape[1:])
        for call, first, more in _ways(on_trial(cell), rows, tensors_of(usual)[0]) if reached < count else ():
            if more > reached:
                reached, best = more, (call, first)
            if reached == count:
                break
    if best is None:
        return None
    call, first = best
    return call, tuple(tensor[: len(input)].detach().clone() for tensor in first)


def begins_with_zeros(cell: nn.Module, input: Tensor, like: Tensor, from_zeros: Callable[[nn.Module], Any]) -> bool:
    """Whether a sequence begins with a state of zeros: the cell's own first state, or a first step without one.

    `input`: (batch, features); `like`: a tensor of a state; `from_zeros` makes a first step from zeros. A first state
    that is learned, is a buffer, or comes from a function of the cell is none of zeros, whatever its values are now. A
    cell that says nothing of its first state begins with zeros, as torch.nn's do.
    """
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        own = list(own_first_states(on_trial(cell), len(input), like))
        if own:
            return not says_first_state(cell)
        if not _state_parameters(cell)[2]:
            return True
        first, second = _with_other_buffers(cell), _with_other_buffers(cell)
        try:
            without = tensors_of(first(input.clone()))
        except Exception:  # whatever a stranger's code raises: then it is always called with a state
            return True
        given = tensors_of(from_zeros(second))
        return all(map(torch.equal, without, given)) and _used(first, without) == _used(second, given)


def _with_other_buffers(cell: nn.Module) -> nn.Module:
    """A copy of a cell whose buffers have other, larger values; the same ones each time."""
    trial = on_trial(cell)
    if trial is not cell:
        torch.manual_seed(0)
        for buffer in trial.buffers():
            if buffer.is_floating_point():
                buffer.data.add_(torch.rand_like(buffer))
    return trial


def _used(cell: nn.Module, results: Sequence[Tensor]) -> set[str]:
    """The names of the parameters that results depend on."""
    parameters = {name: parameter for name, parameter in cell.named_parameters() if parameter.requires_grad}
    ends = [result for result in results if result.requires_grad]
    if not (parameters and ends):
        return set()
    grads = torch.autograd.grad(ends, list(parameters.values()), list(map(torch.ones_like, ends)), allow_unused=True)
    return {name for name, grad in zip(parameters, grads, strict=True) if grad is not None}


def _step(self: Any, input: Tensor, state: Any) -> Any:
    call: CellCall = getattr(self, KEPT)
    return call.step(lambda *given, **named: type(self).forward(self, *given, **named), input, state)


def _state_of_pair(self: Any, input: Tensor, state: Any) -> Any:
    """The most common form by itself, since a microsecond counts in the step of a small cell."""
    return type(self).forward(self, input, state)[1]


def is_of_state(name: str) -> bool:
    """Return whether an argument's name, such as `c`, `hx` or `prev_state`, says that it is a state."""
    return OF_STATES.search(name.lower()) is not None


def _says_otherwise(cell: nn.Module, input: Tensor, usual: Any) -> bool:
    """Whether the cell itself gives a first state of another form than the usual one."""
    own = list(own_first_states(cell, len(input), tensors_of(usual)[0]))
    return bool(own) and not any(is_alike(state, usual) for state in own)


def _usual_reach(cell: nn.Module, input: Tensor, usual: Any) -> int:
    """How many parameters a step of the usual form depends on; -1 if the cell has another form."""
    try:
        if not is_alike(cell(input.clone(), copied(usual)), usual):
            return -1
        reached = _reach_of_steps(cell, input, lambda x, state: (None, cell(x, state)), usual)
    except Exception:  # whatever a stranger's code raises: another way may fit
        return -1
    is_output_first = len(reached[0]) == max(map(len, reached))
    return in_all(reached) if is_output_first else -1


def _reach_of_steps(
    cell: nn.Module, input: Tensor, step: Callable[[Tensor, Any], tuple[Any, Any]], state: Any
) -> Reach:
    """What the tensors of the state after two steps depend on, and at the end the output if there is one.

    With other inputs than zeros, which would hide a dependence. All parameters for a state of one tensor, in which
    nothing can be left out.
    """
    if isinstance(state, Tensor):
        return [frozenset(range(len(list(cell.parameters()))))]
    x = torch.randn_like(input) if input.is_floating_point() else input

    def call() -> list[Tensor]:
        output, new = step(x.clone(), copied(state))
        output, new = step(x.clone(), new)
        return [*tensors_of(new, state), *([] if output is None else tensors_of(output))]

    return reach(cell, call)


def _ways(cell: nn.Module, input: Tensor, h: Tensor) -> Iterator[tuple[CellCall, tuple[Tensor, ...], int]]:
    """The ways of calling a cell that work twice in a row, each with the first state and the parameters it reaches."""
    names, is_keyword_only, has_default = _state_parameters(cell)
    if not names:
        return
    ways: list[Taking] = ["keyword"] if is_keyword_only else ["second"]
    if len(names) > 1:  # what is not given to a cell that keeps its state itself would be what it kept
        ways = ["apart"] if is_of_state(names[1]) and not is_keyword_only else [*ways, "apart"]
    says_state = next(own_first_states(cell, len(input), h), None) is not None
    for state in map(copied, first_states(cell, input, h, has_default=has_default)):  # a learned one is a view
        for taking in ways:
            for giving in GIVING:
                if taking == "apart" and giving == "state" and not (says_state or all(map(is_of_state, names[1:]))):
                    continue  # (output, h) looks like (h, c), and the argument may be a time span or a mask
                if found := _tried(cell, input, state, taking, names[0], giving):
                    yield found


def _tried(
    cell: nn.Module, input: Tensor, state: Any, taking: Taking, keyword: str, giving: Giving
) -> tuple[CellCall, tuple[Tensor, ...], int] | None:
    """This way as `_ways` tells it, if the state after a step has the form of the one before it."""
    if taking == "apart" and not isinstance(state, tuple | list):
        return None

    def step(x: Tensor, of: Any) -> tuple[Any, Any]:
        return split(called(cell, x, of, taking, keyword), giving)

    def after_two() -> tuple[Any, Any] | None:
        """The output and the state after two steps: after one from zeros, unlike parts of a state may be equal."""
        output, new = None, state
        for _ in range(2):
            output, new = step(input.clone(), copied(new))
            if not is_alike(new, state):
                return None
        return output, new

    try:
        if (result := after_two()) is None:
            return None
        with _other_parameters(cell):
            other = after_two()
        reached = _reach_of_steps(cell, input, step, state)
        own = tensors_of(result[1], state)
        if (dims := _batch_dims(own, len(input))) is None:
            return None
        output, tensors = result[0], batch_in_front(own, dims)
        pairs = [(output, tensors), *([(other[0], batch_in_front(tensors_of(other[1], state), dims))] if other else [])]
    except Exception:  # whatever a stranger's code raises: another way may fit
        return None
    shown = _shown(pairs, len(input), reached)
    if shown is UNKNOWN:
        return None
    output = tensors[shown] if output is None and shown is not None else output
    call = CellCall(copied(state), taking, keyword, giving, shown, dims)
    return call, call.flat(torch.zeros_like(output), state), in_all(reached)


def _batch_dims(tensors: Sequence[Tensor], batch: int) -> tuple[int, ...] | None:
    """Which dimension of each tensor of a state is the batch: the first, or the second behind that of layers.

    Empty if it is the first of all; None if it is neither.
    """
    if not all(batch in tensor.shape[:2] for tensor in tensors):
        return None
    dims = tuple(tensor.shape.index(batch) for tensor in tensors)
    return dims if any(dims) else ()


def _shown(pairs: Sequence[tuple[Any, Sequence[Tensor]]], batch: int, reached: Reach) -> int | None:
    """The tensor of the state that is the output too; None if the output is none of them, UNKNOWN if it is unusable.

    `pairs`: the output and the tensors of the state, with the cell's own parameters first, then with other ones: an
    output that is the state times a gain of 1 is another tensor. Of a cell that returns only its state, the output is
    the first tensor that depends on most parameters.
    """
    output, tensors = pairs[0]
    if output is None:
        flat = [index for index, tensor in enumerate(tensors) if tensor.dim() == 2]
        return max(flat, key=lambda index: len(reached[index]), default=UNKNOWN)
    if not (isinstance(output, Tensor) and output.dim() == 2 and len(output) == batch):
        return UNKNOWN
    indices = range(len(tensors))
    return next((index for index in indices if all(torch.equal(state[index], shown) for shown, state in pairs)), None)


@contextmanager
def _other_parameters(cell: nn.Module) -> Iterator[None]:
    """Give all parameters of a cell other values, and their own again afterwards."""
    kept = [(parameter, parameter.detach().clone()) for parameter in cell.parameters()]
    try:
        for parameter, values in kept:
            parameter.copy_(values + torch.randn_like(values))
        yield
    finally:
        for parameter, values in kept:
            parameter.copy_(values)


def _state_parameters(cell: nn.Module) -> tuple[list[str], bool, bool]:
    """The names of the parameters behind the input, whether the first is keyword-only, whether all have defaults."""
    parameters = list(parameters_of(getattr(cell, "forward", cell)).values())[1:]
    named = [each for each in parameters if each.kind in (*POSITIONAL, inspect.Parameter.KEYWORD_ONLY)]
    if not named:
        return [], False, False
    has_default = all(parameter.default is not inspect.Parameter.empty for parameter in named)
    return [parameter.name for parameter in named], named[0].kind is inspect.Parameter.KEYWORD_ONLY, has_default
