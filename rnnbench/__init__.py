"""rnnbench: how far a hand-written recurrent cell is from torch.nn, and whether a commit made it slower."""

import importlib
from typing import TYPE_CHECKING, Any

from rnnbench.from_python import Measure, explain, predict

if TYPE_CHECKING:
    from rnnbench.analysis.summary import summarize
    from rnnbench.store.frame import load

    measure: Measure

__version__ = "0.1.0"
__all__ = ["explain", "load", "measure", "predict", "summarize"]

importlib.import_module("rnnbench.measure").__class__ = Measure  # this line is run before any module below it can be


def __getattr__(name: str) -> Any:
    """Import pandas only when something that needs it is asked for."""
    if name == "load":
        from rnnbench.store.frame import load

        return load
    if name == "summarize":
        from rnnbench.analysis.summary import summarize

        return summarize
    raise AttributeError(f"module 'rnnbench' has no attribute {name!r}")
