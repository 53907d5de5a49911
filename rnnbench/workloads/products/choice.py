"""Which library makes the products of a call fastest on this machine, measured once in a process."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from time import perf_counter
from typing import Self

import torch
from torch import Tensor

from rnnbench.store.profiles import PACKED
from rnnbench.workloads.products import operators
from rnnbench.workloads.products.libraries import torch_library

ONEDNN, ONEDNN_PACKED, MKL_PACKED = "oneDNN", "oneDNN" + PACKED, "MKL" + PACKED
ROUNDS = 9
BLOCK_SECONDS = 2e-4  # of back-to-back calls; the shortest block of a call counts
MIN_SAVED = 0.03  # of the time in torch's own library: for less, no other one is used


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
        """Whether it is stored row by row, without gaps."""
        return self.strides == (self.shape[1], 1)

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """A matrix of random values that is stored this way."""
        return torch.empty_strided(self.shape, self.strides, dtype=dtype).copy_(torch.randn(self.shape))


@dataclass(frozen=True)
class SharedProducts:
    """Products `left @ right` of one call with the same right factor, as those of a loop with its weight."""

    left: Matrix
    right: Matrix
    count: int
    dtype: torch.dtype
    threads: int


def fastest_library(products: SharedProducts) -> str:
    """The library in which the products take the least time, with the packing that they share.

    It is torch's own if no other one saves more than `MIN_SAVED`.
    """
    own, seconds = torch_library(products.dtype), library_seconds(products)
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] < (1 - MIN_SAVED) * seconds[own] else own


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
        for strides in ((1, inputs), (outputs, 1))
    )
    least = min(library_seconds(by_column).values())
    return min(library_seconds(by_row).values()) >= (1 - MIN_SAVED) * least


@cache
def library_seconds(products: SharedProducts) -> dict[str, float]:
    """Seconds of all products in each library that works here, with copies and packing."""
    rows = products.left.shape[0]
    with torch.inference_mode():
        left, right = products.left.tensor(products.dtype), products.right.tensor(products.dtype)
        weight, calls = right.t().contiguous(), dict[str, Callable[[], object]]()
        copies = {"left": left.contiguous, "right": right.t().contiguous}
        calls["own"] = partial(torch.ops.aten.mm.default, left, right)
        calls |= {name: copy for name, copy in copies.items() if not _is_by_row(products, name)}
        x = left.contiguous()
        for name, make in {ONEDNN: _onednn, ONEDNN_PACKED: _onednn_packed, MKL_PACKED: _mkl_packed}.items():
            with suppress(RuntimeError, AttributeError, TypeError):  # no such operator, dtype or argument here
                calls |= make(name, x, weight, rows)
        taken = shortest(calls)
    own = torch_library(products.dtype)
    seconds = {own: products.count * taken["own"]}
    for name in (ONEDNN, ONEDNN_PACKED, MKL_PACKED):
        if name in taken and name != own:
            each = taken[name] + taken.get("left", 0.0)
            seconds[name] = products.count * each + taken.get("right", 0.0) + taken.get(f"packing for {name}", 0.0)
    return seconds


def _is_by_row(products: SharedProducts, name: str) -> bool:
    if name == "left":
        return products.left.is_by_row
    return products.right.turned.is_by_row


def _onednn(name: str, x: Tensor, weight: Tensor, rows: int) -> dict[str, Callable[[], object]]:
    operators.onednn_linear(x, weight, None)
    return {name: partial(operators.onednn_linear, x, weight, None)}


def _onednn_packed(name: str, x: Tensor, weight: Tensor, rows: int) -> dict[str, Callable[[], object]]:
    packing = partial(operators.pack_for_onednn, weight, rows)
    multiply = partial(operators.onednn_linear, x, packing(), None)
    multiply()
    return {name: multiply, f"packing for {name}": packing}


def _mkl_packed(name: str, x: Tensor, weight: Tensor, rows: int) -> dict[str, Callable[[], object]]:
    packing = partial(operators.pack_for_mkl, weight, rows)
    multiply = partial(operators.mkl_linear, x, packing(), weight, None)
    multiply()
    return {name: multiply, f"packing for {name}": packing}


def shortest(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The shortest time of each call, in seconds; the calls take turns in short blocks."""
    counts = {}
    for name, call in calls.items():
        call()
        started = perf_counter()
        call()
        counts[name] = max(1, math.ceil(BLOCK_SECONDS / max(perf_counter() - started, 1e-7)))
    taken = dict.fromkeys(calls, math.inf)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            started = perf_counter()
            for _ in range(counts[name]):
                call()
            taken[name] = min(taken[name], (perf_counter() - started) / counts[name])
    return taken
