"""What a stranger's class or function takes."""

import inspect
from collections.abc import Callable, Mapping


def parameters_of(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a class or function by name; empty if they can't be read, as of some in C."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
