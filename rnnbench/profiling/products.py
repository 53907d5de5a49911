"""The matrix products of a call, made again in each library that torch has: which library costs how much time.

Products of the same shapes, strides and dtype are made in the order of the call, on weights that stay in place.

The gradients of one weight from all steps are made as a single product, as fused layers and compiled code do. What that
saves is a cause. It lacks the additions that are saved, too, and the copies that put the steps side by side.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from rnnbench.cells.states import storage_address
from rnnbench.kernels.direct import packed_direct
from rnnbench.kernels.libraries import (
    DIRECT,
    ONEDNN,
    ONEDNN_PACKED,
    ProductCall,
    pack,
    product_calls,
    torch_library,
)
from rnnbench.profiling.operators import Listing
from rnnbench.store.profiles import PACKED, PACKING, Cause, Products
from rnnbench.workloads.phases import TimedCall

MAX_BYTES = 1 << 30  # of the matrices that replays multiply; larger calls are not replayed
MIN_GRADIENTS = 2  # of one weight: fewer are not worth a single product
FUSED = "mkldnn_rnn_layer"  # torch.nn's LSTM on a CPU
# Arms of a replay. In an idle one each matrix has a single value: all but the arithmetic remains.
MADE, IN, IDLE = "products as made", "products in ", "idle in "
aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Layout:
    """How a matrix is stored."""

    shape: tuple[int, int]
    strides: tuple[int, int]

    @property
    def by_row(self) -> Self:
        """The same matrix stored row by row, as parameters are."""
        return replace(self, strides=(self.shape[1], 1))

    def tensor(self, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        """A matrix of random values, stored this way; one whose values overlap in memory is stored row by row."""
        (near, count), (far, _) = sorted(zip(self.strides, self.shape, strict=True))
        overlaps = near < 1 or (min(self.shape) > 1 and far < near * count)
        strides = self.by_row.strides if overlaps else self.strides
        made = torch.empty_strided(self.shape, strides, dtype=dtype, device="cpu")
        return made.copy_(torch.randn(self.shape, generator=generator, device="cpu"))


@dataclass(frozen=True)
class MatrixProduct:
    """One product `linear(x, weight, bias)`: x (rows, input), weight (output, input)."""

    x: Layout
    weight: Layout
    dtype: torch.dtype
    has_bias: bool
    weight_id: int = 0  # of a weight that exists before the call, and so could be packed; 0 if there is none
    is_gradient: bool = False  # of a weight, from the rows of one step

    @property
    def idle(self) -> Self:
        """The same product with a single value in each matrix."""
        return replace(self, x=Layout((1, 1), (1, 1)), weight=Layout((1, 1), (1, 1)))

    @property
    def bytes(self) -> int:
        """Bytes of both matrices."""
        return (math.prod(self.x.shape) + math.prod(self.weight.shape)) * self.dtype.itemsize


class ProductRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # its base is untyped in torch
    """Records the matrix products that are made while this mode is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[MatrixProduct] = []
        self._made = set[int]()  # storages of results
        self._weights = set[int]()  # storages of second factors that the call did not make

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record a call if it is a product, and make it."""
        result = function(*args, **kwargs or {})
        if function is aten.mm.default:
            self._add(args[0], args[1], has_bias=False)
        elif function is aten.addmm.default and not kwargs:
            self._add(args[1], args[2], has_bias=args[0].dim() == 1)
        given = {storage_address(leaf) for leaf in tree_iter((args, kwargs)) if isinstance(leaf, Tensor)}
        self._made |= {storage_address(leaf) for leaf in tree_iter(result) if isinstance(leaf, Tensor)} - given
        return result

    def _add(self, left: Tensor, right: Tensor, *, has_bias: bool) -> None:
        is_backward = torch._C._current_autograd_node() is not None
        storage = storage_address(right)
        if not is_backward and storage not in self._made:
            self._weights.add(storage)
        is_gradient = is_backward and not {storage_address(left), storage} & self._weights
        weight_id = storage if storage in self._weights else 0
        x, weight = _layout(left), _layout(right.t())
        self.products.append(MatrixProduct(x, weight, left.dtype, has_bias, weight_id, is_gradient))


@dataclass(frozen=True)
class ProductReplays:
    """Calls that make the products of a call, as arms that take turns with others."""

    library: str  # that makes the products in the call itself
    calls: int = 0
    gradients: int = 0  # of weights, of single steps
    arms: dict[str, TimedCall] = field(default_factory=dict)

    def products(self, times: Mapping[str, tuple[float, ...]]) -> Products:
        """What is stored of the arms' times."""
        seconds, idle_seconds = (
            {arm.removeprefix(prefix): times[arm] for arm in self.arms if arm.startswith(prefix)}
            for prefix in (IN, IDLE)
        )
        return Products(self.library, self.calls, seconds, idle_seconds)

    def causes(self, times: Mapping[str, tuple[float, ...]]) -> Iterable[Cause]:
        """Weight gradients that could be a single product: their cost is that of the products as they are made."""
        if MADE in self.arms:
            pairs = zip(times[MADE], times[IN + self.library], strict=True)
            saved = tuple(seconds - less for seconds, less in pairs)
            yield Cause("weight gradients", "mm", self.gradients, saved)


def product_replays(timed: TimedCall, listed: Listing, *, trained: bool) -> ProductReplays:
    """The products of a call on a CPU as replays; without a library if it makes none. Raises any error of the call.

    The products inside a fused layer can't be seen; only its library is known.
    """
    if any(FUSED in kind.name for kind in listed.kinds):
        return ProductReplays(ONEDNN if trained else ONEDNN_PACKED)  # as `ONEDNN_VERBOSE=1` shows
    products = recorded(timed)
    if not products:
        return ProductReplays("")
    library, whole = torch_library(products[0].dtype), stacked(products)
    if sum(product.bytes for product in {*products, *whole}) > MAX_BYTES:
        return ProductReplays(library, len(products))
    full, small = (replays(own) | packing(own) for own in (whole, [product.idle for product in whole]))
    arms = {
        prefix + name: calls[name] for name in full if name in small for prefix, calls in ((IN, full), (IDLE, small))
    }
    if len(whole) < len(products) and IN + library in arms:
        arms[MADE] = replays(products)[library]
    gradients = len(products) - len(whole)
    return ProductReplays(library, len(products), gradients + 1 if gradients else 0, arms)


def recorded(timed: TimedCall) -> list[MatrixProduct]:
    """The matrix products of a call, in order; raises any error of the call."""
    recorder = ProductRecorder()
    with timed.mode(), recorder:
        timed.call()
    return list(recorder.products)


def stacked(products: Sequence[MatrixProduct]) -> list[MatrixProduct]:
    """The same products, with the gradients of one weight from all steps as a single product at the end."""
    counts = Counter(product for product in products if product.is_gradient)
    several = {product: count for product, count in counts.items() if count >= MIN_GRADIENTS}
    kept = [product for product in products if product not in several]
    return kept + [_longer(product, count) for product, count in several.items()]


def replays(products: Sequence[MatrixProduct]) -> dict[str, TimedCall]:
    """Calls that make all products in one library, by the library's name; a library that lacks one is left out."""
    shared = _Shared()
    made = {product: _calls(product, shared) for product in dict.fromkeys(products)}
    return {
        name: _in_order([_in(name, made[product]) for product in products])
        for name in dict.fromkeys(name for calls in made.values() for name in calls)
        if all(name in calls or name.removesuffix(PACKED) in calls for calls in made.values())
    }


def packing(products: Sequence[MatrixProduct]) -> dict[str, TimedCall]:
    """A call that packs each weight once for oneDNN, as its layers do in each call; empty if torch can't."""
    shared = _Shared()
    plain = (replace(product, weight=product.weight.by_row) for product in products if product.weight_id)
    packable = {(product.weight_id, product.weight): product for product in plain}
    packs = [pack(shared.weight(product), product.x.shape[0]) for product in packable.values()]
    known = [call for call in packs if call is not None]
    return {PACKING: _in_order(known)} if known and len(known) == len(packs) else {}


class _Shared:
    """The tensors of replayed products: products of one weight share it."""

    def __init__(self) -> None:
        self._weights: dict[Any, Tensor] = {}
        self._generator = torch.Generator().manual_seed(0)  # the user's random state stays

    def x(self, product: MatrixProduct) -> Tensor:
        return product.x.tensor(product.dtype, self._generator)

    def weight(self, product: MatrixProduct) -> Tensor:
        key = (product.weight_id or product, product.weight)
        if key not in self._weights:
            self._weights[key] = product.weight.tensor(product.dtype, self._generator)
        return self._weights[key]


def _calls(product: MatrixProduct, shared: _Shared) -> dict[str, ProductCall]:
    weight = shared.weight(product)
    bias = weight.new_zeros(product.weight.shape[0]) if product.has_bias else None
    x = shared.x(product)
    calls = product_calls(x, weight, bias)
    if x.is_cpu and (own := packed_direct(x, weight, bias)) is not None:
        calls[DIRECT] = own
    # Only a weight that exists before the call can be packed before it; other products are made without.
    return {name: call for name, call in calls.items() if product.weight_id or not name.endswith(PACKED)}


def _in(library: str, calls: Mapping[str, ProductCall]) -> ProductCall:
    return calls[library if library in calls else library.removesuffix(PACKED)]


def _in_order(calls: Iterable[Callable[[], object]]) -> TimedCall:
    calls = tuple(calls)

    def call() -> None:
        for product in calls:
            product()

    return TimedCall(call, torch.no_grad)


def _longer(product: MatrixProduct, count: int) -> MatrixProduct:
    return replace(product, x=_wider(product.x, count), weight=_wider(product.weight, count))


def _wider(layout: Layout, count: int) -> Layout:
    rows, columns = layout.shape[0], layout.shape[1] * count
    is_by_column = layout.strides[0] == 1 and layout.shape[0] > 1
    return Layout((rows, columns), (1, rows) if is_by_column else (columns, 1))


def _layout(matrix: Tensor) -> Layout:
    rows, columns = matrix.shape
    return Layout((rows, columns), (matrix.stride(0), matrix.stride(1)))
