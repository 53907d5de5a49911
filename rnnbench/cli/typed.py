"""The command as it was typed, which a run keeps."""

import shlex
import sys


def typed() -> str:
    """In words that a shell takes as they are."""
    return shlex.join(["rnnbench", *sys.argv[1:]])
