"""What a module computes with beside its tensors: its code and its attributes.

A layer of torch.nn that runs in place of a cell does not read them, so they must be what they were when it was found.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

SIMPLE = (bool, int, float, complex, str, bytes)  # compared by value, everything else by identity
GROWING = (list, dict, set)  # their lengths count, since code may add to them
OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # its tensors, hooks and mode


def traits_of(module: nn.Module) -> list[Any]:
    """The code and the attributes of a module and its parts, to be compared by `is_alike`."""
    traits: list[Any] = []
    for part in module.modules():
        traits += type(part).forward, *part._buffers
        for name, parameter in part._parameters.items():
            traits += name, parameter is None
        for name, value in vars(part).items():
            if name not in OF_EVERY_MODULE:
                traits += name, value, len(value) if isinstance(value, GROWING) else None
    return traits


def is_alike(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Whether nothing has changed; a change within an object that keeps its length is not seen."""
    return len(before) == len(after) and all(map(_is_same, before, after))


def _is_same(before: Any, after: Any) -> bool:
    return before is after or (type(before) is type(after) and isinstance(before, SIMPLE) and bool(before == after))
