"""How a cell's step is called, as people write it, which is found out by trial.

Beside the usual form, `cell(input, state) -> state`, a cell may

- return `(output, state)`, or `(output, h, c)` where it takes `h` and `c` as arguments of their own;
- take no state in the first step;
- keep a state of any structure and any sizes.

The state comes from the cell's own `initial_state`, `init_hidden` and the like, from its `state_size`, or from a first
step without a state. Of several calls that work, the one that depends on most parameters is chosen.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import POSITIONAL, is_of_state, on_trial, parameters_of
from rnnbench.cells import CellError
from rnnbench.cells.states import copied, in_precision, is_alike, rebuilt, tensors_of
from rnnbench.text import error_in_words

Taking = Literal["second", "apart"]  # the state: as second argument, or each tensor by itself
Giving = Literal["state", "output, state", "output, *state"]
KEPT = "_rnnbench_call"  # attribute of a module: how it was found to be called
GIVING: tuple[Giving, ...] = ("state", "output, state", "output, *state")


@dataclass(frozen=True)
class CellCall:
    """How a cell is called. Its state is passed around as a flat tuple of tensors, the output first."""

    like: Any  # a state in the cell's own structure
    taking: Taking
    giving: Giving
    shown: int | None = 0  # the tensor of the state that is the output too; None if the output is none of them
    batch_dims: tuple[int, ...] = ()  # which dimension of each tensor of the cell's own state is the batch
    copies_state: bool = False  # the cell writes into its state: outputs of earlier steps may be the same tensor

    def is_plain(self, giving: Giving) -> bool:
        """Return whether a step takes a usual state, which begins with the output, and gives one in this way."""
        return (self.taking, self.giving, self.shown) == ("second", giving, 0) and self._is_flat

    @cached_property
    def _is_flat(self) -> bool:
        """Whether the cell's own state is a tensor or a tuple of tensors, which needs no rebuilding in each step."""
        return not any(self.batch_dims) and (
            isinstance(self.like, Tensor)
            or (type(self.like) is tuple and all(isinstance(part, Tensor) for part in self.like))
        )

    def run(self, forward: Callable[..., Any], input: Tensor, state: Any) -> Any:
        """One step in the usual form."""
        parts = (state,) if isinstance(state, Tensor) else state
        own = self.own(tuple(part.clone() for part in parts) if self.copies_state else parts)
        flat = self.flat(*self.split(self.result(forward, input, own)))
        return flat[0] if len(flat) == 1 else flat

    def result(self, forward: Callable[..., Any], input: Tensor, state: Any) -> Any:
        """Return what a step returns for a state of the cell."""
        return forward(input, state) if self.taking == "second" else forward(input, *state)

    def split(self, result: Any) -> tuple[Any, Any]:
        """Return the output and the state of a step's result; the output is None where the step gives only a state."""
        match self.giving:
            case "state":
                return None, result
            case "output, state":
                return result[0], result[1]
            case "output, *state":
                return result[0], tuple(result[1:])

    def flat(self, output: Tensor | None, state: Any) -> tuple[Tensor, ...]:
        """Return a state of the cell as it is passed around."""
        if not self._is_flat:
            tensors = batch_in_front(tensors_of(state, self.like), self.batch_dims)
        else:
            tensors = (state,) if isinstance(state, Tensor) else tuple(state)
        if self.shown is None:
            assert output is not None
            return output, *tensors
        return (tensors[self.shown], *tensors[: self.shown], *tensors[self.shown + 1 :]) if self.shown else tensors

    def own(self, parts: tuple[Tensor, ...]) -> Any:
        """Invert `flat`: return the cell's own state, without the output if that is no part of it."""
        if self.shown is None:
            parts = parts[1:]
        elif self.shown:
            parts = (*parts[1 : self.shown + 1], parts[0], *parts[self.shown + 1 :])
        if not self._is_flat:
            pairs = zip(parts, self.batch_dims, strict=True)
            return rebuilt(self.like, (part.movedim(0, dim) if dim else part for part, dim in pairs))
        return parts[0] if isinstance(self.like, Tensor) else parts


def batch_in_front(tensors: Sequence[Tensor], batch_dims: Sequence[int]) -> tuple[Tensor, ...]:
    """Tensors with their batch as the first dimension; `batch_dims` tells where it is."""
    return tuple(part.movedim(dim, 0) if dim else part for part, dim in zip(tensors, batch_dims, strict=True))


def can_hoist(cell: nn.Module) -> bool:
    """Return whether a cell separates the part that does not depend on the state, and needs no call of itself.

    Hooks run in calls alone: those of pruning and of the older `weight_norm` make the weights.
    """
    has_hooks = bool(cell._forward_pre_hooks or cell._forward_hooks)
    return hasattr(cell, "project") and hasattr(cell, "advance") and not has_hooks


class Adapted(nn.Module):
    """Calls a module in the usual form, `(input, state)`; the module itself stays as it is."""

    def __init__(self, given: nn.Module, call: Any) -> None:
        super().__init__()
        self.given = given
        self.call = call

    def forward(self, input: Tensor, state: Any) -> Any:
        """Run one step, or a sequence."""
        return self.call.run(self.given, input, state)


def run_found(self: Any, input: Tensor, state: Any) -> Any:
    """Return the `forward` of a module that is called as its attribute KEPT says."""
    return getattr(self, KEPT).run(MethodType(type(self).forward, self), input, state)


def in_usual_form(module: nn.Module, call: Any, forward: Callable[..., Any] = run_found) -> nn.Module:
    """Replace the `forward` of this instance; one of TorchScript, where that can't be, is called by another module."""
    if isinstance(module, torch.jit.ScriptModule):
        return Adapted(module, call)
    setattr(module, KEPT, call)
    module.forward = MethodType(forward, module)
    return module


MIN_ROWS = 3


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
    if not call.is_plain("state"):
        cell = in_usual_form(cell, call, _state_of_pair if call.is_plain("output, state") else run_found)
    return cell, first


def found_call(
    cell: nn.Module, input: Tensor, usual: Any, *, in_both_modes: bool = False
) -> tuple[CellCall, tuple[Tensor, ...]] | None:
    """Return how a cell is called, and its first state; the arguments, None and what is raised are those of `adapt`.

    `in_both_modes`: the call must be right in training and in evaluation. The output may be a tensor of the state in
    one mode alone, as with dropout between the two: then it is kept apart.
    """
    best, most = None, -1
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for trial, rows, candidate in _candidates(cell, input, usual):
            try:
                call, first, reached = _tried(trial, rows, candidate, in_both_modes)
            except Exception:  # whatever a stranger's code raises: another way may fit
                continue
            if reached > most:
                best, most = (call, tuple(part[: len(input)].detach().clone() for part in first)), reached
            if most == len(list(cell.parameters())):
                break
    return best


INITIAL = ("initial_state", "init_state", "init_hidden", "initHidden", "zero_state", "get_initial_state")
COUNTS = range(1, 9)  # tensors of a state: h, or h and c, or one for each layer


def first_states(cell: nn.Module, input: Tensor, h: Tensor, *, has_default: bool) -> Iterator[Any]:
    """States that a cell may begin with: its own, what its first step without a state gives, then the usual ones.

    The usual ones are a tensor, then tuples and lists of some.
    """
    if (own := own_first_state(cell, len(input), h)) is not None:
        yield own
        return
    if has_default:
        with suppress(Exception):  # whatever a stranger's code raises
            result = cell(input.clone())
            yield copied(result)
            if isinstance(result, tuple | list):
                yield copied(result[1])
                yield copied(tuple(result[1:]))
    count = getattr(cell, "states", None)
    for tensors in [count] if isinstance(count, int) and count > 0 else COUNTS:
        state = tuple(torch.randn(len(input), h.shape[-1], dtype=h.dtype).to(h.device) for _ in range(tensors))
        yield from [state[0]] if tensors == 1 else [state, list(state)]


def own_first_state(cell: nn.Module, batch: int, h: Tensor) -> Any:
    """Return the state that a cell says it begins with, in the type of `h`; None if it says none.

    Raises CellError if it is not made of tensors.
    """
    for name, arguments in product(INITIAL, ((batch,), ())):
        function = getattr(cell, name, None)
        if not callable(function):
            continue
        try:
            state = function(*arguments)
            if state is not None:
                own = (_for_batch(tensor.to(h.device), batch) for tensor in tensors_of(state))
                return rebuilt(state, (in_precision(tensor, h.dtype) for tensor in own))
        except TypeError:  # it takes other arguments
            continue
        except Exception as error:  # whatever a stranger's code raises
            said = error if isinstance(error, CellError) else f"it raises {error_in_words(error)}"
            raise CellError(f"{type(cell).__name__}.{name}: {said}") from error
    size = getattr(cell, "state_size", None)
    if isinstance(size, int) and not isinstance(size, bool):
        return h.new_zeros(batch, size)
    if isinstance(size, tuple | list) and size and all(isinstance(width, int) for width in size):
        return tuple(h.new_zeros(batch, width) for width in size)
    return None


def _for_batch(tensor: Tensor, batch: int) -> Tensor:
    """Return a tensor of a state for the whole batch; a cell may give it for one sequence."""
    has_batch_second = tensor.dim() > 2 and tensor.shape[1] == batch  # behind a dimension of one layer
    is_of_one = tensor.dim() and len(tensor) == 1 and batch > 1 and not has_batch_second
    return tensor.expand(batch, *tensor.shape[1:]).contiguous() if is_of_one else tensor


def _candidates(cell: nn.Module, input: Tensor, usual: Any) -> Iterator[tuple[nn.Module, Tensor, CellCall]]:
    """Yield ways to call a cell, each with a copy of the cell and an input."""
    h = tensors_of(usual)[0]
    own = own_first_state(on_trial(cell), len(input), h)
    if own is None or is_alike(own, usual):
        yield on_trial(cell), input, CellCall(copied(usual), "second", "state")
    names, has_default = _state_parameters(cell)
    if not names:
        return
    # In a small batch, a sequence without a batch would look like a step.
    rows = input if len(input) >= MIN_ROWS else input[:1].expand(MIN_ROWS, *input.shape[1:])
    ways: list[Taking] = ["second"]
    if len(names) > 1:  # what is not given to a cell that keeps its state itself would be what it kept
        ways = ["apart"] if is_of_state(names[1]) else ["second", "apart"]
    trial = on_trial(cell)
    for state in map(copied, first_states(trial, rows, h, has_default=has_default)):  # a learned one is a view
        for taking, giving in product(ways, GIVING):
            if taking == "apart" and not isinstance(state, tuple | list):
                continue
            if taking == "apart" and giving == "state" and own is None and not all(map(is_of_state, names[1:])):
                continue  # (output, h) looks like (h, c), and the argument may be a time span or a mask
            yield trial, rows, CellCall(state, taking, giving)


def begins_with_zeros(cell: nn.Module, input: Tensor, call: CellCall, first: Sequence[Tensor]) -> bool:
    """Return whether a sequence begins with a state of zeros: the cell's own first state, or a first step without one.

    `input`: (batch, features); `call` and `first` as `found_call` returns them. A first state that is learned, is a
    buffer, or comes from a function of the cell is none of zeros, whatever its values are now. A cell that says nothing
    of its first state begins with zeros, as torch.nn's do.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if own_first_state(on_trial(cell), len(input), first[0]) is not None:
            return not any(callable(getattr(cell, name, None)) for name in INITIAL)
        if not _state_parameters(cell)[1]:
            return True
        try:
            without = tensors_of(_shaken(cell)(input.clone()))
        except Exception:  # whatever a stranger's code raises: then it is always called with a state
            return True
        zeros = call.own(tuple(map(torch.zeros_like, first)))
        return all(map(torch.equal, without, tensors_of(call.result(_shaken(cell), input.clone(), zeros))))


def _shaken(cell: nn.Module, *, in_other_mode: bool = False) -> nn.Module:
    """Return a copy of a cell with other, larger values in its parameters and buffers; the same ones each time."""
    trial = on_trial(cell)
    if trial is not cell:
        if in_other_mode:
            trial.train(not trial.training)
        torch.manual_seed(0)
        for tensor in (*trial.parameters(), *trial.buffers()):
            if tensor.is_floating_point() or tensor.is_complex():
                tensor.data.add_(torch.rand_like(tensor))
    torch.manual_seed(0)
    return trial


def _state_of_pair(self: Any, input: Tensor, state: Any) -> Any:
    """Return the state of (output, state): a path of its own, since a microsecond counts in a small cell's step."""
    return type(self).forward(self, input, state)[1]


def _tried(
    cell: nn.Module, input: Tensor, call: CellCall, in_both_modes: bool
) -> tuple[CellCall, tuple[Tensor, ...], int]:
    """Try a way of `_candidates` on other numbers than `input`, since zeros would hide what a result depends on.

    Returns the call with what was found out, its first state, and the number of parameters that it reaches. Raises
    CellError if the state after a step does not have the form of the one before it, or the output is no row for each
    sequence; and whatever the cell raises.
    """
    x = torch.randn_like(input) if input.is_floating_point() else input

    def after_two(by: nn.Module) -> list[Tensor]:
        """Return the state and the output after two steps: after one from zeros, unlike parts of it may be equal."""
        torch.manual_seed(0)  # the same random numbers, such as those of dropout, each time
        output, new = None, call.like
        for _ in range(2):
            output, new = call.split(call.result(by, x.clone(), copied(new)))
            if not is_alike(new, call.like):
                raise CellError("its state has another form after a step")
        results = [*tensors_of(new, call.like), *([] if output is None else [output])]
        return [each.clone() for each in results]

    results = after_two(cell)
    reached = _reach(cell, results, after_two)
    own = results if call.giving == "state" else results[:-1]
    dims = tuple(part.shape[:2].index(len(x)) for part in own)  # the second behind that of layers
    output, shown = results[-1], None
    if call.giving == "state":  # the first vector that depends on most parameters is the output, too
        shown = max((i for i, part in enumerate(own) if part.dim() == 2), key=reached.__getitem__)
    elif output.dim() != 2 or len(output) != len(x):
        raise CellError("its output is no row for each sequence")
    else:  # also with other parameters: an output that is the state times a gain of 1 is another tensor
        *changed, other = after_two(_shaken(cell, in_other_mode=in_both_modes))
        pairs = enumerate(zip(batch_in_front(own, dims), batch_in_front(changed, dims), strict=True))
        shown = next((i for i, (one, two) in pairs if torch.equal(one, output) and torch.equal(two, other)), None)
    call = replace(call, shown=shown, batch_dims=dims)
    return call, call.flat(torch.zeros_like(output), call.like), max(reached)


def _reach(cell: nn.Module, before: Sequence[Tensor], results: Callable[[nn.Module], list[Tensor]]) -> list[int]:
    """Return on how many parameters of a cell each of its `results` depends, which are `before` as it is.

    Found by changing one at a time: a compiled cell may be specialised for gradients by a trial call.
    """
    reached = [0] * len(before)
    for parameter in cell.parameters():
        kept = parameter.detach().clone()
        try:
            parameter.copy_(kept + torch.randn_like(kept))
            pairs = zip(reached, before, results(cell), strict=True)
            reached = [count + (not torch.equal(one, other)) for count, one, other in pairs]
        finally:
            parameter.copy_(kept)
    return reached


def _state_parameters(cell: nn.Module) -> tuple[list[str], bool]:
    """Return the names of the parameters behind the input, and whether all have defaults."""
    parameters = list(parameters_of(getattr(cell, "forward", cell)).values())[1:]
    named = [each for each in parameters if each.kind in POSITIONAL]
    return [each.name for each in named], bool(named) and all(each.default is not each.empty for each in named)
