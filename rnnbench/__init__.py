"""rnnbench: how far a hand-written recurrent cell is from torch.nn, and whether a commit made it slower."""

from typing import TYPE_CHECKING, Any

from rnnbench.api import explain, fastest, measure, predict
from rnnbench.version import __version__ as __version__

if TYPE_CHECKING:
    from rnnbench import plot
    from rnnbench.analysis.summary import summarize
    from rnnbench.store.frame import load

__all__ = ["explain", "fastest", "load", "measure", "plot", "predict", "summarize"]


def __getattr__(name: str) -> Any:
    """Import pandas and matplotlib only when something that needs them is used."""
    if name == "plot":
        from importlib import import_module

        return import_module("rnnbench.plot")
    if name == "load":
        from rnnbench.store.frame import load

        return load
    if name == "summarize":
        from rnnbench.analysis.summary import summarize

        return summarize
    raise AttributeError(f"module 'rnnbench' has no attribute {name!r}")
