"""The command as it was typed, which a run keeps."""

import shlex
import sys


def typed() -> str:
    """The command, quoted for a shell."""
    return shlex.join(["rnnbench", *sys.argv[1:]])
