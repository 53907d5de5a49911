"""Around every function of `import rnnbench`: errors without rnnbench's frames, Python's random generator as it was."""

import functools
import random
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from rnnbench.errors import UserError
from rnnbench.raised import ending

P = ParamSpec("P")
R = TypeVar("R")


def for_users(function: Callable[P, R]) -> Callable[P, R]:
    """Raise what a function raises without rnnbench's own frames; what a user's module raised keeps the user's.

    Python's random generator, which belongs to the user, is left as it was: the import of rich draws numbers from it.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        state = random.getstate()
        try:
            return function(*args, **kwargs)
        except (ValueError, TypeError, RuntimeError, UserError) as error:
            cause = error.__cause__
            if cause is not None:
                cause.__traceback__ = _of_others(cause.__traceback__)
            raise error.with_traceback(None) from cause
        except SystemExit as end:  # a module's own would end the caller's program without a word
            raise RuntimeError(f"{ending(end, 'the module')}; it must return, or raise another exception") from None
        finally:
            random.setstate(state)

    return wrapped


def _of_others(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of rnnbench."""
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "rnnbench":
        traceback = traceback.tb_next
    return traceback
