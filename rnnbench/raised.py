"""What the code of a user has raised: where, and in words if it tried to end the process."""

import os
import traceback
from pathlib import Path

from rnnbench.text import error_in_words, first_line

HIDDEN = ("child_processes.py",)  # files whose frames do not belong to the user


def place(error: BaseException) -> str:
    """` (file.py:12)`: the innermost line of code outside installed packages; empty if there is none."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if f"{os.sep}site-packages{os.sep}" not in frame.filename and Path(frame.filename).name not in HIDDEN
    ]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def ending(error: BaseException, what: str = "the cell") -> str:
    """`the cell called sys.exit(0) (file.py:12)`: an exception that would end the process, in words."""
    if isinstance(error, SystemExit):
        return f"{what} called sys.exit({first_line(error)}){place(error)}"
    return f"{what} raised {error_in_words(error)}{place(error)}"
