"""Cells that take gradients in their own steps, such as those that learn while they run (arXiv:2407.04620).

No gradient can be taken in inference mode, so they run in torch's usual mode, with `no_grad` around them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def fails_in_inference_mode(call: Callable[[], object]) -> bool:
    """Whether a call fails in inference mode and works outside of it. What it raises in both is left to later calls."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.inference_mode():
                call()
        except Exception:  # whatever a stranger's code raises
            with outside_inference_mode():
                return _works(call)
    return False


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Without gradients, but in a mode in which a call may take its own."""
    with torch.inference_mode(mode=False), torch.no_grad():
        yield


def _works(call: Callable[[], object]) -> bool:
    try:
        call()
    except Exception:
        return False
    return True
