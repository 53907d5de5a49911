"""The operators of a call, each timed within the call: with the caches, the memory and the autograd of the call.

Torch's profiler makes short operators several times slower, each by a different factor. Here a clock is read before and
after each operator and nothing else is done, so the added time is the same for all operators. It is measured on the
same operators with a single value in each tensor; the remaining time is the kernel's. (Running each operator repeatedly
on its own was tried, too, but then its weights are in a nearer cache than in the call.)
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from rnnbench.cells.states import dense_parts, storage_address
from rnnbench.harness.live.live_cases import tensors_in
from rnnbench.kernels.libraries import (
    Matrix,
)
from rnnbench.profiling.operator_categories import category
from rnnbench.store.profiles import CallPart, Category, Operator
from rnnbench.workloads.phases import TimedCall

MAX_SHAPES = 4  # that are listed for an operator that takes many tensors
# Operators that accept tensors of one value whatever their other arguments are: none reads an index or a size.
SHRINKABLE: tuple[Category, ...] = ("pointwise", "products")
FASTER_HALF = 0.5  # of the calls of a round
IDLE_CALLS = 20  # of each operator in one call of the arm
NO_OPERATION = partial(torch.ops.aten.relu.default, torch.zeros(1))  # takes the place of operators that can't be shrunk


class Factors(NamedTuple):
    """The forms of the factors of `left @ right (+ bias)`."""

    left: Matrix
    right: Matrix
    dtype: torch.dtype
    has_bias: bool


@dataclass
class OperatorKind:
    """All calls of one operator on tensors of the same shapes and strides."""

    operator: Operator  # without its times
    shrunk: Callable[[], object]  # a call of it on tensors with a single value, of the same type and dimensions
    product: Factors | None  # its factors, if it is a product of two matrices


class Listing(TorchDispatchMode):  # type: ignore[no-untyped-call] # its base is untyped in torch
    """Records the operators that are called while this mode is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinds: list[OperatorKind] = []
        self.order: list[int] = []  # for each call, its index in `kinds`
        self._indices: dict[Any, int] = {}
        self._seen_backward = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record a call, and make it."""
        kwargs = kwargs or {}
        is_backward = torch._C._current_autograd_node() is not None
        self._seen_backward |= is_backward
        part: CallPart = "optimizer" if self._seen_backward else "forward"
        if is_backward:
            part = "backward"
        name = str(function.name()).partition(".")[0]
        inputs = tuple(tensors_in((args, kwargs)))
        what = category(name)
        tensors = () if what == "views" else inputs
        forms = [[(each.shape, each.stride(), each.dtype) for each in dense_parts(tensor)] for tensor in tensors]
        key = (
            function,
            part,
            *((tensor.shape, tensor.layout, *form) for tensor, form in zip(tensors, forms, strict=True)),
        )
        if key not in self._indices:
            self._indices[key] = len(self.kinds)
            shapes = ["x".join(map(str, tensor.shape)) or "1" for tensor in tensors[:MAX_SHAPES]]
            shapes += [f"and {len(tensors) - MAX_SHAPES} more"] if len(tensors) > MAX_SHAPES else []
            product = None
            is_dense = all(tensor.layout == torch.strided for tensor in inputs)
            if is_dense and not kwargs and function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
                left, right = args[-2:]
                has_bias = len(args) > 2 and args[0].dim() == 1
                product = Factors(Matrix.from_tensor(left), Matrix.from_tensor(right), left.dtype, has_bias)
            shrunk = NO_OPERATION
            if is_dense and what in SHRINKABLE and not function._schema.is_mutable:
                small, smaller = tree_map_only(
                    Tensor, lambda tensor: tensor.detach().new_ones((1,) * tensor.dim()), (args, kwargs)
                )
                shrunk = partial(function, *small, **smaller)
            operator = Operator(name, ", ".join(shapes), what, part, calls=0)
            self.kinds.append(OperatorKind(operator, shrunk, product))
        self.order.append(self._indices[key])
        result = function(*args, **kwargs)
        kind = self.kinds[self.order[-1]]
        outputs = [each.untyped_storage() for tensor in tensors_in(result) for each in dense_parts(tensor)]
        fresh = {storage.data_ptr(): storage.nbytes() for storage in outputs}
        storages_before = {storage_address(each) for tensor in inputs for each in dense_parts(tensor)}
        size = kind.operator.new_bytes + sum(size for storage, size in fresh.items() if storage not in storages_before)
        kind.operator = replace(kind.operator, calls=kind.operator.calls + 1, new_bytes=size)
        return result


class ClockedOperators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A call whose operators are timed: `arm` takes turns with others.

    `rounds` has a list of rows for each round, and a row for each call.
    """

    def __init__(self, timed: TimedCall) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rounds: list[list[list[float]]] = [[]]  # the first: calls before all rounds
        self._timed = timed
        self._seconds = list[float]()
        self.arm = TimedCall(self._call, timed.mode, restart=lambda: self.rounds.append([]))

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Time a call and make it."""
        kwargs = kwargs or {}
        start = perf_counter()
        result = function(*args, **kwargs)
        self._seconds.append(perf_counter() - start)
        return result

    def _call(self) -> None:
        self._seconds = []
        with self:
            self._timed.call()
        self.rounds[-1].append(self._seconds)

    def last(self, finished: int, width: int) -> list[np.ndarray]:
        """Return the rows of the finished rounds, without calls that took another path through their code."""
        rounds = self.rounds[1 : 1 + finished]  # the time may have cut one more short
        return [np.asarray([row for row in rows if len(row) == width] or [[0.0] * width]) for rows in rounds]


def listing(timed: TimedCall) -> Listing:
    """List the operators of a call; raises any error of the call."""
    recorder = Listing()
    with timed.mode(), recorder:
        timed.call()
    return recorder


def idle(kinds: list[OperatorKind]) -> TimedCall:
    """Return a call that runs each operator several times on single values, or a fixed one if it can't be shrunk."""
    calls: list[Callable[[], object]] = []
    for kind in kinds:
        idle_call: Callable[[], object] = NO_OPERATION
        with suppress(RuntimeError, IndexError, ValueError, TypeError), torch.no_grad():  # an argument may be a size
            kind.shrunk()
            idle_call = kind.shrunk
        calls += [idle_call] * IDLE_CALLS

    def call() -> None:
        for idle_call in calls:
            idle_call()

    return TimedCall(call, torch.no_grad)


def table(
    recorder: Listing,
    clocked: ClockedOperators,
    idling: ClockedOperators,
    finished: int,
    fastest_share: float = FASTER_HALF,
) -> tuple[Operator, ...]:
    """Return the operators with their times in each of the `finished` rounds of both arms.

    `fastest_share`: of the calls of a round, which count.
    """
    kinds = recorder.kinds
    order = np.asarray(recorder.order, dtype=int)
    full = []
    for rows in clocked.last(finished, len(order)):
        totals = rows.sum(axis=1)
        faster = rows[totals <= np.quantile(totals, fastest_share)].mean(axis=0)
        full.append(np.bincount(order, weights=faster, minlength=len(kinds)))
    # The lower quartile of the calls of an idle operator: everything above is noise.
    overhead = [
        np.quantile(rows.reshape(-1, len(kinds), IDLE_CALLS), 0.25, axis=(0, 2))
        for rows in idling.last(finished, IDLE_CALLS * len(kinds))
    ]
    return tuple(
        replace(
            kind.operator,
            seconds=tuple(float(seconds[index]) for seconds in full),
            idle_seconds=tuple(float(kind.operator.calls * seconds[index]) for seconds in overhead),
        )
        for index, kind in enumerate(kinds)
    )
