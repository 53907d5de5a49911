"""Faster exponentials in the sigmoid and tanh of compiled code on a CPU.

Inductor calls Sleef's exponential, which is exact to one unit in the last place of float32. torch has a shorter one for
its attention, exact to 20. It makes a number of NaN, so NaN is put back.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

EXACT, FAST = ".exp()", ".exp_u20()"
FUNCTIONS = ("sigmoid", "tanh")


@cache
def install(is_wanted: Callable[[], bool]) -> None:
    """Have Inductor use them in graphs that are compiled while `is_wanted()` is true; others stay as they are.

    Where torch writes other code than expected, nothing changes.
    """
    from torch._inductor.codegen.cpp import CppVecOverrides

    for name in FUNCTIONS:
        setattr(CppVecOverrides, name, staticmethod(_faster(getattr(CppVecOverrides, name), is_wanted)))


def _faster(write: Callable[[Any], str], is_wanted: Callable[[], bool]) -> Callable[[Any], str]:
    def written(x: Any) -> str:
        code = write(x)
        if EXACT not in code or not is_wanted():
            return code
        return f"decltype({x})::blendv({code.replace(EXACT, FAST)}, {x}, {x} != {x})"

    return written
