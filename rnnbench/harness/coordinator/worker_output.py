"""What a worker and its cases print: kept in a file without a name, never much of it, for the last line if it dies."""

import fcntl
import os
import tempfile

MAX_BYTES = 16 << 20  # that it may hold while the worker is at work
KEPT_BYTES = 64 << 10


class WorkerOutput:
    """A temporary file that the worker appends to."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        # Whoever writes then writes at the end, also after the file was cut.
        fcntl.fcntl(self.fileno(), fcntl.F_SETFL, fcntl.fcntl(self.fileno(), fcntl.F_GETFL) | os.O_APPEND)

    def fileno(self) -> int:
        """The descriptor that the worker writes to."""
        return self._file.fileno()

    def cut(self) -> None:
        """Keep the end of it, if there is much."""
        if os.fstat(self.fileno()).st_size > MAX_BYTES:
            end = self._end()
            os.ftruncate(self.fileno(), 0)
            os.write(self.fileno(), end)

    def last_line(self) -> str:
        """The last line that is not empty; empty if there is none."""
        lines = self._end().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """Forget all of it."""
        self._file.close()

    def _end(self) -> bytes:
        size = os.fstat(self.fileno()).st_size
        return os.pread(self.fileno(), KEPT_BYTES, max(0, size - KEPT_BYTES))
