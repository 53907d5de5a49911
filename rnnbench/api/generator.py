"""Python's random generator, which belongs to the user."""

import functools
import random
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def keeps_generator(function: Callable[P, R]) -> Callable[P, R]:
    """Leave the generator as it was before the call: the import of rich, for example, draws numbers from it."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        state = random.getstate()
        try:
            return function(*args, **kwargs)
        finally:
            random.setstate(state)

    return wrapped
