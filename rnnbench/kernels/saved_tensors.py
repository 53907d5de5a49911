"""What forward keeps for backward, as a few tensors that hold all steps.

torch hands each tensor that forward keeps to backward by itself, which takes a microsecond or two. An unrolled loop
keeps several for each step, six in an LSTM: for short calls, that is a fifth of their time. Here those of one shape
are one tensor, into which forward's code writes directly, and of which backward reads slices.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._inductor.custom_graph_pass import CustomPartitionerFn, get_hash_for_files

from rnnbench.kernels import passes
from rnnbench.kernels.passes import aten, new_node

MIN_STACKED = 4  # tensors of one shape; fewer are not worth a change
# Of a tensor: with larger ones, what is written twice, since forward reads it too, takes longer than is saved.
MAX_BYTES = 1 << 15


class StackedSavedTensors(CustomPartitionerFn):
    """Parts a graph into forward and backward as torch does, and stacks what is kept between them."""

    def __call__(
        self, gm: fx.GraphModule, joint_inputs: Sequence[object], **kwargs: Any
    ) -> tuple[fx.GraphModule, fx.GraphModule]:
        """Return the graphs of forward and backward."""
        forward, backward = min_cut_rematerialization_partition(gm, joint_inputs, **kwargs)
        stack_saved(forward, backward, kwargs["num_fwd_outputs"])
        return forward, backward

    def uuid(self) -> Any:
        """Return the key of this in torch's cache of compiled graphs."""
        return get_hash_for_files((__file__, passes.__file__))


def stack_saved(forward: fx.GraphModule, backward: fx.GraphModule, outputs: int) -> None:
    """Rewrite both graphs in place; forward returns so many `outputs`, and after them what it keeps for backward."""
    [returned] = forward.graph.find_nodes(op="output")
    (results,) = returned.args
    saved = results[outputs:]
    held = {node.name: node for node in backward.graph.find_nodes(op="placeholder")}
    # All are tensors that torch checks for changes, as usual.
    unchecked = [node for node in saved if node.meta.get("saved_tensor_with_no_vc_check", False)]
    if unchecked or not all(isinstance(node.meta.get("val"), Tensor) and node.name in held for node in saved):
        return
    alike: dict[Any, list[Any]] = {}
    for node in filter(_can_be_stacked, saved):
        alike.setdefault((node.meta["val"].shape, node.meta["val"].dtype), []).append(node)
    first_input = next(iter(held.values()))
    first_call = next(node for node in backward.graph.nodes if node.op != "placeholder")
    wholes = []
    stacked = set()
    for nodes in alike.values():
        if len(nodes) < MIN_STACKED:
            continue
        with forward.graph.inserting_before(returned):
            whole = new_node(forward.graph, aten.cat.default, nodes)
        # Backward takes whole tensors before all its other inputs, and reads slices of them.
        with backward.graph.inserting_before(first_input):
            taken = backward.graph.placeholder(whole.name)
        taken.meta = held[nodes[0].name].meta | {"val": whole.meta["val"]}
        rows = nodes[0].meta["val"].shape[0]
        with backward.graph.inserting_before(first_call):
            for index, node in enumerate(nodes):
                part = new_node(backward.graph, aten.slice.Tensor, taken, 0, index * rows, (index + 1) * rows)
                held[node.name].replace_all_uses_with(part)
        wholes.append(whole)
        stacked |= set(nodes)
    kept = [*results[:outputs], *wholes, *(node for node in saved if node not in stacked)]
    returned.args = (type(results)(kept),)
    if "desc" in returned.meta:  # what each output is, by its place
        returned.meta["desc"] = list(returned.meta["desc"])[: len(kept)]
    for node in stacked:
        backward.graph.erase_node(held[node.name])
    for module in (forward, backward):
        module.graph.lint()
        module.recompile()


def _can_be_stacked(node: Any) -> bool:
    """Return whether a tensor is small, and made value by value, so that compiled code can write it anywhere."""
    tags = getattr(node.target, "tags", ())
    value = node.meta["val"]
    is_small = value.dim() > 0 and value.nbytes <= MAX_BYTES
    return torch.Tag.pointwise in tags and is_small and value.is_contiguous() and value.is_cpu
