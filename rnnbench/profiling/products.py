"""The matrix products of a call, made again in each library that torch has: which library costs how much time.

Products of the same shapes, strides and dtype are made as often as in the call. A library that packs weights does so
once for all products of one shape.

The gradients of one weight from all steps are made as a single product, as fused layers and compiled code do. What that
saves is a cause. It lacks the additions that are saved, too, and the copies that put the steps side by side.
"""

from collections import Counter
from collections.abc import Iterable

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
FUSED = "mkldnn_rnn_layer"  # torch.nn's LSTM on a CPU
# Arms of a replay. In an idle one each matrix has a single value: all but the arithmetic remains.
STEPWISE, STACKED, IN, IDLE = "gradients of each step", "gradients at once", "products in ", "idle in "
ONE = Matrix((1, 1), (1, 1))

Differences = dict[Cause, tuple[str, str]]  # a cause -> the arms that measure it: one with it, and one without


def product_replays(listed: Listing, *, trained: bool) -> tuple[Products | None, dict[str, TimedCall], Differences]:
    """Return the products of a call on a CPU without their times, the arms that make them, and weight gradients.

    None if it makes none. The products inside a fused layer can't be seen; only its library is known.
    """
    if any(FUSED in kind.operator.name for kind in listed.kinds):
        return Products(ONEDNN if trained else ONEDNN_PACKED), {}, {}  # as `ONEDNN_VERBOSE=1` shows
    made, gradients = Counter[Factors](), Counter[Factors]()
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
    library, calls = torch_library(next(iter(made)).dtype), sum(made.values())
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
        left, right = (factor.tensor(product.dtype) for factor in (product.left, product.right))
        calls = product_calls(left, right.t(), right.new_zeros(right.shape[1]) if product.has_bias else None)
        if packed := calls.pop(DIRECT_PACKED, None):
            calls.setdefault(DIRECT, packed)  # it is packed only if it can't be read where it lies
        made.append((calls, count))
    first, *others = (calls for calls, _ in made)
    names = [name for name in first if all(name in calls for calls in others)]
    return {name: _repeated([(calls[name], count) for calls, count in made]) for name in names}


def _repeated(products: list[tuple[ProductCall, int]]) -> TimedCall:
    def call() -> None:
        for product, count in products:
            if product.pack is not None:
                product.pack()
            for _ in range(count):
                product.multiply()

    return TimedCall(call, torch.no_grad)


def _longer(product: Factors, count: int) -> Factors:
    """Return the product of the gradients of so many steps."""
    (outputs, rows), inputs = product.left.shape, product.right.shape[1]
    return product._replace(
        left=Matrix((outputs, count * rows), (1, outputs)), right=Matrix((count * rows, inputs), (inputs, 1))
    )
