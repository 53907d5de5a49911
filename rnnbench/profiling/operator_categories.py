"""The kind of work that each operator of torch does, by its name."""

from typing import Any

import torch

from rnnbench.store.profiles import Category
from rnnbench.store.records import FUSED_LAYERS

CATEGORY_OF: dict[str, Category] = {
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


def category(name: str) -> Category:
    """Return the kind of work that an operator does, by its name: `aten::addmm` or `addmm`."""
    plain = name.rpartition("::")[2]
    if plain.startswith(FUSED_LAYERS):
        return "layer"
    if plain in CATEGORY_OF:
        return CATEGORY_OF[plain]
    packet = getattr(torch.ops.aten, plain, None)
    if packet is None:
        return "other"
    overload: Any = getattr(packet, packet.overloads()[0])
    if overload.is_view:
        return "views"
    # Torch does not tag backward operators, Adam's list operators, and fused gates.
    is_untagged = plain.startswith(("_foreach_", "_fused_adam", "_thnn_fused")) or plain.endswith("_backward")
    return "pointwise" if is_untagged or torch.Tag.pointwise in overload.tags else "other"
