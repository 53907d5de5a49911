"""The functions of `import rnnbench`: `live` for modules of the caller's process, `stored` for runs."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from rnnbench.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


def for_users(function: Callable[P, R]) -> Callable[P, R]:
    """Raise what a function raises without rnnbench's own frames; its cause, raised by a user's module, keeps them."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        try:
            return function(*args, **kwargs)
        except (ValueError, TypeError, RuntimeError, UserError) as error:
            raise error.with_traceback(None) from error.__cause__

    return wrapped
