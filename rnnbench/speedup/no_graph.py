"""Calls that torch.compile leaves out of its graphs. To import this module takes seconds: it imports the compiler."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


@torch.compiler.disable  # type: ignore[untyped-decorator]
def called(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what a function returns, which runs as plain Python."""
    return function(*args, **kwargs)
