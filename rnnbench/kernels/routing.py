"""The passes over graphs of torch.compile, one of which has rnnbench's own code make products where it is fastest.

The products are operators of the graph, which Inductor's C++ calls without Python (see `direct`). A weight is packed in
each call, so a packed copy can't be older than the weight.

Against `compiled`, `prepacked` took 0.3 to 0.9 times the time in cells that others wrote.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from rnnbench.kernels import direct, libraries, passes
from rnnbench.kernels.libraries import DIRECT, OWN, Matrix, SharedProducts, fastest_library
from rnnbench.kernels.passes import aten, install, new_node, share_transposes, stack_sums

PRODUCTS = (aten.mm.default, aten.addmm.default)
Choose = Callable[[SharedProducts], str]
ProductSet = tuple[Any, Matrix]  # what products have in common: their right factor, and the form of the left one


class LoopPasses(CustomGraphPass):
    """Rewrites one graph in place."""

    def __init__(self, made: Counter[str] | None = None) -> None:
        """`made`: have products made where they are fastest here, and count those of each library."""
        install()
        self._made = made
        self.has_short_exponentials = made is not None
        self._key = str(made is None or direct.available())  # loaded, since a graph from torch's cache may call them

    def __call__(self, graph: fx.Graph) -> None:
        """Run all passes."""
        share_transposes(graph)
        stack_sums(graph)
        if self._made is not None:
            self._made.update(route_products(graph, fastest_library))
        graph.eliminate_dead_code()

    def uuid(self) -> Any:
        """Return the key of these passes in torch's cache of compiled graphs: the choice depends on the threads."""
        files = (*(module.__file__ for module in (passes, libraries, direct)), __file__)
        return get_hash_for_files(files, f"{torch.get_num_threads()} {self._key}")


@cache
def operators() -> tuple[Any, Any]:
    """Define the operators of product and packing, and tell Inductor how its C++ calls them, once in a process.

    Raises ImportError, AttributeError, RuntimeError or TypeError if torch's internals are not as expected.
    """

    def multiply(
        x: Tensor,
        right: Tensor,
        bias: Tensor | None,
        added: Tensor | None,
        outputs: int,
        x_2: Tensor | None,
        right_2: Tensor | None,
    ) -> Tensor:
        return direct.load(x.dtype)(x, right, bias, added, outputs, x_2, right_2)

    def pack(right: Tensor) -> Tensor:
        return direct.load(right.dtype).pack(right)

    product = torch.library.custom_op("rnnbench::direct_product", multiply, mutates_args=(), device_types="cpu")
    product.register_fake(lambda x, right, bias, added, outputs, *second: x.new_empty(x.shape[0], outputs))
    packing = torch.library.custom_op("rnnbench::pack_into_panels", pack, mutates_args=(), device_types="cpu")
    packing.register_fake(lambda right: right.new_empty(direct.load(right.dtype).panels(*right.shape)))
    namespace: Any = torch.ops.rnnbench
    _lower(namespace.direct_product.default, namespace.pack_into_panels.default)
    return namespace.direct_product.default, namespace.pack_into_panels.default


def _lower(product: Any, packing: Any) -> None:
    from torch._inductor.ir import ExternKernel, ExternKernelOut, FixedLayout, TensorBox
    from torch._inductor.lowering import register_lowering

    class DirectCall(ExternKernelOut):
        """A call of a function in C, into memory that Inductor plans."""

        def __init__(self, function: str, layout: Any, tensors: Sequence[Any], numbers: Sequence[Any]) -> None:
            # torch's compiler takes a name that begins like this as it is.
            symbol = f"aoti_torch_cpu_rnnbench_{function}_{direct.VALUES[layout.dtype]}"
            pointers, integers = direct.ARGUMENTS[function]
            arguments = ", ".join(["AtenTensorHandle"] * pointers + ["int64_t"] * integers)
            self._declaration = f'extern "C" AOTITorchError {symbol}({arguments});'
            self._given = [tensor is not None for tensor in tensors]
            inputs = [tensor for tensor in tensors if tensor is not None]
            super().__init__(layout, inputs, numbers, python_kernel_name=symbol, cpp_kernel_name=symbol)

        def codegen(self, wrapper: Any) -> None:
            """Write the call."""
            wrapper.header.writeline(self._declaration)
            super().codegen(wrapper)

        def codegen_args(self) -> list[str]:
            """Return the arguments in C++: a null pointer for each tensor that is missing."""
            arguments = iter(super().codegen_args())
            return [*(next(arguments) if given else "nullptr" for given in self._given), *arguments]

    @register_lowering(product, type_promotion_kind=None)
    def multiply(x: Any, right: Any, bias: Any, added: Any, outputs: int, x_2: Any, right_2: Any) -> Any:
        tensors = [None if each is None else by_row(each) for each in (x, right, bias, added, x_2, right_2)]
        layout = FixedLayout(x.get_device(), x.get_dtype(), [x.get_size()[0], outputs])
        forms = [each and (each.get_size(), each.get_stride()) for each in tensors]
        numbers = direct.load(x.get_dtype()).numbers([(layout.size, layout.stride), *forms])
        return TensorBox.create(DirectCall("multiply", layout, tensors, numbers))

    @register_lowering(packing, type_promotion_kind=None)
    def pack(right: Any) -> Any:
        right = ExternKernel.realize_input(right)
        right.freeze_layout()
        size = direct.load(right.get_dtype()).panels(*map(int, right.get_size()))
        layout = FixedLayout(right.get_device(), right.get_dtype(), list(size))
        return TensorBox.create(DirectCall("pack", layout, [right], [*right.get_size(), *right.get_stride()]))

    def by_row(tensor: Any) -> Any:
        """Return a tensor whose last values lie side by side: itself, or a copy."""
        order = list(reversed(range(len(tensor.get_size()))))
        ordered = ExternKernel.require_stride_order(ExternKernel.realize_input(tensor), order)
        return ordered if ordered.get_stride()[-1] == 1 else ExternKernel.require_contiguous(ordered)


def route_products(graph: fx.Graph, choose: Choose) -> Mapping[str, int]:
    """Rewrite products in place; returns how many products each library makes.

    `choose` gets products with the same right factor, and a left one of the same size and order, and returns a library.
    Products in a library that is none of `OWN` stay as they are.
    """
    made: Counter[str] = Counter()
    right_factors: dict[tuple[Any, str], Any] = {}  # and what rnnbench's code reads in their place
    factors: dict[Any, Any] = {}  # of the products that it makes
    shared: dict[ProductSet, list[Any]] = {}
    for node in graph.nodes:
        if node.target not in PRODUCTS or node.kwargs or not node.meta["val"].is_cpu:
            continue
        if node.target is aten.mm.default or node.args[0].meta["val"].dim() == 1:  # a bias is one for each column
            left, right = node.args[-2:]
            shared.setdefault((right, Matrix.from_tensor(left.meta["val"])), []).append(node)
    for (right, left), library in _libraries(shared, choose).items():
        products = shared[right, left]
        made[library] += len(products)
        if library not in OWN:
            continue
        if (right, library) not in right_factors:
            lies_by_row = library == DIRECT and Matrix.from_tensor(right.meta["val"]).is_by_row
            with graph.inserting_before(products[0]):
                right_factors[right, library] = right if lies_by_row else new_node(graph, operators()[1], right)
        factors |= dict.fromkeys(products, right_factors[right, library])
    _reroute(graph, factors)
    return made


def _libraries(shared: Mapping[ProductSet, list[Any]], choose: Choose) -> dict[ProductSet, str]:
    """Return the library for each set of products.

    If products are added to others that rnnbench makes and that are at least as large, it makes both in one call.
    """
    sets = {product: key for key, products in shared.items() for product in products}
    names = {}
    others = {}
    for (right, left), products in shared.items():
        value = right.meta["val"]
        added = [_sum_with_matrix(product)[1] for product in products]
        threads = torch.get_num_threads()
        has_added = all(matrix is not None for matrix in added)
        asked = SharedProducts(left, Matrix.from_tensor(value), len(products), value.dtype, threads, has_added)
        names[right, left] = choose(asked)
        others[right, left] = {sets.get(matrix) for matrix in added}
    for key, (other, *more) in others.items():
        if other is not None and not more and names[other] in OWN and other[1].shape[1] >= key[1].shape[1]:
            names[key] = names[key] if names[key] in OWN else DIRECT
    return names


def _reroute(graph: fx.Graph, factors: dict[Any, Any]) -> None:
    """Have rnnbench's code make these products, each with its right factor.

    Two of them that are added are one call; their biases are added once for all steps.
    """
    sums: dict[tuple[Any, ...], Any] = {}
    place = {node: number for number, node in enumerate(graph.nodes)}
    # By their sums, since a product may come before another and be added after it: a sum of biases comes before both.
    for product in sorted(factors, key=lambda product: (place[_sum_with_matrix(product)[0]], place[product])):
        if product not in factors:
            continue  # made in one call with an earlier one
        total, added = _sum_with_matrix(product)
        pair = [product]
        if added in factors and len(added.users) == 1:
            pair = [added, product]
            added = None
        biases = tuple(each.args[0] for each in reversed(pair) if each.target is aten.addmm.default)
        with graph.inserting_before(total):
            if len(biases) > 1 and biases not in sums:
                sums[biases] = new_node(graph, aten.add.Tensor, *biases)
            bias = sums.get(biases, biases[0] if biases else None)
            left, right, *second = [part for each in pair for part in (each.args[-2], factors.pop(each))]
            more = added, product.meta["val"].shape[1], *(second or (None, None))
            rerouted = new_node(graph, operators()[0], left, right, bias, *more)
        total.replace_all_uses_with(rerouted)
        for node in dict.fromkeys((total, *pair)):
            graph.erase_node(node)


def _sum_with_matrix(product: Any) -> tuple[Any, Any]:
    """Return the sum of a product and another matrix, if nothing else uses the product, and that matrix.

    Otherwise returns the product, and None.
    """
    users = list(product.users)
    if [user.target for user in users] != [aten.add.Tensor] or users[0].kwargs or users[0].args.count(product) > 1:
        return product, None
    [added] = [argument for argument in users[0].args if argument is not product]
    value = product.meta["val"]
    other = added.meta["val"] if isinstance(added, fx.Node) else None
    if other is None or (other.shape, other.dtype) != (value.shape, value.dtype):
        return product, None
    return users[0], added
