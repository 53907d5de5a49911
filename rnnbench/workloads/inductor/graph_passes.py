"""Passes over the graphs of torch.compile that treat the weights of an unrolled loop as a fused layer does.

Backward through the loop adds up a product for each step, `dW = sum_t dz_t' h_t`. Each reads and writes the whole
matrix for the few rows of one step. Stacked, the same sum is one product, `dW = [dz_1; dz_2; ...]' [h_1; h_2; ...]`.
Sums over rows, for biases, are stacked likewise. If a cell splits a weight in each step, a step's gradient is put
together from the parts' gradients; then the parts are summed one by one, and put together once.

Forward multiplies by `W'` in each step. W is stored row by row, so BLAS copies it into the other order each time. One
copy in that order serves all steps.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from rnnbench.workloads.inductor import exponentials
from rnnbench.workloads.inductor.exponentials import Exponentials, install

aten: Any = torch.ops.aten
PRODUCTS = (aten.mm.default, aten.addmm.default)
MIN_TERMS = 2  # fewer are not worth stacking
MIN_READERS = 4  # fewer products are not worth a copy of their weight


class LoopPasses(CustomGraphPass):
    """Rewrites one graph in place."""

    exponentials: Exponentials = "exact"  # in the functions of the graph

    def __init__(self) -> None:
        install(_exponentials)

    def __call__(self, graph: fx.Graph) -> None:
        """Run all passes."""
        share_transposes(graph)
        stack_gradients(graph)
        copy_weights(graph)
        graph.eliminate_dead_code()

    def uuid(self) -> Any:
        """The key of these passes in torch's cache of compiled graphs."""
        return get_hash_for_files((__file__, exponentials.__file__))


def _exponentials() -> Exponentials | None:
    """Those of the graph that is compiled now; None if it is not rewritten by these passes."""
    from torch._inductor import config

    passes = config.post_grad_custom_pre_pass
    return passes.exponentials if isinstance(passes, LoopPasses) else None


def share_transposes(graph: fx.Graph) -> None:
    """Let all steps use one transpose of a weight, where each step has made its own."""
    first: dict[Any, Any] = {}
    for node in [node for node in graph.nodes if _is(node, aten.permute.default) and node.args[0].op == "placeholder"]:
        known = first.setdefault((node.args[0], tuple(node.args[1])), node)
        if known is not node:
            node.replace_all_uses_with(known)
            graph.erase_node(node)


def stack_gradients(graph: fx.Graph) -> None:
    """Make one product of the gradients of a weight from all steps, also if the weight was split in each step."""
    sum_parts(graph)
    graph.eliminate_dead_code()  # what was put together in each step, so that nothing else uses the products
    stack_sums(graph)


def sum_parts(graph: fx.Graph) -> None:
    """Replace each sum of tensors that are put together from parts by the parts' sums, which are put together once."""
    for root, terms in _sums(graph):
        parts = [term.args[0] for term in terms if _is_concatenation(term)]
        shapes = {tuple(tuple(part.meta["val"].shape) for part in of_term) for of_term in parts}
        if len(parts) < len(terms) or len(shapes) > 1 or len({term.args[1:] for term in terms}) > 1:
            continue
        with graph.inserting_before(root):
            sums = [_sum(graph, of_steps) for of_steps in zip(*parts, strict=True)]
            root.replace_all_uses_with(new_node(graph, aten.cat.default, sums, *terms[0].args[1:]))


def stack_sums(graph: fx.Graph) -> None:
    """Replace each sum of products by one product, and each sum of sums over rows by one sum."""
    for root, terms in _sums(graph):
        for operands_of, rebuild in ((_product, _one_product), (_row_sum, _one_row_sum)):
            operands = [operands_of(term) for term in terms]
            if all(operands):
                with graph.inserting_before(root):
                    root.replace_all_uses_with(rebuild(graph, operands, root))
                break


def copy_weights(graph: fx.Graph) -> None:
    """Copy a transposed input that is the second factor of several products into the order in which they read it."""
    for node in [node for node in graph.nodes if _is(node, aten.permute.default)]:
        readers = [user for user in node.users if user.target in PRODUCTS and user.args[-1] is node]
        if node.args[0].op != "placeholder" or len(readers) < MIN_READERS or node.meta["val"].is_contiguous():
            continue
        with graph.inserting_after(node):
            copy = graph.call_function(aten.clone.default, (node,), {"memory_format": torch.contiguous_format})
            copy.meta["val"] = node.meta["val"].contiguous()
        for reader in readers:
            reader.replace_input_with(node, copy)


def _sums(graph: fx.Graph) -> list[tuple[Any, list[Any]]]:
    """Each sum that is not part of a larger one, with its terms, all of its shape."""
    found = []
    for root in [node for node in graph.nodes if _is(node, aten.add.Tensor)]:
        if root.kwargs or any(_is(user, aten.add.Tensor) for user in root.users):
            continue  # scaled, or part of a larger sum
        terms = _terms(root)
        shapes = {tuple(term.meta["val"].shape) for term in (root, *terms)}
        if len(terms) >= MIN_TERMS and len(shapes) == 1:
            found.append((root, terms))
    return found


def _is_concatenation(term: Any) -> bool:
    """Whether a term puts tensors together that are not used as a whole elsewhere."""
    return _is(term, aten.cat.default) and len(term.users) == 1 and not term.kwargs


def _sum(graph: fx.Graph, terms: Sequence[fx.Node]) -> fx.Node:
    first, *others = terms
    for term in others:
        first = new_node(graph, aten.add.Tensor, first, term)
    return first


def _terms(node: fx.Node) -> list[fx.Node]:
    """The terms of a sum of sums, from left to right; an inner sum that is also used elsewhere stays whole."""
    terms: list[fx.Node] = []
    unseen: list[Any] = [node]
    while unseen:
        term = unseen.pop()
        if not isinstance(term, fx.Node):
            return []  # a number is added
        if term is node or (_is(term, aten.add.Tensor) and len(term.users) == 1 and not term.kwargs):
            unseen += reversed(term.args)
        else:
            terms.append(term)
    return terms


def _product(term: Any) -> tuple[fx.Node, ...]:
    """`dz` and `h` of a term `dz' h` that nothing else uses; empty for other terms."""
    if not (_is(term, aten.mm.default) and len(term.users) == 1 and _is(term.args[0], aten.permute.default)):
        return ()
    turned, states = term.args
    return (turned.args[0], states) if list(turned.args[1]) == [1, 0] else ()


def _row_sum(term: Any) -> tuple[fx.Node, ...]:
    """`dz` of a term that sums the rows of `dz`, in any shape; empty for other terms."""
    inner = term.args[0] if _is(term, aten.view.default) or _is(term, aten.reshape.default) else term
    if not (_is(inner, aten.sum.dim_IntList) and len(term.users) == len(inner.users) == 1 and not inner.kwargs):
        return ()
    rows = inner.args[0]
    is_over_rows = list(inner.args[1]) == [0] and rows.meta["val"].dim() == 2
    return (rows,) if is_over_rows else ()


def _one_product(graph: fx.Graph, operands: Sequence[tuple[fx.Node, ...]], root: fx.Node) -> fx.Node:
    gradients, states = (new_node(graph, aten.cat.default, list(parts)) for parts in zip(*operands, strict=True))
    return new_node(graph, aten.mm.default, new_node(graph, aten.permute.default, gradients, [1, 0]), states)


def _one_row_sum(graph: fx.Graph, operands: Sequence[tuple[fx.Node, ...]], root: fx.Node) -> fx.Node:
    rows = new_node(graph, aten.cat.default, [gradient for (gradient,) in operands])
    total = new_node(graph, aten.sum.dim_IntList, rows, [0], True)
    return new_node(graph, aten.reshape.default, total, list(root.meta["val"].shape))


def new_node(graph: fx.Graph, operator: Callable[..., Any], *args: Any) -> fx.Node:
    """Add a node with the value (shape, strides) that later passes look for."""
    node = graph.call_function(operator, args)
    node.meta["val"] = operator(*fx.map_arg(args, lambda argument: argument.meta["val"]))
    return node


def _is(node: Any, operator: object) -> bool:
    return isinstance(node, fx.Node) and node.target is operator
