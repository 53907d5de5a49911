"""Temporary folders."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnbench.errors import UserError


@contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """Make a temporary folder that is removed at the end; raises UserError if there is no room for one."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=f"rnnbench.{kind}.", ignore_cleanup_errors=True)
    except OSError as fault:
        raise UserError(
            f"no temporary folder can be made: {fault.strerror}; set TMPDIR to a folder that has room"
        ) from None
    with folder as name:
        yield Path(name)
