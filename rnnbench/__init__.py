"""rnnbench: how far a hand-written recurrent cell is from torch.nn, and whether a commit made it slower."""

from typing import TYPE_CHECKING, Any

from rnnbench.api import explain, fastest, measure, predict
from rnnbench.version import __version__ as __version__

if TYPE_CHECKING:
    from rnnbench.analysis.summary import summarize
    from rnnbench.store.frame import load

__all__ = ["explain", "fastest", "load", "measure", "predict", "summarize"]


def __getattr__(name: str) -> Any:
    """Import pandas only when a function that needs it is used."""
    if name == "load":
        from rnnbench.store.frame import load

        return load
    if name == "summarize":
        from rnnbench.analysis.summary import summarize

        return summarize
    raise AttributeError(f"module 'rnnbench' has no attribute {name!r}")
