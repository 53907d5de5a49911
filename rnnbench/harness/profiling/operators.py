"""The operators of a call, each clocked where it stands: with the caches, the memory and the autograd of the call.

Torch's profiler slows short operators several times over, each by another factor. Here a clock is read before and after
each operator and nothing else is done in between, so what is added is the same for all of them; it is measured on the
same operators with a single value in each tensor, and what is left is the kernel's time. (Operators run again and again
by themselves, the other way that was tried, find their weights in a nearer cache than the call does.)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from rnnbench.harness.profiling.categories import category
from rnnbench.store.profiles import CallPart, Category, Operator
from rnnbench.workloads.phases import Mode, TimedCall

MAX_SHAPES = 4  # that are told of an operator that takes a list of many
# Operators that can be given tensors of one value whatever else they are told: none reads an index or a size.
SHRINKABLE: tuple[Category, ...] = ("pointwise", "products")
WINDOWS = 2  # of each arm in a round
IDLE_CALLS = 20  # of each operator in a call of the arm
NOTHING: Any = torch.ops.aten.relu.default  # stands for those that can't


@dataclass
class OperatorKind:
    """The calls of one operator on tensors of the same shapes and strides."""

    function: Any
    shapes: str
    category: Category
    part: CallPart
    args: tuple[Any, ...]  # single values in place of the tensors
    kwargs: dict[str, Any]
    calls: int = 0
    new_bytes: int = 0

    @property
    def name(self) -> str:
        """`aten::addmm`."""
        return plain_name(self.function)


class Listing(TorchDispatchMode):  # type: ignore[no-untyped-call] # its base is untyped in torch
    """Notes while it is entered which operators are called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinds: list[OperatorKind] = []
        self.order: list[int] = []  # of each call, the place in `kinds`
        self._places: dict[Any, int] = {}
        self._seen_backward = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a call, and make it."""
        kwargs = kwargs or {}
        place = self._place(function, args, kwargs)
        self.order.append(place)
        result = function(*args, **kwargs)
        one = self.kinds[place]
        one.calls += 1
        given = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        fresh = {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in _tensors(result)}
        one.new_bytes += sum(size for storage, size in fresh.items() if storage not in given)
        return result

    def _place(self, function: Any, args: Any, kwargs: Any) -> int:
        part, kind = self._part(), category(plain_name(function))
        tensors = () if kind == "views" else tuple(_tensors((args, kwargs)))
        key = (function, part, *((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors))
        if key not in self._places:
            self._places[key] = len(self.kinds)
            small, smaller = (tree_map(_shrunk, args), tree_map(_shrunk, kwargs)) if kind in SHRINKABLE else ((), {})
            self.kinds.append(OperatorKind(function, _shapes(tensors), kind, part, small, smaller))
        return self._places[key]

    def _part(self) -> CallPart:
        if torch._C._current_autograd_node() is not None:
            self._seen_backward = True
            return "backward"
        return "optimizer" if self._seen_backward else "forward"


class OperatorClock(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Clocks each operator while it is entered, in its order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: list[float] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call between two looks at the clock."""
        if kwargs is None:
            kwargs = {}
        start = perf_counter()
        result = function(*args, **kwargs)
        self.seconds.append(perf_counter() - start)
        return result


@dataclass
class ClockedOperators:
    """A call whose operators are clocked; `windows` has a list of rows, one row for each call, for each window."""

    timed: TimedCall
    windows: list[list[list[float]]] = field(default_factory=list)

    def arm(self) -> TimedCall:
        """The call to be taken in turns with others."""

        def call() -> None:
            with OperatorClock() as clock:
                self.timed.call()
            self.windows[-1].append(clock.seconds)

        @contextmanager
        def mode() -> Iterator[None]:
            self.windows.append([])
            with self.timed.mode():
                yield

        return TimedCall(call, mode)


def listing(timed: TimedCall) -> Listing:
    """The operators of a call; whatever it raises is passed on."""
    found = Listing()
    with timed.mode(), found:
        timed.call()
    return found


def idle(kinds: list[OperatorKind]) -> TimedCall:
    """A call of each operator several times with nothing to do; those that can't be are stood for by one that can."""
    calls = [_idle_call(kind) for kind in kinds]

    def call() -> None:
        for one in calls:
            for _ in range(IDLE_CALLS):
                one()

    return TimedCall(call, torch.no_grad)


def eager_mode(mode: Mode) -> Mode:
    """The mode in which operators can be seen: in inference mode composite ones would hide what they are made of."""
    return torch.no_grad if mode is torch.inference_mode else mode


def table(found: Listing, clocked: ClockedOperators, idling: ClockedOperators, rounds: int) -> tuple[Operator, ...]:
    """The operators with their times in each round, from the last windows of both, as many for each round."""
    full = [_per_kind(rows, found.order, len(found.kinds)) for rows in _rounds(clocked, rounds, len(found.order))]
    rows = [np.asarray(one) for one in _rounds(idling, rounds, IDLE_CALLS * len(found.kinds))]
    # The lowest quarter of the calls of an operator that has nothing to do: all else is noise.
    each = [np.quantile(one.reshape(-1, len(found.kinds), IDLE_CALLS), 0.25, axis=(0, 2)) for one in rows]
    return tuple(
        Operator(
            kind.name,
            kind.shapes,
            kind.category,
            kind.part,
            kind.calls,
            kind.new_bytes,
            tuple(float(one[place]) for one in full),
            tuple(float(kind.calls * one[place]) for one in each),
        )
        for place, kind in enumerate(found.kinds)
    )


def plain_name(function: Any) -> str:
    """`aten::add` of `aten::add.Tensor`."""
    return str(function.name()).partition(".")[0]


def _rounds(clocked: ClockedOperators, rounds: int, width: int) -> list[list[list[float]]]:
    """Rows of each round; a call that took another way through its code is left out."""
    last = clocked.windows[-WINDOWS * rounds :]
    starts = range(0, len(last), WINDOWS)
    merged = [[row for window in last[start : start + WINDOWS] for row in window] for start in starts]
    return [[row for row in rows if len(row) == width] or [[0.0] * width] for rows in merged]


def _per_kind(rows: list[list[float]], order: list[int], kinds: int) -> Any:
    """Seconds of each kind in a call: the mean over the faster half of the calls, as whole calls are taken."""
    table = np.asarray(rows)
    totals = table.sum(axis=1)
    faster = table[totals <= np.median(totals)].mean(axis=0)
    return np.bincount(np.asarray(order, dtype=int), weights=faster, minlength=kinds)


def _idle_call(kind: OperatorKind) -> Callable[[], object]:
    nothing = torch.zeros(1)
    if kind.category in SHRINKABLE and not kind.function._schema.is_mutable:
        try:
            with torch.no_grad():
                kind.function(*kind.args, **kind.kwargs)
        except (RuntimeError, IndexError, ValueError, TypeError):  # it was told a size beside its tensors
            return lambda: NOTHING(nothing)
        return lambda: kind.function(*kind.args, **kind.kwargs)
    return lambda: NOTHING(nothing)


def _shrunk(value: Any) -> Any:
    """A tensor of the same type and number of dimensions with one value."""
    return value.detach().new_ones((1,) * value.dim()) if isinstance(value, Tensor) else value


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_iter(value) if isinstance(leaf, Tensor))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _shapes(tensors: tuple[Tensor, ...]) -> str:
    told = ["x".join(map(str, tensor.shape)) or "1" for tensor in tensors[:MAX_SHAPES]]
    more = [f"and {len(tensors) - MAX_SHAPES} more"] if len(tensors) > MAX_SHAPES else []
    return ", ".join([*told, *more])
