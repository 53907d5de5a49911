"""The matrix products of a call, made again in each library that torch has: which library costs how much time.

They are made as often as in the call and with the same shapes, strides and dtype. A library that packs weights does so
once for all products of one shape. The gradients of one weight from all steps are made as a single product, as fused
layers and compiled code do. What that saves is a cause. It lacks the additions that are saved, too, and the copies that
put the steps side by side.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch

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
from rnnbench.profiling.operators import Factors, Listing
from rnnbench.store.profiles import Cause, Products
from rnnbench.workloads.phases import TimedCall

MIN_GRADIENTS = 2  # of one weight: fewer are not worth a single product
FUSED_LSTM = "mkldnn_rnn_layer"  # torch.nn's LSTM on a CPU
# Arms of a replay. In an idle one each matrix has a single value: all but the arithmetic remains.
STEPWISE = "gradients of each step"
STACKED = "gradients at once"
IN_LIBRARY = "products in "
IDLE_IN_LIBRARY = "idle in "
ONE = Matrix((1, 1), (1, 1))
Differences = dict[Cause, tuple[str, str]]  # a cause -> the arms that measure it: one with it, and one without


@dataclass(frozen=True)
class ProductReplays:
    """The products of a call, and the arms that make them again."""

    products: Products | None = None  # without their times; None if there are none
    arms: Mapping[str, TimedCall] = field(default_factory=dict)
    differences: Differences = field(default_factory=dict)  # that the weight gradients make


def product_replays(listing: Listing, *, trained: bool) -> ProductReplays:
    """Return the products of a call on a CPU, the arms that make them, and what its weight gradients cost.

    The products inside a fused layer can't be seen; only its library is known.
    """
    if any(FUSED_LSTM in kind.operator.name for kind in listing.kinds):
        return ProductReplays(Products(ONEDNN if trained else ONEDNN_PACKED))  # as `ONEDNN_VERBOSE=1` shows
    counts = Counter[Factors]()
    gradients = Counter[Factors]()
    for kind in listing.kinds:
        if kind.product is not None:
            counts[kind.product] += kind.operator.calls
            # Backward multiplies the transposed rows of a step to get a weight's gradient.
            is_transposed = kind.product.left.strides[0] == 1 != kind.product.left.strides[1]
            if kind.operator.part == "backward" and is_transposed and kind.operator.calls >= MIN_GRADIENTS:
                gradients[kind.product] += kind.operator.calls
    if not counts:
        return ProductReplays()
    stacked = dict.fromkeys((_longer(product, count) for product, count in gradients.items()), 1)
    whole = {product: count for product, count in counts.items() if product not in gradients} | stacked
    library = torch_library(next(iter(counts)).dtype)
    calls = sum(counts.values())
    full = _in_each_library(whole.items())
    small = _in_each_library((product._replace(left=ONE, right=ONE), count) for product, count in whole.items())
    arms = {
        prefix + name: calls_of[name]
        for name in full
        for prefix, calls_of in ((IN_LIBRARY, full), (IDLE_IN_LIBRARY, small))
    }
    if not gradients:
        return ProductReplays(Products(library, calls), arms)
    for name, products in ((STEPWISE, gradients), (STACKED, stacked)):
        arms[name] = _in_each_library(products.items())[library]
    cause = Cause("weight gradients", "mm", sum(gradients.values()), operators=("mm",))
    return ProductReplays(Products(library, calls), arms, {cause: (STEPWISE, STACKED)})


def _in_each_library(products: Iterable[tuple[Factors, int]]) -> dict[str, TimedCall]:
    """Return calls that make each product so many times, by the library; a library that lacks one is left out."""
    products_in_libraries = []
    for product, count in products:
        left = product.left.tensor(product.dtype)
        right = product.right.tensor(product.dtype)
        calls = product_calls(left, right.t(), right.new_zeros(right.shape[1]) if product.has_bias else None)
        if packed := calls.pop(DIRECT_PACKED, None):
            calls.setdefault(DIRECT, packed)  # it is packed only if it can't be read where it lies
        products_in_libraries.append((calls, count))
    first, *others = (calls for calls, _ in products_in_libraries)
    names = [name for name in first if all(name in calls for calls in others)]
    of_library = {
        name: partial(_repeat, [(calls[name], count) for calls, count in products_in_libraries]) for name in names
    }
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
    outputs, rows = product.left.shape
    inputs = product.right.shape[1]
    return product._replace(
        left=Matrix((outputs, count * rows), (1, outputs)), right=Matrix((count * rows, inputs), (inputs, 1))
    )
