"""The kind of work that an operator does."""

from typing import Any

import torch

from rnnbench.store.profiles import Category
from rnnbench.store.records import FUSED_LAYERS

PRODUCTS = frozenset(
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
    ]
)
COPIES = frozenset(
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
    ]
)
NOTHING = frozenset(
    ["empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "_local_scalar_dense"]
)


def category(name: str) -> Category:
    """The category of an operator, by its name: `aten::addmm` or `addmm`."""
    plain = name.rpartition("::")[2]
    if plain.startswith(FUSED_LAYERS):
        return "layer"
    if plain in PRODUCTS:
        return "products"
    if plain in COPIES:
        return "copies"
    overload = _overload(plain)
    if overload is None:
        return "other"
    if overload.is_view or plain in NOTHING:
        return "views"
    return "pointwise" if _is_pointwise(plain, overload) else "other"


def _is_pointwise(plain: str, overload: Any) -> bool:
    """Whether torch tags it as pointwise; also untagged backward operators, Adam's list operators, and fused gates."""
    return (
        torch.Tag.pointwise in overload.tags
        or plain.startswith(("_foreach_", "_fused_adam", "_thnn_fused"))
        or plain.endswith("_backward")
    )


def _overload(plain: str) -> Any:
    packet = getattr(torch.ops.aten, plain, None)
    return getattr(packet, packet.overloads()[0]) if packet is not None else None
