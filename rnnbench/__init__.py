"""rnnbench: how far a hand-written recurrent cell is from torch.nn, and whether a commit made it slower."""

from rnnbench.api import explain, fastest, load, measure, predict, summarize
from rnnbench.version import __version__ as __version__

__all__ = ["explain", "fastest", "load", "measure", "predict", "summarize"]
