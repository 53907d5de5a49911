"""A pass over graphs of torch.compile that has each product made in the library that is fastest for it here."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import get_hash_for_files

from rnnbench.kernels import direct, libraries, operators, passes
from rnnbench.kernels.libraries import (
    DIRECT,
    MKL_PACKED,
    ONEDNN,
    ONEDNN_PACKED,
    OWN,
    Matrix,
    SharedProducts,
    fastest_library,
)
from rnnbench.kernels.passes import (
    PRODUCTS,
    Exponentials,
    LoopPasses,
    aten,
    copy_weights,
    new_node,
    share_transposes,
    stack_gradients,
)

USED = (passes, libraries, operators, direct)  # modules that decide what the passes make
Choose = Callable[[SharedProducts], str]
ProductSet = tuple[Any, Matrix]  # what products have in common: their right factor, and the form of the left one
VECTOR = 1  # dimensions
BARE = 2  # arguments of a product without a bias


class RoutedPasses(LoopPasses):
    """`LoopPasses`, with the products of each graph in the libraries that `choose` names."""

    exponentials: Exponentials = "short"

    def __init__(self, choose: Choose = fastest_library, made: Counter[str] | None = None) -> None:
        """`made` counts the products in each library."""
        self._direct = direct.available()  # loaded, since a graph from torch's cache may call them
        super().__init__()
        self._choose = choose
        self._made = Counter() if made is None else made

    def __call__(self, graph: fx.Graph) -> None:
        """Run all passes."""
        share_transposes(graph)
        stack_gradients(graph)
        self._made.update(route_products(graph, self._choose))
        copy_weights(graph)
        graph.eliminate_dead_code()

    def uuid(self) -> Any:
        """The key of these passes in torch's cache of compiled graphs: the choice depends on the threads."""
        files = (*(module.__file__ for module in USED), __file__)
        return get_hash_for_files(files, f"{torch.get_num_threads()} {self._choose.__qualname__} {self._direct}")


def route_products(graph: fx.Graph, choose: Choose) -> Mapping[str, int]:
    """Rewrite products in place; returns how many products each library makes.

    `choose` gets products with the same right factor, and a left one of the same size and order, and returns a library.
    Products in a library that is none of `ONEDNN`, `ONEDNN_PACKED`, `MKL_PACKED` and `OWN` stay as they are.
    """
    made: Counter[str] = Counter()
    factors: dict[tuple[Any, str], Any] = {}  # right factors, and what a library reads in their place
    shared = _shared(graph)
    for (right, left), library in _libraries(shared, choose).items():
        products = shared[right, left]
        made[library] += len(products)
        if library not in (*OWN, ONEDNN, ONEDNN_PACKED, MKL_PACKED):
            continue
        with graph.inserting_before(products[0]):
            if (right, library) not in factors:
                factors[right, library] = _factor(graph, right, library)
        _reroute(graph, products, factors[right, library], library)
    if any(made[library] for library in OWN):
        _join_sums(graph)
    return made


def _shared(graph: fx.Graph) -> dict[ProductSet, list[Any]]:
    """Products by their right factor and the form of their left one, in the graph's order."""
    shared: dict[ProductSet, list[Any]] = {}
    for node in graph.nodes:
        if _is_product(node):
            left, right = node.args[-2:]
            shared.setdefault((right, Matrix.of(left.meta["val"])), []).append(node)
    return shared


def _libraries(shared: Mapping[ProductSet, list[Any]], choose: Choose) -> dict[ProductSet, str]:
    """The library for each set of products.

    If products are added to others that rnnbench makes and that are at least as large, it makes both in one call.
    """
    sets = {product: key for key, products in shared.items() for product in products}
    libraries, others = {}, {}
    for key, products in shared.items():
        right, left = key
        value = right.meta["val"]
        has_bias = any(len(product.args) > BARE for product in products)
        added = [_sum_with_matrix(product)[1] for product in products]
        threads, has_added = torch.get_num_threads(), all(matrix is not None for matrix in added)
        libraries[key] = choose(
            SharedProducts(left, Matrix.of(value), len(products), value.dtype, threads, has_bias, has_added)
        )
        others[key] = {sets.get(matrix) for matrix in added}
    for key, (other, *more) in others.items():
        if other is not None and not more and libraries[other] in OWN and _inner(other) >= _inner(key):
            libraries[key] = libraries[key] if libraries[key] in OWN else DIRECT
    return libraries


def _inner(products: ProductSet) -> int:
    """The length of the sums that products are made of."""
    return products[1].shape[1]


def _is_product(node: Any) -> bool:
    """Whether a node is a product of matrices on the processor, with a bias for each column or none."""
    if node.target not in PRODUCTS or node.kwargs or not node.meta["val"].is_cpu:
        return False
    return node.target is aten.mm.default or node.args[0].meta["val"].dim() == VECTOR


def _factor(graph: fx.Graph, right: Any, library: str) -> Any:
    """What a library reads in place of a right factor: for others than rnnbench's own products, the weight by row."""
    if library == DIRECT and Matrix.of(right.meta["val"]).is_by_row:
        return right
    if library in OWN:
        return new_node(graph, operators.registered().pack_into_panels, right)
    weight = new_node(graph, aten.permute.default, right, [1, 0])
    if weight.meta["val"].is_contiguous():
        return weight
    copy = graph.call_function(aten.clone.default, (weight,), {"memory_format": torch.contiguous_format})
    copy.meta["val"] = weight.meta["val"].contiguous()
    return copy


def _reroute(graph: fx.Graph, products: list[Any], factor: Any, library: str) -> None:
    own, rows = operators.registered(), products[0].meta["val"].shape[0]
    packed = factor
    with graph.inserting_before(products[0]):
        if library == ONEDNN_PACKED:
            packed = new_node(graph, own.pack_for_onednn, factor, rows)
        elif library == MKL_PACKED:
            packed = new_node(graph, own.pack_for_mkl, factor, rows)
    for product in products:
        bias, left = (product.args[0] if len(product.args) > BARE else None), product.args[-2]
        replaced, added = _sum_with_matrix(product) if library in OWN else (product, None)
        with graph.inserting_before(replaced):
            if library in OWN:
                columns = product.meta["val"].shape[1]
                rerouted = new_node(graph, own.direct_product, left, factor, bias, added, columns, None, None)
            elif library == MKL_PACKED:
                rerouted = new_node(graph, own.mkl_linear, left, packed, factor, bias)
            else:
                rerouted = new_node(graph, own.onednn_linear, left, packed, bias)
        replaced.replace_all_uses_with(rerouted)
        graph.erase_node(replaced)
        if replaced is not product:
            graph.erase_node(product)


def _join_sums(graph: fx.Graph) -> None:
    """Make one call of two of rnnbench's own products that are added; their biases are added once for all steps."""
    own, sums = operators.registered().direct_product, dict[tuple[Any, Any], Any]()
    for node in [node for node in graph.nodes if node.target is own]:
        left, right, bias, added, columns, *second = node.args
        if added is None or added.target is not own or len(added.users) > 1 or second != [None, None]:
            continue
        other_left, other_right, other_bias, other_added, _, *second = added.args
        if other_added is not None or second != [None, None]:
            continue
        with graph.inserting_before(node):
            if bias is not None and other_bias is not None and (bias, other_bias) not in sums:
                sums[bias, other_bias] = new_node(graph, aten.add.Tensor, bias, other_bias)
            biases = sums.get((bias, other_bias), other_bias if bias is None else bias)
            joined = new_node(graph, own, other_left, other_right, biases, None, columns, left, right)
        node.replace_all_uses_with(joined)
        graph.erase_node(node)
        graph.erase_node(added)


def _sum_with_matrix(product: Any) -> tuple[Any, Any]:
    """The sum of a product and another matrix, if nothing else uses the product, and that matrix; else the product."""
    users = list(product.users)
    if [user.target for user in users] != [aten.add.Tensor] or users[0].kwargs or users[0].args.count(product) > 1:
        return product, None
    [added] = [argument for argument in users[0].args if argument is not product]
    value, other = product.meta["val"], added.meta["val"] if isinstance(added, fx.Node) else None
    if other is None or (other.shape, other.dtype) != (value.shape, value.dtype):
        return product, None
    return users[0], added
