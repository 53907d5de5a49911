"""What a process does about the one that started it. Importing this does not import torch."""

import ctypes
import signal
import sys


def end_with_parent() -> None:
    """On Linux: be killed when the parent ends, however it does and whatever this process is at; elsewhere nothing."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
