"""The end of what a worker and its cases print: kept in a nameless file, for its last line if the worker dies."""

import fcntl
import os
import tempfile

from rnnbench.text import last_line

MAX_BYTES = 16 << 20  # that the file may hold while the worker is at work
KEPT_BYTES = 64 << 10


class WorkerOutput:
    """A temporary file that the worker appends to."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        # Every write then goes to the end, also after the file was cut.
        fcntl.fcntl(self.fileno(), fcntl.F_SETFL, fcntl.fcntl(self.fileno(), fcntl.F_GETFL) | os.O_APPEND)

    def fileno(self) -> int:
        """The descriptor that the worker writes to."""
        return self._file.fileno()

    def cut(self) -> None:
        """Keep only the end of the file if it is large."""
        if os.fstat(self.fileno()).st_size > MAX_BYTES:
            end = self._end()
            os.ftruncate(self.fileno(), 0)
            os.write(self.fileno(), end)

    def last_line(self) -> str:
        """The last line that is not empty; empty if there is none."""
        return last_line(self._end().decode(errors="replace"))

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _end(self) -> bytes:
        size = os.fstat(self.fileno()).st_size
        return os.pread(self.fileno(), KEPT_BYTES, max(0, size - KEPT_BYTES))
