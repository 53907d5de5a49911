"""What a stranger's class or function takes."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parameters_of(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function by name; empty if they can't be read, as of some in C."""
    schema: Any = getattr(function, "schema", None)
    if schema is not None:  # of TorchScript: a copy has no signature, and a class's own names `self`
        return {
            each.name: inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY if each.kwarg_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=each.default_value if each.has_default_value() else inspect.Parameter.empty,
            )
            for each in schema.arguments
            if each.name != "self"
        }
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def needed_after_input(function: Callable[..., object]) -> list[str]:
    """Return the names of the arguments behind the first that have no default."""
    parameters = list(parameters_of(function).values())[1:]
    named = (each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return [each.name for each in named if each.default is inspect.Parameter.empty]
