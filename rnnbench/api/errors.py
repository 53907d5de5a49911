"""Around every function of `import rnnbench`: errors without rnnbench's frames, Python's random generator as it was."""

import functools
import random
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from rnnbench.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


def for_users(function: Callable[P, R]) -> Callable[P, R]:
    """Raise what a function raises without rnnbench's own frames; its cause, raised by a user's module, keeps its own.

    Python's random generator, which belongs to the user, is left as it was: the import of rich draws numbers from it.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        state = random.getstate()
        try:
            return function(*args, **kwargs)
        except (ValueError, TypeError, RuntimeError, UserError) as error:
            raise error.with_traceback(None) from error.__cause__
        finally:
            random.setstate(state)

    return wrapped
