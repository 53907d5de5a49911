"""rnnbench: how far a hand-written recurrent cell is from torch.nn, and whether a commit made it slower.

- `measure`, `sweep`, `explain`, `fastest`: time modules of this process, at one size or many, say why one is slower,
  find the fastest way to run it; `load_fastest`: load one that was saved;
- `assert_not_slower`: raise if a module is slower than another by more than a factor;
- `unroll`, `with_head`, `same_weights`: make modules comparable;
- `load`, `summarize`, `compare`: stored runs as pandas frames;
- `plot`: the figures of reports, on axes of your own;
- `UserError`: what functions of stored runs raise.

What a function is about comes first, all else by keyword.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnbench.version import __version__ as __version__

if TYPE_CHECKING:
    from rnnbench import plot
    from rnnbench.api.kept import load_fastest
    from rnnbench.api.live import assert_not_slower, explain, fastest, measure, sweep
    from rnnbench.api.modules import same_weights, unroll, with_head
    from rnnbench.api.stored import compare, load, summarize
    from rnnbench.errors import UserError

__all__ = [
    "UserError",
    "assert_not_slower",
    "compare",
    "explain",
    "fastest",
    "load",
    "load_fastest",
    "measure",
    "plot",
    "same_weights",
    "summarize",
    "sweep",
    "unroll",
    "with_head",
]
MODULES = {
    "UserError": "errors",
    "load_fastest": "api.kept",
    "plot": "plot",
    **dict.fromkeys(("compare", "load", "summarize"), "api.stored"),  # these need no torch
    **dict.fromkeys(("same_weights", "unroll", "with_head"), "api.modules"),
}


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    """Import torch, pandas and matplotlib only when they are used, and leave Python's random generator as it was."""
    if name not in __all__:
        raise AttributeError(f"module 'rnnbench' has no attribute {name!r}")
    if name == "plot":
        return import_module("rnnbench.plot")
    import random

    state = random.getstate()  # the import of rich draws numbers
    member = getattr(import_module(f"rnnbench.{MODULES.get(name, 'api.live')}"), name)
    random.setstate(state)
    return member
