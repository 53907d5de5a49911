"""The libraries in which torch can make one matrix product, so that the same product can be timed in each.

On a CPU torch's own functions call one of them. Compiled code and torch.nn's layers may call another.

Which library makes the products of a call fastest on this machine, measured once in a process.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from time import perf_counter
from typing import Self

import torch
from torch import Tensor

from rnnbench.kernels import direct, operators
from rnnbench.store.profiles import PACKED
from rnnbench.store.readings import Unavailable

ProductCall = Callable[[], Tensor]
# `library(x, weight, bias)` returns a call that computes `linear(x, weight, bias)`, or None if the library can't.
# Shapes: x (rows, input), weight (output, input), bias (output).
Library = Callable[[Tensor, Tensor, Tensor | None], ProductCall | None]

# rnnbench's own products, which are not torch's; the first reads a right factor where it lies by row
OWN = DIRECT, DIRECT_PACKED = "rnnbench", "rnnbench" + PACKED
ONEDNN, ONEDNN_PACKED, MKL_PACKED = "oneDNN", "oneDNN" + PACKED, "MKL" + PACKED

REDUCED = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
BLAS_NAMES = {"mkl": "MKL", "open": "OpenBLAS", "accelerate": "Accelerate", "nvpl": "NVPL", "flexi": "FlexiBLAS"}


def torch_library(dtype: torch.dtype) -> str:
    """The name of the library that `torch.mm` and `torch.addmm` call on a CPU."""
    if dtype in REDUCED and not _is_true(REDUCED[dtype]):
        return "torch"  # its own loops
    if dtype in REDUCED or (dtype is torch.float32 and _is_true("_is_mkldnn_acl_supported")):  # ACL is Arm's
        return ONEDNN
    info = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return "BLAS" if info is None else BLAS_NAMES.get(info[1].lower(), info[1])


def product_calls(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> dict[str, ProductCall]:
    """The same product in each available library: its name -> a call; the first is that of torch's functions.

    Shapes: x (rows, input), weight (output, input), bias (output). Make the calls without gradients. On other devices
    than a CPU the only name is `torch`.
    """
    if not x.is_cpu:
        return {"torch": by_torch(x, weight, bias)}
    own = torch_library(x.dtype)
    calls: dict[str, ProductCall] = {own: by_torch(x, weight, bias)}
    for name, library in LIBRARIES.items():
        call = None if name == own else library(x, weight, bias)
        if call is not None:
            calls[name] = call
    return calls


def by_torch(x: Tensor, weight: Tensor, bias: Tensor | None) -> ProductCall:
    """The product by torch's own functions, in the library `torch_library` names."""
    if bias is None:
        return lambda: torch.mm(x, weight.t())
    return lambda: torch.addmm(bias, x, weight.t())


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> ProductCall | None:
    """The product in oneDNN; None if it is missing or does not know the dtype."""
    return _checked(lambda: partial(operators.onednn_linear, x, weight, bias))


def onednn_packed(x: Tensor, weight: Tensor, bias: Tensor | None) -> ProductCall | None:
    """As `onednn`, with the weight stored beforehand in the order that suits oneDNN best."""
    return _checked(lambda: partial(operators.onednn_linear, x, _packed(weight, len(x)), bias))


def pack(weight: Tensor, rows: int) -> ProductCall | None:
    """A call that packs a weight (output, input) for oneDNN, for products of so many rows; None if torch can't."""
    return _checked(lambda: partial(_packed, weight, rows))


def mkl_packed(x: Tensor, weight: Tensor, bias: Tensor | None) -> ProductCall | None:
    """The product in MKL with a weight that MKL packed beforehand; None if it is missing or does not know the dtype."""
    plain = weight.contiguous()
    return _checked(lambda: partial(operators.mkl_linear, x, operators.pack_for_mkl(plain, len(x)), plain, bias))


def convolution(x: Tensor, weight: Tensor) -> ProductCall | None:
    """A product of the same size as a convolution of width 1, which has kernels of its own; None if torch can't.

    Shapes: x (rows, input), weight (output, input).
    """
    return _checked(lambda: partial(torch.conv1d, x.t().unsqueeze(0), weight.unsqueeze(2)))


LIBRARIES: dict[str, Library] = {
    ONEDNN: onednn,
    ONEDNN_PACKED: onednn_packed,
    MKL_PACKED: mkl_packed,
}


def _packed(weight: Tensor, rows: int) -> Tensor:
    return operators.pack_for_onednn(weight.contiguous(), rows)


def _checked(make: Callable[[], ProductCall]) -> ProductCall | None:
    """The call, if it works: the operators that torch's compiler uses differ between versions, builds and machines."""
    try:
        with torch.no_grad():
            call = make()
            call()
    except (RuntimeError, AttributeError, TypeError):  # no such operator, dtype or argument here
        return None
    return call


def _is_true(name: str) -> bool:
    """What one of oneDNN's operators says of this machine; False if torch does not have that operator."""
    with suppress(RuntimeError, AttributeError):
        return bool(getattr(operators.ops.mkldnn, name)())
    return False


ROUNDS, MAX_ROUNDS = 9, 60
MAX_SECONDS = 0.5  # after which there are no more rounds than `ROUNDS`
CONFIRMED = 1.01  # times the shortest block: the second shortest is at most this long
BLOCK_SECONDS = 2e-4  # of back-to-back calls; the shortest block of a call counts
MIN_SAVED = 0.03  # of the time in torch's own library: for less, no other one is used
# The same for the time in rnnbench's own code where it adds a matrix in the same call. A product apart from that sum
# makes a matrix more, which is written and read again: an LSTM of hidden size 512 whose product of the state took 12%
# less in MKL, measured alone, took 7% longer as a whole (batch 32, an Intel Xeon with AVX-512 and 2 MiB of L2).
MIN_SAVED_APART = 0.2

Calls = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Matrix:
    """The size of a matrix, and how it is stored."""

    shape: tuple[int, int]
    strides: tuple[int, int]

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """The form of a matrix."""
        (rows, columns), (row, column) = tensor.shape, tensor.stride()
        return cls((rows, columns), (row, column))

    @property
    def turned(self) -> Self:
        """The form of its transpose."""
        return replace(self, shape=self.shape[::-1], strides=self.strides[::-1])

    @property
    def is_by_row(self) -> bool:
        """Whether the values of a row lie side by side, row after row; there may be gaps between rows."""
        return self.strides[1] == 1 and self.strides[0] >= self.shape[1]

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """A matrix of random values that is stored this way."""
        values = torch.randn(self.shape, dtype=torch.float32).to(dtype)
        if 0 in self.strides:  # a row or a value that stands for many, which can't be written apart
            index = tuple(slice(None) if stride else slice(1) for stride in self.strides)
            return values[index].expand(self.shape)
        return torch.empty_strided(self.shape, self.strides, dtype=dtype).copy_(values)


@dataclass(frozen=True)
class SharedProducts:
    """Products `left @ right (+ bias)` of one call with the same right factor, as those of a loop with its weight."""

    left: Matrix
    right: Matrix
    count: int
    dtype: torch.dtype
    threads: int
    has_bias: bool = False
    # Whether each is added to another matrix, which rnnbench's own code does in the same call.
    has_added: bool = field(default=False, compare=False)


def fastest_library(products: SharedProducts) -> str:
    """The library in which the products take the least time, with the packing that they share.

    It is torch's own if no other one saves more than `MIN_SAVED`. For products to which a matrix is added, it is
    rnnbench's if no other one saves more than `MIN_SAVED_APART`.
    """
    seconds = library_seconds(products)
    own = [name for name in OWN if name in seconds] if products.has_added else []
    usual = min(own, key=lambda name: seconds[name], default=torch_library(products.dtype))
    best, saved = min(seconds, key=lambda name: seconds[name]), MIN_SAVED_APART if own else MIN_SAVED
    return best if seconds[best] < (1 - saved) * seconds[usual] else usual


def is_read_by_column(weight: Matrix, rows: int, count: int, dtype: torch.dtype) -> bool:
    """Whether `count` products of so many rows with a weight (output, input) are as fast if it is stored by column.

    By column is the order of `compiled`, so by row must save more than `MIN_SAVED`.
    """
    outputs, inputs = weight.shape
    by_row, by_column = (
        SharedProducts(
            Matrix((rows, inputs), (inputs, 1)),
            Matrix((inputs, outputs), strides),
            count,
            dtype,
            torch.get_num_threads(),
        )
        for strides in ((1, inputs), (direct.row_stride(outputs, dtype), 1))
    )
    least = min(library_seconds(by_column).values())
    return min(library_seconds(by_row).values()) >= (1 - MIN_SAVED) * least


@cache
def library_seconds(products: SharedProducts) -> dict[str, float]:
    """Seconds of all products in each library that works here, with copies and packing."""
    with torch.inference_mode():
        left, right = products.left.tensor(products.dtype), products.right.tensor(products.dtype)
        weight, calls = right.t().contiguous(), Calls()
        bias = torch.randn(right.shape[1]).to(products.dtype) if products.has_bias else None
        calls["own"] = partial(torch.mm, left, right) if bias is None else partial(torch.addmm, bias, left, right)
        if not left.is_contiguous():
            calls["left by row"] = left.contiguous
        if not right.t().is_contiguous():
            calls["right by column"] = right.t().contiguous
        x = left.contiguous()
        with suppress(Unavailable):
            calls |= _own(x, right, bias)
        for name, make in {ONEDNN: _onednn, ONEDNN_PACKED: _onednn_packed, MKL_PACKED: _mkl_packed}.items():
            with suppress(RuntimeError, AttributeError, TypeError):  # no such operator, dtype or argument here
                calls |= make(name, x, weight, bias)
        taken = shortest(calls)
    own = torch_library(products.dtype)
    seconds = {own: products.count * taken["own"]}
    for name in (*OWN, ONEDNN, ONEDNN_PACKED, MKL_PACKED):
        if name in taken and name != own:
            # A product of a few numbers takes less time than two calls differ by, so a call may appear to take no time.
            each = max(taken[name] - taken.get(f"calling {name}", 0.0), 0.0) + taken.get("left by row", 0.0)
            copy = 0.0 if name in OWN else taken.get("right by column", 0.0)
            seconds[name] = products.count * each + copy + taken.get(f"packing for {name}", 0.0)
    return seconds


def _own(x: Tensor, right: Tensor, bias: Tensor | None) -> Calls:
    functions, result = direct.load(x.dtype), x.new_empty(x.shape[0], right.shape[1])
    panels = functions.pack(right)
    # Into the same memory each time: in compiled code, the allocator hands out the pages of the last call again.
    calls: Calls = {f"packing for {DIRECT_PACKED}": partial(functions.pack, right, panels)}
    factors = {DIRECT_PACKED: panels} | ({DIRECT: right} if Matrix.of(right).is_by_row else {})
    for name, factor in factors.items():
        calls[name] = functions.into(result, x, factor, bias)
        # Python's way to C, which compiled code does not go, is that of a product without rows.
        calls[f"calling {name}"] = functions.into(result[:0], x[:0], factor, bias)
    return calls


def _onednn(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Calls:
    operators.onednn_linear(x, weight, bias)
    return {name: partial(operators.onednn_linear, x, weight, bias)}


def _onednn_packed(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Calls:
    packing = partial(operators.pack_for_onednn, weight, len(x))
    multiply = partial(operators.onednn_linear, x, packing(), bias)
    multiply()
    return {name: multiply, f"packing for {name}": packing}


def _mkl_packed(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Calls:
    packing = partial(operators.pack_for_mkl, weight, len(x))
    multiply = partial(operators.mkl_linear, x, packing(), weight, bias)
    multiply()
    return {name: multiply, f"packing for {name}": packing}


def shortest(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The shortest time of each call, in seconds; the calls take turns in short blocks.

    There are more rounds until each call was nearly as fast a second time: other work on the machine disturbs most
    blocks of a noisy minute.
    """
    counts, end = {}, perf_counter() + MAX_SECONDS
    for name, call in calls.items():
        call()
        started = perf_counter()
        call()
        counts[name] = max(1, math.ceil(BLOCK_SECONDS / max(perf_counter() - started, 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(MAX_ROUNDS):
        if done >= ROUNDS and (perf_counter() > end or all(map(_is_confirmed, taken.values()))):
            break
        for name, call in calls.items():
            call()
            started = perf_counter()
            for _ in range(counts[name]):
                call()
            taken[name].append((perf_counter() - started) / counts[name])
    return {name: min(seconds) for name, seconds in taken.items()}


def _is_confirmed(seconds: Sequence[float]) -> bool:
    shortest, second, *_ = sorted(seconds)
    return second <= CONFIRMED * shortest
