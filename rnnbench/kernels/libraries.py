"""The libraries that make a matrix product on a CPU: torch's own, oneDNN, and rnnbench's code; and the fastest one.

`prepacked` has each product made by torch or by rnnbench's code, whichever took less time here. In 96 kinds of products
on two processors, rnnbench's code took 0.2 to 1.2 times the time of torch's library
(MKL). oneDNN was never the fastest, and weights packed for MKL saved more than 3% once, so neither is used.
"""

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from time import perf_counter
from timeit import Timer
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from rnnbench.kernels import direct
from rnnbench.store.metrics import Unavailable

PACKED = " with packed weights"  # the end of the name of a library that stores weights in an order of its own
# rnnbench's own products; the first reads a right factor where it lies by row
OWN = DIRECT, DIRECT_PACKED = "rnnbench", "rnnbench" + PACKED
ONEDNN = "oneDNN"
ONEDNN_PACKED = "oneDNN" + PACKED

REDUCED = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
BLAS_NAMES = {"mkl": "MKL", "open": "OpenBLAS", "accelerate": "Accelerate", "nvpl": "NVPL", "flexi": "FlexiBLAS"}
MIN_ROUNDS = 9
ROUNDS = 30
MAX_SECONDS = 0.3  # after which there are no more rounds than `MIN_ROUNDS`
BLOCK_SECONDS = 2e-4  # of back-to-back calls; the shortest block of a call counts
MIN_SAVED = 0.03  # of the time in torch's own library: for less, no other one is used
# The same for the time in rnnbench's own code where it adds a matrix in the same call. A product apart from that sum
# makes a matrix more, which is written and read again: an LSTM of hidden size 512 whose product of the state took 12%
# less in MKL, measured alone, took 7% longer as a whole (batch 32, an Intel Xeon with AVX-512 and 2 MiB of L2).
MIN_SAVED_APART = 0.2
ops: Any = torch.ops


class ProductCall(NamedTuple):
    """One product in one library, and how its weight is packed before, if it is."""

    multiply: Callable[[], object]
    pack: Callable[[], object] | None = None


def torch_library(dtype: torch.dtype) -> str:
    """Return the name of the library that `torch.mm` and `torch.addmm` call on a CPU."""

    def is_true(name: str) -> bool:
        with suppress(RuntimeError, AttributeError):  # torch has no oneDNN, or another one
            return bool(getattr(ops.mkldnn, name)())
        return False

    if dtype in REDUCED and not is_true(REDUCED[dtype]):
        return "torch"  # its own loops
    if dtype in REDUCED or (dtype is torch.float32 and is_true("_is_mkldnn_acl_supported")):  # ACL is Arm's
        return ONEDNN
    info = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return "BLAS" if info is None else BLAS_NAMES.get(info[1].lower(), info[1])


def product_calls(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> dict[str, ProductCall]:
    """Return the same product in each available library, by the library's name; torch's own comes first.

    Shapes: x (rows, input), weight (output, input), bias (output). Make the calls without gradients. On other devices
    than a CPU the only name is `torch`.
    """
    right = weight.detach().t()
    by_torch = ProductCall(partial(torch.mm, x, right) if bias is None else partial(torch.addmm, bias, x, right))
    if not x.is_cpu:
        return {"torch": by_torch}
    calls = {torch_library(x.dtype): by_torch}
    with suppress(RuntimeError, AttributeError, TypeError), torch.no_grad():  # no such operator, dtype or argument here
        linear = ops.mkldnn._linear_pointwise.default
        plain = weight.detach().contiguous()
        pack = partial(ops.mkldnn._reorder_linear_weight.default, plain, len(x))
        linear(x, plain, bias, "none", [], "")
        calls.setdefault(ONEDNN, ProductCall(partial(linear, x, weight.detach(), bias, "none", [], "")))
        calls[ONEDNN_PACKED] = ProductCall(partial(linear, x, pack(), bias, "none", [], ""), pack)
    with suppress(Unavailable):
        functions = direct.load(x.dtype)
        result = x.new_empty(len(x), len(weight))
        left = x.contiguous()
        panels = functions.pack(right)
        factors = {DIRECT_PACKED: panels} | ({DIRECT: right} if Matrix.from_tensor(right).is_by_row else {})
        for name, factor in factors.items():
            # Into the same memory each time: in compiled code, the allocator hands out the last call's pages again.
            multiply = functions.into(result, left, factor, bias)
            if left is not x:
                multiply = partial(_after_copy, left, x, multiply)
            calls[name] = ProductCall(multiply, partial(functions.pack, right, panels) if factor is panels else None)
    return calls


def _after_copy(copy: Tensor, source: Tensor, multiply: Callable[[], object]) -> None:
    copy.copy_(source)
    multiply()


class Matrix(NamedTuple):
    """The size of a matrix, and how it is stored."""

    shape: tuple[int, int]
    strides: tuple[int, int]

    @classmethod
    def from_tensor(cls, tensor: Tensor) -> Self:
        """Return the form of a matrix."""
        rows, columns = tensor.shape
        row, column = tensor.stride()
        return cls((rows, columns), (row, column))

    @property
    def is_by_row(self) -> bool:
        """Whether the values of a row lie side by side, row after row; there may be gaps between rows."""
        return self.strides[1] == 1 and self.strides[0] >= self.shape[1]

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """Return a matrix of equal values that is stored this way; rows that lie in one place stay there."""
        matrix = torch.empty_strided(self.shape, self.strides, dtype=dtype, device="cpu")
        return matrix.fill_(0.5) if 0 not in self.strides else matrix.new_full((), 0.5).expand(self.shape)


@dataclass(frozen=True)
class SharedProducts:
    """Products `left @ right` of one call with the same right factor, as those of a loop with its weight."""

    left: Matrix
    right: Matrix
    count: int
    dtype: torch.dtype
    threads: int
    # Whether each is added to another matrix, which rnnbench's own code does in the same call.
    has_added: bool = field(default=False, compare=False)


def fastest_library(products: SharedProducts) -> str:
    """Return the library in which the products take the least time, with the packing that they share.

    It is torch's own if rnnbench's code does not save more than `MIN_SAVED`. For products to which a matrix is added,
    it is rnnbench's if torch's own does not save more than `MIN_SAVED_APART`.
    """
    seconds = library_seconds(products)
    own_names = [name for name in OWN if name in seconds] if products.has_added else []
    usual = min(own_names, key=seconds.__getitem__, default=torch_library(products.dtype))
    best = min(seconds, key=seconds.__getitem__)
    saved = MIN_SAVED_APART if own_names else MIN_SAVED
    return best if seconds[best] < (1 - saved) * seconds[usual] else usual


@cache
def library_seconds(products: SharedProducts) -> dict[str, float]:
    """Return the seconds of all products in torch's library and in rnnbench's code, with copies and packing."""
    with torch.inference_mode():
        left = products.left.tensor(products.dtype)
        right = products.right.tensor(products.dtype)
        calls = product_calls(left, right.t())
        empty = product_calls(left[:1, :1], right[:1, :1])
        usual = torch_library(products.dtype)
        timed = {usual: calls[usual].multiply}
        for name in (name for name in OWN if name in calls):
            timed |= {name: calls[name].multiply, f"calling {name}": empty[DIRECT_PACKED].multiply}
            if (pack := calls[name].pack) is not None:
                timed[f"packing for {name}"] = pack
        taken = shortest(timed)
    # Python's way to C, which compiled code does not go, is that of a product of two numbers. A product of a few
    # numbers takes less time than two calls differ by, so a call may appear to take no time.
    return {
        name: products.count * max(taken[name] - taken.get(f"calling {name}", 0.0), 0.0)
        + taken.get(f"packing for {name}", 0.0)
        for name in (usual, *OWN)
        if name in taken
    }


def shortest(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the shortest time of each call, in seconds; the calls take turns in short blocks.

    There are many blocks, since other work on the machine disturbs most of those of a noisy minute.
    """
    timers = {name: Timer(call, setup=call, timer=perf_counter) for name, call in calls.items()}
    counts = {name: max(1, math.ceil(BLOCK_SECONDS / max(timer.timeit(1), 1e-7))) for name, timer in timers.items()}
    taken = dict.fromkeys(calls, math.inf)
    end = perf_counter() + MAX_SECONDS
    for rounds in range(ROUNDS):
        if rounds >= MIN_ROUNDS and perf_counter() > end:
            break
        for name, timer in timers.items():
            taken[name] = min(taken[name], timer.timeit(counts[name]) / counts[name])
    return taken
