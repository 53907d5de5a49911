"""The libraries in which torch can make one matrix product, so that the same product can be timed in each.

On a CPU torch's own functions call one of them. Compiled code and torch.nn's layers may call another.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor

from rnnbench.store.profiles import PACKED
from rnnbench.workloads.products import operators

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
