"""How a cell's step is called, as people write it: every cell of rnnbench is `cell(input, state) -> state`.

Beside the usual form, a cell may

- return `(output, state)`, or `(output, h, c)` where it takes `h` and `c` as arguments of their own;
- take its state by keyword, or none at all in the first step;
- keep a state of any structure and any sizes.

`trials` finds out which of these a cell does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor, nn

from rnnbench.adapt.states import rebuilt, tensors_of

Taking = Literal["second", "keyword", "apart"]  # the state: as second argument, by its name, each tensor by itself
Giving = Literal["state", "output, state", "output, *state"]
GIVING: tuple[Giving, ...] = ("state", "output, state", "output, *state")


@dataclass(frozen=True)
class CellCall:
    """How a cell is called. Its state is passed around as a flat tuple of tensors, the output first."""

    like: Any  # a state in the cell's own structure
    taking: Taking
    keyword: str
    giving: Giving
    shown: int | None  # the tensor of the state that is the output too; None if the output is none of them
    batch_dims: tuple[int, ...] = ()  # which dimension of each tensor of the cell's own state is the batch; () if all 0

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
        return not any(self.batch_dims) and (
            isinstance(self.like, Tensor)
            or (type(self.like) is tuple and all(isinstance(part, Tensor) for part in self.like))
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
            tensors = batch_in_front(tensors_of(state, self.like), self.batch_dims)
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
            dims = self.batch_dims or (0,) * len(parts)
            moved = [part.movedim(0, dim) if dim else part for part, dim in zip(parts, dims, strict=True)]
            return rebuilt(self.like, iter(moved))
        return parts[0] if isinstance(self.like, Tensor) else parts


def batch_in_front(tensors: Sequence[Tensor], batch_dims: Sequence[int]) -> tuple[Tensor, ...]:
    """Tensors with their batch as the first dimension; `batch_dims` tells where it is, empty if it is in front."""
    dims = batch_dims or (0,) * len(tensors)
    return tuple(part.movedim(dim, 0) if dim else part for part, dim in zip(tensors, dims, strict=True))


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


def can_hoist(cell: nn.Module) -> bool:
    """Return whether a cell separates the part that does not depend on the state, and needs no call of itself.

    Hooks run in calls alone: those of pruning and of the older `weight_norm` make the weights.
    """
    has_hooks = bool(cell._forward_pre_hooks or cell._forward_hooks)
    return hasattr(cell, "project") and hasattr(cell, "advance") and not has_hooks


class AdaptedCell(nn.Module):
    """A cell in the usual form: `cell(input, state) -> state`; the cell itself stays as it is.

    `copies_state`: each step gets a copy of the state, since the cell writes into it: the outputs of earlier steps may
    be the same tensor.
    """

    def __init__(self, cell: nn.Module, call: CellCall, *, copies_state: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.call = call
        self.copies_state = copies_state

    def forward(self, input: Tensor, state: Any) -> Any:
        """One step."""
        if self.copies_state:
            state = state.clone() if isinstance(state, Tensor) else tuple(part.clone() for part in state)
        return self.call.step(self.cell, input, state)
