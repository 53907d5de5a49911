"""A worker's streams: the two of the protocol, out of reach of its cases, and the standard streams for the cases."""

import os
import sys


class WorkerStreams:
    """Requests and replies, on the standard input and output that the process was started with, out of a case's reach.

    For the cases, descriptor 0 is empty, and 1 and 2 are the standard error that the process was started with.
    """

    def __init__(self) -> None:
        self.requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self.replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        self._nothing = os.open(os.devnull, os.O_RDWR)
        self._errors = os.dup(2)
        os.register_at_fork(after_in_child=self._close)
        self.restore()

    def restore(self) -> None:
        """Restore descriptors 0 to 2, whatever a case has closed or opened in their place."""
        streams = (("stdin", "r", self._nothing), ("stdout", "w", self._errors), ("stderr", "w", self._errors))
        for descriptor, (name, mode, source) in enumerate(streams):
            os.dup2(source, descriptor)
            if getattr(getattr(sys, name), "closed", True):  # a case may have put any object there
                setattr(sys, name, os.fdopen(os.dup(descriptor), mode, encoding="utf-8", errors="backslashreplace"))

    def printed_bytes(self) -> int:
        """Return the number of bytes printed so far; it decreases only when the coordinator truncates the file."""
        sys.stdout.flush()
        sys.stderr.flush()
        return os.fstat(self._errors).st_size

    def _close(self) -> None:
        """Run in a forked process, so that it takes no requests and does not keep the coordinator's pipes open."""
        for stream in (self.requests, self.replies):
            os.dup2(self._nothing, stream.fileno(), inheritable=False)
