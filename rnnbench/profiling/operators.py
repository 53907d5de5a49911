"""The operators of a call, each timed within the call: with the caches, the memory and the autograd of the call.

Torch's profiler makes short operators several times slower, each by a different factor. Here a clock is read before and
after each operator and nothing else is done, so the added time is the same for all operators. It is measured on the
same operators with a single value in each tensor; the remaining time is the kernel's. (Running each operator repeatedly
on its own was tried, too, but then its weights are in a nearer cache than in the call.)

Those that are matrix products are also made again in each library that torch has, as often as in the call and with the
same shapes, strides and dtype: which library costs how much time. A library that packs weights does so once for all
products of one shape. The gradients of one weight from all steps are made as a single product, as fused layers and
compiled code do. What that saves is a cause. It lacks the additions that are saved, too, and the copies that put the
steps side by side.
"""

from collections import Counter
from collections.abc import Callable, Iterable
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
    DIRECT,
    DIRECT_PACKED,
    ONEDNN,
    ONEDNN_PACKED,
    Matrix,
    ProductCall,
    product_calls,
    torch_library,
)
from rnnbench.store.profiles import CallPart, Category, Cause, Operator, Products
from rnnbench.store.records import FUSED_LAYERS
from rnnbench.workloads.phases import TimedCall

MAX_SHAPES = 4  # that are listed for an operator that takes many tensors
# Operators that accept tensors of one value whatever their other arguments are: none reads an index or a size.
SHRINKABLE: tuple[Category, ...] = ("pointwise", "products")
FASTER_HALF = 0.5  # of the calls of a round
IDLE_CALLS = 20  # of each operator in one call of the arm
NOTHING = partial(torch.ops.aten.relu.default, torch.zeros(1))  # takes the place of operators that can't be shrunk
BY_NAME: dict[str, Category] = {
    **dict.fromkeys(
        [
            "mm",
            "addmm",
            "bmm",
            "baddbmm",
            "matmul",
            "linear",
            "mv",
            "addmv",
            "dot",
            "vdot",
            "outer",
            "ger",
            "addr",
            "addbmm",
            "_addmm_activation",
            "linear_backward",
            "matmul_backward",
            "convolution",
            "convolution_backward",
            "mkldnn_linear",
            "_scaled_mm",
            "einsum",
        ],
        "products",
    ),
    **dict.fromkeys(
        [
            "clone",
            "copy",
            "copy_",
            "_to_copy",
            "to",
            "contiguous",
            "cat",
            "stack",
            "concatenate",
            "repeat",
            "tile",
            "index_select",
            "gather",
            "embedding",
            "split_copy",
            "unbind_copy",
            "select_backward",
            "slice_backward",
            "select_scatter",
            "slice_scatter",
            "constant_pad_nd",
            "fill",
            "fill_",
            "zero_",
            "zeros",
            "zeros_like",
            "new_zeros",
            "ones",
            "ones_like",
            "new_ones",
            "full",
            "full_like",
            "index",
            "index_put",
            "index_put_",
            "roll",
            "flip",
            "masked_fill",
            "masked_fill_",
            "expand_copy",
            "_foreach_copy_",
            "_foreach_zero_",
        ],
        "copies",
    ),
    **dict.fromkeys(
        ["empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "_local_scalar_dense"],
        "views",
    ),
}
MIN_GRADIENTS = 2  # of one weight: fewer are not worth a single product
FUSED = "mkldnn_rnn_layer"  # torch.nn's LSTM on a CPU
# Arms of a replay. In an idle one each matrix has a single value: all but the arithmetic remains.
STEPWISE = "gradients of each step"
STACKED = "gradients at once"
IN = "products in "
IDLE = "idle in "
ONE = Matrix((1, 1), (1, 1))
Differences = dict[Cause, tuple[str, str]]  # a cause -> the arms that measure it: one with it, and one without


def category(name: str) -> Category:
    """Return the kind of work that an operator does, by its name: `aten::addmm` or `addmm`."""
    plain = name.rpartition("::")[2]
    if plain.startswith(FUSED_LAYERS):
        return "layer"
    if plain in BY_NAME:
        return BY_NAME[plain]
    packet = getattr(torch.ops.aten, plain, None)
    if packet is None:
        return "other"
    overload: Any = getattr(packet, packet.overloads()[0])
    if overload.is_view:
        return "views"
    # Torch does not tag backward operators, Adam's list operators, and fused gates.
    is_untagged = plain.startswith(("_foreach_", "_fused_adam", "_thnn_fused")) or plain.endswith("_backward")
    return "pointwise" if is_untagged or torch.Tag.pointwise in overload.tags else "other"


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
        part: CallPart = "backward" if is_backward else "optimizer" if self._seen_backward else "forward"
        name = str(function.name()).partition(".")[0]
        given = tuple(tensors_in((args, kwargs)))
        what = category(name)
        tensors = () if what == "views" else given
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
            is_dense = all(tensor.layout == torch.strided for tensor in given)
            if is_dense and not kwargs and function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
                left, right = args[-2:]
                has_bias = len(args) > 2 and args[0].dim() == 1
                product = Factors(Matrix.of(left), Matrix.of(right), left.dtype, has_bias)
            shrunk = NOTHING
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
        made = [each.untyped_storage() for tensor in tensors_in(result) for each in dense_parts(tensor)]
        fresh = {storage.data_ptr(): storage.nbytes() for storage in made}
        known = {storage_address(each) for tensor in given for each in dense_parts(tensor)}
        size = kind.operator.new_bytes + sum(size for storage, size in fresh.items() if storage not in known)
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
        idle_call: Callable[[], object] = NOTHING
        with suppress(RuntimeError, IndexError, ValueError, TypeError), torch.no_grad():  # an argument may be a size
            kind.shrunk()
            idle_call = kind.shrunk
        calls += [idle_call] * IDLE_CALLS

    def call() -> None:
        for idle_call in calls:
            idle_call()

    return TimedCall(call, torch.no_grad)


def table(
    found: Listing,
    clocked: ClockedOperators,
    idling: ClockedOperators,
    finished: int,
    fastest_share: float = FASTER_HALF,
) -> tuple[Operator, ...]:
    """Return the operators with their times in each of the `finished` rounds of both arms.

    `fastest_share`: of the calls of a round, which count.
    """
    kinds = found.kinds
    order = np.asarray(found.order, dtype=int)
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


# Products


def product_replays(listed: Listing, *, trained: bool) -> tuple[Products | None, dict[str, TimedCall], Differences]:
    """Return the products of a call on a CPU without their times, the arms that make them, and weight gradients.

    None if it makes none. The products inside a fused layer can't be seen; only its library is known.
    """
    if any(FUSED in kind.operator.name for kind in listed.kinds):
        return Products(ONEDNN if trained else ONEDNN_PACKED), {}, {}  # as `ONEDNN_VERBOSE=1` shows
    made = Counter[Factors]()
    gradients = Counter[Factors]()
    for kind in listed.kinds:
        if kind.product is not None:
            made[kind.product] += kind.operator.calls
            # Backward multiplies the transposed rows of a step to get a weight's gradient.
            is_transposed = kind.product.left.strides[0] == 1 != kind.product.left.strides[1]
            if kind.operator.part == "backward" and is_transposed and kind.operator.calls >= MIN_GRADIENTS:
                gradients[kind.product] += kind.operator.calls
    if not made:
        return None, {}, {}
    stacked = dict.fromkeys((_longer(product, count) for product, count in gradients.items()), 1)
    whole = {product: count for product, count in made.items() if product not in gradients} | stacked
    library = torch_library(next(iter(made)).dtype)
    calls = sum(made.values())
    full = _in_each_library(whole.items())
    small = _in_each_library((product._replace(left=ONE, right=ONE), count) for product, count in whole.items())
    arms = {prefix + name: own[name] for name in full for prefix, own in ((IN, full), (IDLE, small))}
    if not gradients:
        return Products(library, calls), arms, {}
    for name, products in ((STEPWISE, gradients), (STACKED, stacked)):
        arms[name] = _in_each_library(products.items())[library]
    cause = Cause("weight gradients", "mm", sum(gradients.values()))
    return Products(library, calls), arms, {cause: (STEPWISE, STACKED)}


def _in_each_library(products: Iterable[tuple[Factors, int]]) -> dict[str, TimedCall]:
    """Return calls that make each product so many times, by the library; a library that lacks one is left out."""
    made = []
    for product, count in products:
        left = product.left.tensor(product.dtype)
        right = product.right.tensor(product.dtype)
        calls = product_calls(left, right.t(), right.new_zeros(right.shape[1]) if product.has_bias else None)
        if packed := calls.pop(DIRECT_PACKED, None):
            calls.setdefault(DIRECT, packed)  # it is packed only if it can't be read where it lies
        made.append((calls, count))
    first, *others = (calls for calls, _ in made)
    names = [name for name in first if all(name in calls for calls in others)]
    of_library = {name: partial(_repeat, [(calls[name], count) for calls, count in made]) for name in names}
    return {name: TimedCall(call, torch.no_grad) for name, call in of_library.items()}


def _repeat(products: list[tuple[ProductCall, int]]) -> None:
    """Make each product so many times, after its weight is packed."""
    for product, count in products:
        if product.pack is not None:
            product.pack()
        for _ in range(count):
            product.multiply()


def _longer(product: Factors, count: int) -> Factors:
    """Return the product of the gradients of so many steps."""
    (outputs, rows), inputs = product.left.shape, product.right.shape[1]
    return product._replace(
        left=Matrix((outputs, count * rows), (1, outputs)), right=Matrix((count * rows, inputs), (inputs, 1))
    )
