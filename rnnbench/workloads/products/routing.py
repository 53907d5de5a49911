"""A pass over graphs of torch.compile that has each product made in the library that is fastest for it here."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import get_hash_for_files

from rnnbench.workloads import graph_passes
from rnnbench.workloads.graph_passes import PRODUCTS, LoopPasses, aten, copy_weights, new_node, stack_gradients
from rnnbench.workloads.products import choice, operators
from rnnbench.workloads.products.choice import (
    MKL_PACKED,
    ONEDNN,
    ONEDNN_PACKED,
    Matrix,
    SharedProducts,
    fastest_library,
)

Choose = Callable[[SharedProducts], str]
VECTOR = 1  # dimensions


class RoutedPasses(LoopPasses):
    """`LoopPasses`, with the products of each graph in the libraries that `choose` names."""

    def __init__(self, choose: Choose = fastest_library, made: Counter[str] | None = None) -> None:
        """`made` counts the products in each library."""
        self._choose = choose
        self._made = Counter() if made is None else made

    def __call__(self, graph: fx.Graph) -> None:
        """Run all passes."""
        stack_gradients(graph)
        self._made.update(route_products(graph, self._choose))
        copy_weights(graph)
        graph.eliminate_dead_code()

    def uuid(self) -> Any:
        """The key of these passes in torch's cache of compiled graphs: the choice depends on the threads."""
        files = (graph_passes.__file__, choice.__file__, operators.__file__, __file__)
        return get_hash_for_files(files, f"{torch.get_num_threads()} {self._choose.__qualname__}")


def route_products(graph: fx.Graph, choose: Choose) -> Mapping[str, int]:
    """Rewrite products in place; returns how many products each library makes.

    `choose` gets products with the same right factor, and a left one of the same size and order, and returns a library.
    Products in a library that is none of `ONEDNN`, `ONEDNN_PACKED` and `MKL_PACKED` stay as they are.
    """
    made: Counter[str] = Counter()
    weights: dict[Any, Any] = {}
    for (right, left), products in _shared(graph).items():
        value = right.meta["val"]
        asked = SharedProducts(left, Matrix.of(value), len(products), value.dtype, torch.get_num_threads())
        library = choose(asked)
        made[library] += len(products)
        if library in (ONEDNN, ONEDNN_PACKED, MKL_PACKED):
            if right not in weights:
                with graph.inserting_before(products[0]):
                    weights[right] = _weight(graph, right)
            _reroute(graph, products, weights[right], library)
    return made


def _shared(graph: fx.Graph) -> dict[tuple[Any, Matrix], list[Any]]:
    """Products by their right factor and the form of their left one, in the graph's order."""
    shared: dict[tuple[Any, Matrix], list[Any]] = {}
    for node in graph.nodes:
        if _is_product(node):
            left, right = node.args[-2:]
            shared.setdefault((right, Matrix.of(left.meta["val"])), []).append(node)
    return shared


def _is_product(node: Any) -> bool:
    """Whether a node is a product of matrices on the processor, with a bias for each column or none."""
    if node.target not in PRODUCTS or node.kwargs or not node.meta["val"].is_cpu:
        return False
    return node.target is aten.mm.default or node.args[0].meta["val"].dim() == VECTOR


def _weight(graph: fx.Graph, right: Any) -> Any:
    """The transpose of a right factor, stored row by row: the weight of a linear layer."""
    turned = new_node(graph, aten.permute.default, right, [1, 0])
    if turned.meta["val"].is_contiguous():
        return turned
    copy = graph.call_function(aten.clone.default, (turned,), {"memory_format": torch.contiguous_format})
    copy.meta["val"] = turned.meta["val"].contiguous()
    return copy


def _reroute(graph: fx.Graph, products: list[Any], weight: Any, library: str) -> None:
    own, rows = operators.registered(), products[0].meta["val"].shape[0]
    packed = weight
    with graph.inserting_before(products[0]):
        if library == ONEDNN_PACKED:
            packed = new_node(graph, own.pack_for_onednn, weight, rows)
        elif library == MKL_PACKED:
            packed = new_node(graph, own.pack_for_mkl, weight, rows)
    for product in products:
        bias, left = (None if len(product.args) == 2 else product.args[0]), product.args[-2]
        with graph.inserting_before(product):
            if library == MKL_PACKED:
                rerouted = new_node(graph, own.mkl_linear, left, packed, weight, bias)
            else:
                rerouted = new_node(graph, own.onednn_linear, left, packed, bias)
        product.replace_all_uses_with(rerouted)
        graph.erase_node(product)
