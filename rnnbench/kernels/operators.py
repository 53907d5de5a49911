"""Operators for products in other libraries than torch's own, which the C++ of compiled graphs calls without Python.

`direct_product` is rnnbench's own (see `direct`).

torch's compiler packs only constant weights, when it compiles. Here packing is an operator of the graph: the weights
are packed in each call, so a packed copy can't be older than the weight.

Shapes: x (rows, input), weight (output, input), bias (output), result (rows, output). A packed weight keeps its shape;
its values are in an order that only the library knows.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rnnbench.kernels import direct

NAMESPACE = "rnnbench"
ops: Any = torch.ops


def pack_for_onednn(weight: Tensor, rows: int) -> Tensor:
    """A weight in the order that suits oneDNN best for products of so many rows."""
    packed: Tensor = ops.mkldnn._reorder_linear_weight.default(weight, rows)
    return packed


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product in oneDNN; the weight may be packed."""
    product: Tensor = ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return product


def pack_for_mkl(weight: Tensor, rows: int) -> Tensor:
    """A weight as MKL packs it for products of so many rows."""
    packed: Tensor = ops.mkl._mkl_reorder_linear_weight.default(weight, rows)
    return packed


def mkl_linear(x: Tensor, packed: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product in MKL with a packed weight."""
    product: Tensor = ops.mkl._mkl_linear.default(x, packed, weight, bias, x.shape[0])
    return product


def direct_product(x: Tensor, *others: Any) -> Tensor:
    """rnnbench's own product, or the sum of two, plus a bias and a matrix: see `direct.DirectProducts`."""
    return direct.load(x.dtype)(x, *others)


def pack_into_panels(right: Tensor) -> Tensor:
    """A right factor, stored in any order, packed for `direct_product`."""
    return direct.load(right.dtype).pack(right)


@dataclass(frozen=True)
class ProductOperators:
    """The operators as nodes of a graph: `torch.ops.rnnbench....default`."""

    pack_for_onednn: Any
    onednn_linear: Any
    pack_for_mkl: Any
    mkl_linear: Any
    direct_product: Any
    pack_into_panels: Any
    library: Any  # torch.library.Library; the operators live as long as it does


@cache
def registered() -> ProductOperators:
    """Define the operators and tell Inductor how its C++ calls them, once in a process.

    Raises ImportError, AttributeError, RuntimeError or TypeError if torch's internals are not as expected.
    """
    make: Any = torch.library.Library  # untyped
    library = make(NAMESPACE, "FRAGMENT")
    kinds: tuple[tuple[str, Callable[..., Any], Callable[..., Any]], ...] = (
        ("(Tensor weight, int rows) -> Tensor", pack_for_onednn, _like_weight),
        ("(Tensor x, Tensor weight, Tensor? bias) -> Tensor", onednn_linear, _like_product),
        ("(Tensor weight, int rows) -> Tensor", pack_for_mkl, _like_weight),
        ("(Tensor x, Tensor packed, Tensor weight, Tensor? bias) -> Tensor", mkl_linear, _like_product),
        (
            "(Tensor x, Tensor right, Tensor? bias, Tensor? added, int outputs, Tensor? x_2, Tensor? right_2)"
            " -> Tensor",
            direct_product,
            _like_direct_product,
        ),
        ("(Tensor right) -> Tensor", pack_into_panels, _like_panels),
    )
    for schema, function, fake in kinds:
        library.define(f"{function.__name__}{schema}")
        for backend in ("CPU", "MkldnnCPU"):  # packed weights are of the second one
            library.impl(function.__name__, function, backend)
        torch.library.register_fake(f"{NAMESPACE}::{function.__name__}", fake, lib=library)
    namespace = getattr(ops, NAMESPACE)
    own = ProductOperators(
        namespace.pack_for_onednn.default,
        namespace.onednn_linear.default,
        namespace.pack_for_mkl.default,
        namespace.mkl_linear.default,
        namespace.direct_product.default,
        namespace.pack_into_panels.default,
        library,
    )
    _lower_onednn(own)
    with suppress(AttributeError):  # torch was built without MKL
        _lower_mkl(own)
    _lower_direct(own)
    return own


def _lower_onednn(own: ProductOperators) -> None:
    from torch._inductor.ir import TensorBox
    from torch._inductor.lowering import register_lowering
    from torch._inductor.mkldnn_ir import LinearUnary

    linear_in_onednn: Any = LinearUnary
    pack = _packer(ops.mkldnn._reorder_linear_weight.default)
    register_lowering(own.pack_for_onednn, type_promotion_kind=None)(pack)

    @register_lowering(own.onednn_linear, type_promotion_kind=None)
    def linear(x: Any, weight: Any, bias: Any) -> Any:
        return TensorBox.create(linear_in_onednn.create(x, weight, bias, "none", [], ""))


def _lower_mkl(own: ProductOperators) -> None:
    from torch._inductor.ir import TensorBox
    from torch._inductor.lowering import register_lowering
    from torch._inductor.mkldnn_ir import MKLPackedLinear

    linear_in_mkl: Any = MKLPackedLinear
    pack = _packer(ops.mkl._mkl_reorder_linear_weight.default)
    register_lowering(own.pack_for_mkl, type_promotion_kind=None)(pack)

    @register_lowering(own.mkl_linear, type_promotion_kind=None)
    def linear(x: Any, packed: Any, weight: Any, bias: Any) -> Any:
        return TensorBox.create(linear_in_mkl.create(x, packed, weight, bias, x.get_size()[0]))


def _lower_direct(own: ProductOperators) -> None:
    from torch._inductor.ir import ExternKernel, ExternKernelOut, FixedLayout, TensorBox
    from torch._inductor.lowering import register_lowering

    class DirectCall(ExternKernelOut):
        """A call of a function in C, into memory that Inductor plans."""

        def __init__(self, function: str, layout: Any, tensors: Sequence[Any], numbers: Sequence[Any]) -> None:
            symbol, self._declaration = direct.shim(function, layout.dtype)
            self._given = [tensor is not None for tensor in tensors]
            inputs = [tensor for tensor in tensors if tensor is not None]
            super().__init__(layout, inputs, numbers, python_kernel_name=symbol, cpp_kernel_name=symbol)

        def codegen(self, wrapper: Any) -> None:
            """Write the call."""
            wrapper.header.writeline(self._declaration)
            super().codegen(wrapper)

        def codegen_args(self) -> list[str]:
            """The arguments in C++: a null pointer for each tensor that is missing."""
            arguments = iter(super().codegen_args())
            return [*(next(arguments) if given else "nullptr" for given in self._given), *arguments]

    @register_lowering(own.direct_product, type_promotion_kind=None)
    def multiply(x: Any, right: Any, bias: Any, added: Any, outputs: int, x_2: Any, right_2: Any) -> Any:
        tensors = [None if each is None else by_row(each) for each in (x, right, bias, added, x_2, right_2)]
        layout = FixedLayout(x.get_device(), x.get_dtype(), [x.get_size()[0], outputs])
        given = [each and direct.Form(each.get_size(), each.get_stride()) for each in tensors]
        numbers = direct.load(x.get_dtype()).numbers([direct.Form(layout.size, layout.stride), *given])
        return TensorBox.create(DirectCall("multiply", layout, tensors, numbers))

    @register_lowering(own.pack_into_panels, type_promotion_kind=None)
    def pack(right: Any) -> Any:
        right = ExternKernel.realize_input(right)
        right.freeze_layout()
        size = direct.load(right.get_dtype()).panels(*map(int, right.get_size()))
        layout = FixedLayout(right.get_device(), right.get_dtype(), list(size))
        return TensorBox.create(DirectCall("pack", layout, [right], [*right.get_size(), *right.get_stride()]))

    def by_row(tensor: Any) -> Any:
        """A tensor whose last values lie side by side: itself, or a copy."""
        order = list(reversed(range(len(tensor.get_size()))))
        ordered = ExternKernel.require_stride_order(ExternKernel.realize_input(tensor), order)
        return ordered if ordered.get_stride()[-1] == 1 else ExternKernel.require_contiguous(ordered)


def _packer(operator: Any) -> Callable[..., Any]:
    """The lowering of an operator that packs a weight."""
    from torch._inductor.ir import ExternKernel, FallbackKernel, TensorBox
    from torch._inductor.virtualized import V

    if not operator.has_kernel_for_dispatch_key(torch._C.DispatchKey.Meta):
        torch.library.register_fake(operator.name(), _like_weight)

    def pack(weight: Any, rows: int) -> Any:
        by_row = ExternKernel.require_contiguous(ExternKernel.realize_input(weight))
        packed = FallbackKernel.create(operator, by_row, rows)
        V.graph.never_reuse_buffers.add(packed.get_name())  # its memory is not that of a plain tensor
        return TensorBox.create(packed)

    return pack


def _like_weight(weight: Tensor, rows: int | None = None) -> Tensor:
    return torch.empty_like(weight)


def _like_product(x: Tensor, weight: Tensor, *_others: Any) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


def _like_direct_product(x: Tensor, right: Tensor, bias: Any, added: Any, outputs: int, *_second: Any) -> Tensor:
    return x.new_empty(x.shape[0], outputs)


def _like_panels(right: Tensor) -> Tensor:
    return right.new_empty(direct.load(right.dtype).panels(*right.shape))
