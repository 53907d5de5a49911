"""A worker's streams: the protocol's two, out of reach of its cases, and those that cases print to and read from."""

import os
import sys


class WorkerStreams:
    """Requests and replies, on the descriptors that the process was started with.

    Descriptor 0 is at its end from then on; 1 and 2 are what the process was given as standard error.
    """

    def __init__(self) -> None:
        self.requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self.replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        self._nothing = os.open(os.devnull, os.O_RDWR)
        self._errors = os.dup(2)
        os.register_at_fork(after_in_child=self._close)
        self.restore()

    def restore(self) -> None:
        """Make descriptors 0 to 2 what they were, whatever a case has closed or opened in their place."""
        for descriptor, source in ((0, self._nothing), (1, self._errors), (2, self._errors)):
            if not _is_same(descriptor, source):
                os.dup2(source, descriptor)
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(getattr(sys, name), "closed", True):  # a case may have put anything there
                descriptor = ("stdin", "stdout", "stderr").index(name)
                setattr(sys, name, os.fdopen(os.dup(descriptor), mode, encoding="utf-8", errors="backslashreplace"))

    def printed_bytes(self) -> int:
        """How much was printed so far; less than before only if the coordinator has cut it short meanwhile."""
        sys.stdout.flush()
        sys.stderr.flush()
        return os.fstat(self._errors).st_size

    def _close(self) -> None:
        """In a process that was forked: it neither takes requests nor keeps the coordinator waiting for their end."""
        for stream in (self.requests, self.replies):
            os.dup2(self._nothing, stream.fileno(), inheritable=False)


def _is_same(descriptor: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(descriptor, other)
    except OSError:  # it is closed
        return False
