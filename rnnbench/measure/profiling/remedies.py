"""What stands in the place of calls that could be done without: each is a function of (function, args, kwargs).

What can be made once before the clock starts is made there: stacked weights and inputs, as a cell without such a fault
would have them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from rnnbench.measure.profiling.program import Call

Give = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
# Functions that multiply rows with a weight, and which of their arguments the rows are.
ROWS = {"linear": 0, "matmul": 0, "mm": 0, "addmm": 1}


class Grows(Protocol):
    """Keeps values within a call."""

    def restart(self) -> None:
        """Forget them: a new call begins."""
        ...


ToGrow = tuple[Grows, ...]


def product_of(name: str) -> int | None:
    """Which argument of a product the rows are; None where it is none."""
    return ROWS.get(name)


def give_first(_function: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
    """What was given first, in place of its copy."""
    return args[0]


def give(value: Any) -> Give:
    """The same value each time."""
    return lambda function, args, kwargs: value


@dataclass
class Whole:
    """The products of one weight with all steps' rows, as one product at the first of them."""

    rows: Tensor  # (steps * batch, input)
    steps: int
    is_leaf: bool
    parts: Sequence[Tensor] = ()

    @classmethod
    def of(cls, group: Sequence[Call]) -> Self:
        """From the calls that it replaces."""
        rows = torch.cat([call.args[product_of(call.name) or 0].detach() for call in group])
        return cls(rows, len(group), is_leaf=False)

    def restart(self) -> None:
        """Forget the product."""
        self.parts = ()

    def give(self, place: int) -> Give:
        """The part of one step."""
        if place:
            return lambda function, args, kwargs: self.parts[place]

        def first(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
            at = product_of(str(function.__name__).strip("_")) or 0
            whole = function(*args[:at], self.rows, *args[at + 1 :], **kwargs)
            self.parts = whole.view(self.steps, -1, whole.shape[-1]).unbind(0)
            return self.parts[0]

        return first


@dataclass
class Stacked:
    """The products of one input with several weights, as one product with all of them side by side."""

    weights: tuple[Tensor, ...]  # in the order of the arguments, the rows left out
    sizes: list[int]
    rows: int  # which argument they are
    parts: Sequence[Tensor] = field(default=())

    @classmethod
    def of(cls, group: Sequence[Call]) -> Self:
        """From the calls that it replaces; all are of the same function."""
        rows = product_of(group[0].name) or 0
        columns = [_weights(call, rows) for call in group]
        along = 0 if group[0].name == "linear" else -1  # its weight is (output, input)
        weights = tuple(_joined(parts, 0 if parts[0].dim() == 1 else along) for parts in zip(*columns, strict=True))
        return cls(weights, [int(call.result.shape[-1]) for call in group], rows)

    def restart(self) -> None:
        """Forget the product, and the gradient, which would be added to."""
        self.parts = ()
        for weight in self.weights:
            weight.grad = None

    def give(self, place: int) -> Give:
        """The part of one weight."""
        if place:
            return lambda function, args, kwargs: self.parts[place]

        at, count = self.rows, len(self.sizes)
        before, after = self.weights[:at], self.weights[at:]
        is_even = len(set(self.sizes)) == 1  # `chunk` is quicker, and what a cell would do

        def first(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
            whole = function(*before, args[at], *after)
            self.parts = whole.chunk(count, -1) if is_even else whole.split_with_sizes(self.sizes, -1)
            return self.parts[0]

        return first


def _weights(call: Call, rows: int) -> list[Tensor]:
    given = [arg for index, arg in enumerate(call.args) if index != rows] + list(call.kwargs.values())
    return [arg for arg in given if isinstance(arg, Tensor)]


def _joined(parts: Sequence[Tensor], along: int) -> Tensor:
    joined = torch.cat([part.detach() for part in parts], dim=along)
    return joined.requires_grad_() if any(part.requires_grad for part in parts) else joined
