"""A process that ends with its parent. Importing this does not import torch."""

import ctypes
import signal
import sys


def end_with_parent(*_: object) -> None:
    """On Linux, have this process killed when its parent ends in any way; elsewhere do nothing."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
