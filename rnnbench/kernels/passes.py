"""Passes over the graphs of torch.compile that treat the weights of an unrolled loop as a fused layer does.

Backward through the loop adds up a product for each step, `dW = sum_t dz_t' h_t`. Each reads and writes the whole
matrix for the few rows of one step. Stacked, the same sum is one product, `dW = [dz_1; dz_2; ...]' [h_1; h_2; ...]`.
Sums over rows, for biases, are stacked likewise.

Exponentials in the sigmoid and tanh of compiled code on a CPU.

Inductor makes a tanh of one exponential, `2 / (1 + exp(-2 x)) - 1`, which is off by 1e-7 also where tanh is smaller
than that. So near zero a series takes the place of it, and float64 keeps the library's tanh.

For `prepacked` on a processor with AVX-512, exponentials are shorter, which saves 3 to 19% of the time of an LSTM or
GRU (median 5%, ten sizes). Inductor calls Sleef's, which is exact to one unit in the last place of float32. Here a
power of two is the processor's own instruction, and what is left takes a polynomial. The power less one gives a tanh
that is exact near zero too: `(2^y - 1) / (2^y + 1)`. Both functions are exact to 4 units near zero and to 20 far from
it, where they hardly depend on the exponential.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import fx

# 2**x / (1 + x * (...)) - 1 is at most 1.1e-7 for |x| <= 0.5: fitted for the least largest relative error.
COEFFICIENTS = (
    0.6931470036506653,
    0.24022242426872253,
    0.05550733581185341,
    0.009671512991189957,
    0.001326472731307149,
)
LARGEST_POWER = 126  # of two: beyond it, numbers are not normal, which is slow
LOG2_E = math.log2(math.e)
POWERS = {"sigmoid": -LOG2_E, "tanh": 2 * LOG2_E}  # the power of two in a function is this times its argument
# The series of tanh(x) / x in powers of x^2. What is left out is at most 6e-8 of it for |x| <= NEAR_ZERO.
SERIES = (1.0, -1 / 3, 2 / 15, -17 / 315)
NEAR_ZERO = 0.2
Write = Callable[[Any], str]
POLYNOMIAL = f"all({COEFFICIENTS[-1]!r}f)"  # `(2^rest - 1) / rest` in C++
aten: Any = torch.ops.aten


@cache
def install() -> None:
    """Have Inductor write the functions of a graph with other exponentials if `LoopPasses` rewrite that graph.

    Where torch writes other code than expected, nothing changes.
    """
    from torch._inductor.codegen.cpp import CppVecOverrides

    for name in POWERS:
        setattr(CppVecOverrides, name, staticmethod(_written(name, getattr(CppVecOverrides, name))))


def _written(name: str, write: Write) -> Write:
    def written(x: Any) -> str:
        from torch._inductor import config

        code = write(x)
        dtype = getattr(x, "dtype", None)
        has_short_exponentials = getattr(config.post_grad_custom_pre_pass, "has_short_exponentials", None)
        if ".exp()" not in code or has_short_exponentials is None:
            return code
        one = f"decltype({x})"
        if has_short_exponentials and dtype is torch.float32 and _has_wide_vectors():
            # Sigmoid from a power of two, tanh from the power less one.
            if name == "sigmoid":
                return f"{one}(1) / ({one}(1) + {POWER}({x}, {POWERS[name]!r}f, false))"
            tanh = "[](const auto& less) { return less / (less + std::decay_t<decltype(less)>(2)); }"
            return f"{tanh}({POWER}({x}, {POWERS[name]!r}f, true))"
        if name == "sigmoid":
            return code
        if dtype is torch.float64:
            return f"{x}.tanh()"
        series = f"{one}({SERIES[-1]!r}f)"
        for coefficient in SERIES[-2::-1]:
            series = f"({one}({coefficient!r}f) + {x} * {x} * {series})"
        return f"{one}::blendv({code}, {x} * {series}, {x}.abs() < {one}({NEAR_ZERO}f))"

    return written


@cache
def _has_wide_vectors() -> bool:
    """Return whether compiled code uses vectors of AVX-512."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    return "avx512" in str(pick_vec_isa()) and pick_vec_isa().bit_width() == 512


for _coefficient in COEFFICIENTS[-2::-1]:
    POLYNOMIAL = f"_mm512_fmadd_ps({POLYNOMIAL}, rest, all({_coefficient!r}f))"
# `power(x, factor, less)` is 2**(factor * x), or that less one if `less`, for one vector, or for several, which
# Inductor uses beside narrower types. The limits come first: of NaN and a number, these instructions keep the second.
POWER = (
    "[](const auto& x, float factor, bool less) { using one = at::vec::Vectorized<float>;"
    " const auto all = [](float value) { return _mm512_set1_ps(value); };"
    " const auto power = [&](const one& part) {"
    f" const __m512 most = _mm512_min_ps(all({LARGEST_POWER}.0f), _mm512_mul_ps(part, all(factor)));"
    f" const __m512 power = _mm512_max_ps(all(-{LARGEST_POWER}.0f), most);"
    " const __m512 whole = _mm512_roundscale_ps(power, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);"
    " const __m512 rest = _mm512_sub_ps(power, whole);"
    f" const __m512 beyond = _mm512_mul_ps(rest, {POLYNOMIAL}); const __m512 scale ="
    " _mm512_scalef_ps(all(1.0f), whole);"
    " return one(_mm512_fmadd_ps(beyond, scale, less ? _mm512_sub_ps(scale, all(1.0f)) : scale)); };"
    " if constexpr (std::is_same_v<std::decay_t<decltype(x)>, one>) { return power(x); }"
    " else { auto parts = x; for (int i = 0; i < parts.size() / one::size(); i++) { parts[i] = power(x[i]); }"
    " return parts; } }"
)


def share_transposes(graph: fx.Graph) -> None:
    """Let all steps use one transpose of a weight, where each step has made its own."""
    first: dict[Any, Any] = {}
    for node in [node for node in graph.nodes if _is(node, aten.permute.default) and node.args[0].op == "placeholder"]:
        transpose = first.setdefault((node.args[0], tuple(node.args[1])), node)
        if transpose is not node:
            node.replace_all_uses_with(transpose)
            graph.erase_node(node)


def stack_sums(graph: fx.Graph) -> None:
    """Replace each sum of products by one product, and each sum of sums over rows by one sum."""
    for root in [node for node in graph.nodes if _is(node, aten.add.Tensor)]:
        if root.kwargs or any(_is(user, aten.add.Tensor) for user in root.users):
            continue  # scaled, or part of a larger sum
        terms = _terms(root)
        shapes = {term.meta["val"].shape for term in (root, *terms)}
        if not terms or len(shapes) > 1:
            continue
        products = [_product(term) for term in terms]
        rows = [_summed_rows(term) for term in terms]
        with graph.inserting_before(root):
            if all(products):
                factors = zip(*products, strict=True)
                gradients, states = (new_node(graph, aten.cat.default, list(parts)) for parts in factors)
                turned = new_node(graph, aten.permute.default, gradients, [1, 0])
                total = new_node(graph, aten.mm.default, turned, states)
            elif all(rows):
                total = new_node(graph, aten.sum.dim_IntList, new_node(graph, aten.cat.default, rows), [0], True)
                total = new_node(graph, aten.reshape.default, total, list(root.meta["val"].shape))
            else:
                continue
        root.replace_all_uses_with(total)


def _terms(node: fx.Node) -> list[fx.Node]:
    """Return the terms of a sum of sums, from left to right; an inner sum that is also used elsewhere stays whole."""
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


def _summed_rows(term: Any) -> fx.Node | None:
    """`dz` of a term that sums the rows of `dz`, in any shape; None for other terms."""
    inner = term.args[0] if _is(term, aten.view.default) or _is(term, aten.reshape.default) else term
    if not (_is(inner, aten.sum.dim_IntList) and len(term.users) == len(inner.users) == 1 and not inner.kwargs):
        return None
    rows: fx.Node = inner.args[0]
    return rows if list(inner.args[1]) == [0] and rows.meta["val"].dim() == 2 else None


def new_node(graph: fx.Graph, operator: Callable[..., Any], *args: Any) -> fx.Node:
    """Add a node with the value (shape, strides) that later passes look for."""
    node = graph.call_function(operator, args)
    node.meta["val"] = operator(*fx.map_arg(args, lambda argument: argument.meta["val"]))
    return node


def _is(node: Any, operator: object) -> bool:
    return isinstance(node, fx.Node) and node.target is operator
