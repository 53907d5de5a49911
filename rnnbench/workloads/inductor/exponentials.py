"""Faster exponentials in the sigmoid and tanh of compiled code on a CPU.

Inductor calls Sleef's exponential, which is exact to one unit in the last place of float32. With AVX-512, a power of
two is the processor's own instruction, and what is left takes a polynomial: 12 instructions, exact to 4 units near zero
and to 20 far from it, where the functions hardly depend on it. Elsewhere, torch has a shorter exponential for its
attention, exact to 20. It makes a number of NaN, so NaN is put back.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

EXACT, FAST = ".exp()", ".exp_u20()"
WIDE_BITS = 512  # of a vector
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
POWERS = {"sigmoid": -LOG2_E, "tanh": -2 * LOG2_E}  # the power of two in a function is this times its argument
Write = Callable[[Any], str]


@cache
def install(is_wanted: Callable[[], bool]) -> None:
    """Have Inductor use them in graphs that are compiled while `is_wanted()` is true; others stay as they are.

    Where torch writes other code than expected, nothing changes.
    """
    from torch._inductor.codegen.cpp import CppVecOverrides

    for name in POWERS:
        setattr(CppVecOverrides, name, staticmethod(_faster(name, getattr(CppVecOverrides, name), is_wanted)))


def _faster(name: str, write: Write, is_wanted: Callable[[], bool]) -> Write:
    def written(x: Any) -> str:
        code = write(x)
        if EXACT not in code or not is_wanted():
            return code
        if getattr(x, "dtype", None) is torch.float32 and _has_wide_vectors():
            return _by_powers(name, x)
        return f"decltype({x})::blendv({code.replace(EXACT, FAST)}, {x}, {x} != {x})"

    return written


@cache
def _has_wide_vectors() -> bool:
    """Whether compiled code uses vectors of AVX-512."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    return "avx512" in str(pick_vec_isa()) and pick_vec_isa().bit_width() == WIDE_BITS


def _by_powers(name: str, x: Any) -> str:
    """The function in C++, from a power of two."""
    one, power = f"decltype({x})(1)", f"{POWER}({x}, {POWERS[name]!r}f)"
    return f"{one} / ({one} + {power})" if name == "sigmoid" else f"decltype({x})(2) / ({one} + {power}) - {one}"


def _polynomial(coefficients: Sequence[float]) -> str:
    """`1 + rest * (...)` in C++."""
    code = f"all({coefficients[-1]!r}f)"
    for coefficient in (*coefficients[-2::-1], 1.0):
        code = f"_mm512_fmadd_ps({code}, rest, all({coefficient!r}f))"
    return code


# `power(x, factor)` is 2**(factor * x), for one vector, or for several, which Inductor uses beside narrower types. The
# limits come first: of NaN and a number, these instructions keep the second.
POWER = (
    "[](const auto& x, float factor) { using one = at::vec::Vectorized<float>;"
    " const auto all = [](float value) { return _mm512_set1_ps(value); };"
    " const auto power = [&](const one& part) {"
    f" const __m512 most = _mm512_min_ps(all({LARGEST_POWER}.0f), _mm512_mul_ps(part, all(factor)));"
    f" const __m512 power = _mm512_max_ps(all(-{LARGEST_POWER}.0f), most);"
    " const __m512 whole = _mm512_roundscale_ps(power, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);"
    " const __m512 rest = _mm512_sub_ps(power, whole);"
    f" return one(_mm512_scalef_ps({_polynomial(COEFFICIENTS)}, whole)); }};"
    " if constexpr (std::is_same_v<std::decay_t<decltype(x)>, one>) { return power(x); }"
    " else { auto parts = x; for (int i = 0; i < parts.size() / one::size(); i++) { parts[i] = power(x[i]); }"
    " return parts; } }"
)
