"""rnnbench: how far a hand-written recurrent cell is from torch.nn, and whether a commit made it slower.

- `measure`, `sweep`, `explain`, `fastest`: time modules of this process, at one size or many, say why one is slower,
  find the fastest way to run it;
- `unroll`, `with_head`, `same_weights`: make modules comparable;
- `load`, `summarize`, `compare`, `predict`: stored runs as pandas frames.
"""

from rnnbench.api.live import explain, fastest, measure, sweep
from rnnbench.api.modules import same_weights, unroll, with_head
from rnnbench.api.stored import compare, load, predict, summarize
from rnnbench.version import __version__ as __version__

__all__ = [
    "compare",
    "explain",
    "fastest",
    "load",
    "measure",
    "predict",
    "same_weights",
    "summarize",
    "sweep",
    "unroll",
    "with_head",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
