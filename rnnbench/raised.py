"""What the code of a user has raised: where, and in words if it tried to end the process."""

import os
import traceback
from pathlib import Path

from rnnbench.text import error_in_words, first_line

HIDDEN = ("rnnbench/adapt/contract.py",)  # files whose frames do not belong to the user


def place(error: BaseException) -> str:
    """` (file.py:12)`: the innermost line of code outside installed packages; empty if there is none."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(part in frame.filename.replace(os.sep, "/") for part in HIDDEN)
    ]
    return line_of(frames[-1]) if frames else ""


def line_of(frame: traceback.FrameSummary) -> str:
    """` (file.py:12)`: the line at which a frame is."""
    return f" ({Path(frame.filename).name}:{frame.lineno})"


def ending(error: BaseException, what: str = "the cell") -> str:
    """`the cell called sys.exit(0) (file.py:12)`: an exception that would end the process, in words."""
    if isinstance(error, SystemExit):
        return f"{what} called sys.exit({first_line(error)}){place(error)}"
    return f"{what} raised {error_in_words(error)}{place(error)}"
