"""Audit hooks that end with the object whose method they are.

Python removes none. Hundreds of tests make a worker or a tracer in the process of the tests, and what all of these
have added would be called at every import and every file that is opened, for all tests after them.
"""

import operator
import sys
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any

Hook = Callable[[str, tuple[Any, ...]], object]
IDLE = staticmethod(operator.is_)  # which takes what a hook takes, and does nothing
_add = sys.addaudithook
_idle: list[type] = []  # classes of hooks that Python has and that call nothing now


def end_hooks_with_their_objects() -> None:
    """From now on, call a hook that is a method only until nothing needs its object any more."""
    sys.addaudithook = _add_for_its_life


def _add_for_its_life(hook: Hook) -> None:
    """Add a hook that does not keep its object. It is called without a frame between: hooks look at who calls them."""
    if not isinstance(hook, MethodType):
        _add(hook)
        return
    if not _idle:
        kind = type("Hook", (), {"__call__": IDLE})
        _add(kind())
        _idle.append(kind)
    used: Any = _idle.pop()
    used.__call__ = staticmethod(MethodType(hook.__func__, weakref.proxy(hook.__self__)))
    weakref.finalize(hook.__self__, _end, used).atexit = False


def _end(used: Any) -> None:
    used.__call__ = IDLE
    _idle.append(used)
