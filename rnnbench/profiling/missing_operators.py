"""Operators of a call that its reference does not have: layer norm, softmax, an exponential.

They are named whether or not the kernels of the call can be summed. What any recurrent layer does is not named if the
reference is a fused layer, which hides it: products, gates, and sums over them.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.store.profiles import Operator, Profile

MAX_OPERATORS_NAMED = 3
MIN_OPERATOR_SHARE = 0.02  # of the call; less is not named
WORD_OF = {  # of an operator without its prefix, where the rule of `word` gives no English
    **dict.fromkeys(("mm", "addmm", "mv", "addmv", "linear", "matmul", "dot", "mkldnn_linear"), "matmul"),
    **dict.fromkeys(("bmm", "baddbmm", "einsum"), "batched matmul"),
    **dict.fromkeys(("clone", "contiguous", "to", "type", "copy", "to_copy", "double"), "copy"),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack", "vstack"), "concatenating tensors"),
    **dict.fromkeys(("zeros", "ones", "full", "fill", "zero", "new_zeros", "new_ones", "new_full"), "filling a tensor"),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), "filling a tensor"),
    **dict.fromkeys(("select_backward", "slice_backward", "split_backward"), "gradient of a slice"),
    **dict.fromkeys(("index", "gather", "index_select", "take", "embedding"), "indexed read"),
    **dict.fromkeys(("index_put", "scatter", "scatter_add", "index_add"), "indexed write"),
    **dict.fromkeys(("masked_fill", "where"), "masking"),
    **dict.fromkeys(("bernoulli", "dropout"), "dropout"),
    **dict.fromkeys(("norm", "linalg_vector_norm"), "norm of a vector"),
    **dict.fromkeys(("max", "amax"), "maximum"),
    **dict.fromkeys(("min", "amin"), "minimum"),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), "comparison"),
    "add": "addition",
    "sub": "subtraction",
    "rsub": "subtraction",
    "mul": "multiplication",
    "div": "division",
    "neg": "negation",
    "exp": "exponential",
    "log": "logarithm",
    "sqrt": "square root",
    "rsqrt": "square root",
    "pow": "power",
    "threshold": "relu",
    "cumsum": "cumulative sum",
    "cumprod": "cumulative product",
    "var": "variance",
    "var_mean": "variance",
    "fft_r2c": "Fourier transform",
    "fft_c2r": "Fourier transform",
    "fft_c2c": "Fourier transform",
}
NAME_BEGINNINGS = ("native_", "foreach_", "cudnn_", "mkldnn_", "miopen_")
NAME_ENDINGS = ("_backward", "_backward_data", "_forward", "_jvp")
# What a fused layer does inside, and what its gradients are made of.
OF_A_LAYER = {"matmul", "addition", "subtraction", "multiplication", "sigmoid", "tanh", "relu", "sum"}


@dataclass(frozen=True)
class MissingOperator:
    """All calls of one kind of operator in a call, which the reference does not make; times are seconds per call."""

    word: str  # `layer norm`
    calls: int  # in the forward; in the backward if only that has some
    kernels: Estimate
    around: Estimate  # on the way to the kernels

    @property
    def seconds(self) -> float:
        """The time of all its calls."""
        return self.kernels.value + self.around.value


def word(name: str) -> str:
    """Return what an operator does in plain English, by its name in torch: `layer norm` for `aten::native_layer_norm`.

    An operator and its gradient have the same word.
    """
    plain = name.rpartition("::")[2].strip("_")
    while True:
        shorter = plain
        for beginning in NAME_BEGINNINGS:
            shorter = shorter.removeprefix(beginning).strip("_")
        if shorter in WORD_OF:
            return WORD_OF[shorter]
        for ending in NAME_ENDINGS:
            shorter = shorter.removesuffix(ending).strip("_")
        if shorter in WORD_OF or shorter == plain:
            return WORD_OF.get(shorter, shorter.replace("_", " "))
        plain = shorter


def missing_operators(call: Profile, reference: Profile, words: Collection[str] = ()) -> list[MissingOperator]:
    """Return the kinds of operators that take most time of a call and that its reference does not have, largest first.

    `words`: of what is explained by other causes, and so left out. Empty if the operators of one of both can't
    be seen or clocked, as with compiled code, or on a device that runs behind the host.
    """
    if any(each.opaque or each.kernels is not None or not each.operators for each in (call, reference)):
        return []
    left_out = {word(operator.name) for operator in reference.operators} | {*words}
    if any(operator.category == "layer" for operator in reference.operators):
        left_out |= OF_A_LAYER
    clocked = [operator for operator in call.operators if operator.category != "views" and operator.seconds]
    whole = estimate(call.times["call"]).value
    # A clock around each operator lengthens a call of many short ones, and a busy moment any.
    scale = min(1.0, whole / max(sum(float(np.median(operator.seconds)) for operator in clocked), 1e-12))
    by_word: dict[str, list[Operator]] = {}
    for operator in clocked:
        by_word.setdefault(word(operator.name), []).append(operator)
    sized = [_summed(each, operators, scale) for each, operators in by_word.items() if each not in left_out]
    large = [each for each in sized if each.seconds >= MIN_OPERATOR_SHARE * whole]
    return sorted(large, key=lambda each: -each.seconds)[:MAX_OPERATORS_NAMED]


def _summed(name: str, operators: Iterable[Operator], scale: float) -> MissingOperator:
    """Sum operators of one kind, in each round."""
    members = list(operators)
    seconds = scale * np.sum([operator.seconds for operator in members], axis=0)
    idle = scale * np.sum([operator.idle_seconds for operator in members], axis=0)
    forward = sum(operator.calls for operator in members if operator.part == "forward")
    return MissingOperator(
        name,
        forward or sum(operator.calls for operator in members),
        estimate(np.maximum(seconds - idle, 0.0)),
        estimate(np.minimum(seconds, idle)),
    )
