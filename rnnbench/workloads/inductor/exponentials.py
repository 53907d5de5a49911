"""Exponentials in the sigmoid and tanh of compiled code on a CPU.

Inductor makes a tanh of one exponential, `2 / (1 + exp(-2 x)) - 1`, which is off by 1e-7 also where tanh is smaller
than that. So near zero a series takes the place of it, and float64 keeps the library's tanh.

For `prepacked`, exponentials are shorter. Inductor calls Sleef's, which is exact to one unit in the last place of
float32. With AVX-512, a power of two is the processor's own instruction, and what is left takes a polynomial. The power
less one gives a tanh that is exact near zero too: `(2^y - 1) / (2^y + 1)`. Both functions are exact to 4 units near
zero and to 20 far from it, where they hardly depend on the exponential. Elsewhere, torch has a shorter exponential for
its attention, exact to 20. It makes a number of NaN, so NaN is put back.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

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
POWERS = {"sigmoid": -LOG2_E, "tanh": 2 * LOG2_E}  # the power of two in a function is this times its argument
# The series of tanh(x) / x in powers of x^2. What is left out is at most 6e-8 of it for |x| <= NEAR_ZERO.
SERIES = (1.0, -1 / 3, 2 / 15, -17 / 315)
NEAR_ZERO = 0.2
Write = Callable[[Any], str]
Exponentials = Literal["exact", "short"]


@cache
def install(wanted: Callable[[], Exponentials | None]) -> None:
    """Have Inductor write the functions of a graph with the exponentials that `wanted` returns while it is compiled.

    If that is None, or where torch writes other code than expected, nothing changes.
    """
    from torch._inductor.codegen.cpp import CppVecOverrides

    for name in POWERS:
        setattr(CppVecOverrides, name, staticmethod(_written(name, getattr(CppVecOverrides, name), wanted)))


def _written(name: str, write: Write, wanted: Callable[[], Exponentials | None]) -> Write:
    def written(x: Any) -> str:
        code, kind = write(x), wanted()
        if EXACT not in code or kind is None:
            return code
        if kind == "short" and getattr(x, "dtype", None) is torch.float32 and _has_wide_vectors():
            return _by_powers(name, x)
        if name == "tanh" and getattr(x, "dtype", None) is torch.float64:
            return f"{x}.tanh()"
        if kind == "short":
            code = f"decltype({x})::blendv({code.replace(EXACT, FAST)}, {x}, {x} != {x})"
        return _with_series(x, code) if name == "tanh" else code

    return written


@cache
def _has_wide_vectors() -> bool:
    """Whether compiled code uses vectors of AVX-512."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    return "avx512" in str(pick_vec_isa()) and pick_vec_isa().bit_width() == WIDE_BITS


def _by_powers(name: str, x: Any) -> str:
    """The function in C++, from a power of two: sigmoid from the power itself, tanh from the power less one."""
    if name == "sigmoid":
        return f"decltype({x})(1) / (decltype({x})(1) + {POWER}({x}, {POWERS[name]!r}f, false))"
    tanh = "[](const auto& less) { return less / (less + std::decay_t<decltype(less)>(2)); }"
    return f"{tanh}({POWER}({x}, {POWERS[name]!r}f, true))"


def _with_series(x: Any, code: str) -> str:
    """The code of a tanh in C++, with its series near zero."""
    one = f"decltype({x})"
    series = f"{one}({SERIES[-1]!r}f)"
    for coefficient in SERIES[-2::-1]:
        series = f"({one}({coefficient!r}f) + {x} * {x} * {series})"
    return f"{one}::blendv({code}, {x} * {series}, {x}.abs() < {one}({NEAR_ZERO}f))"


def _polynomial(coefficients: Sequence[float]) -> str:
    """`(2^rest - 1) / rest` in C++."""
    code = f"all({coefficients[-1]!r}f)"
    for coefficient in coefficients[-2::-1]:
        code = f"_mm512_fmadd_ps({code}, rest, all({coefficient!r}f))"
    return code


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
    f" const __m512 beyond = _mm512_mul_ps(rest, {_polynomial(COEFFICIENTS)}); const __m512 scale ="
    " _mm512_scalef_ps(all(1.0f), whole);"
    " return one(_mm512_fmadd_ps(beyond, scale, less ? _mm512_sub_ps(scale, all(1.0f)) : scale)); };"
    " if constexpr (std::is_same_v<std::decay_t<decltype(x)>, one>) { return power(x); }"
    " else { auto parts = x; for (int i = 0; i < parts.size() / one::size(); i++) { parts[i] = power(x[i]); }"
    " return parts; } }"
)
