"""Protection around each request, so that a case can't harm the cases after it."""

from rnnbench.cells import CellError
from rnnbench.harness.machine.global_state import ProcessState
from rnnbench.harness.worker import child_processes
from rnnbench.harness.worker.streams import WorkerStreams
from rnnbench.harness.worker.threads import MAX_NAMED
from rnnbench.text import first_few


class CaseGuard:
    """Restores the process after a request, and reports what can't be restored."""

    def __init__(self, streams: WorkerStreams) -> None:
        self._streams = streams
        self._state = ProcessState()
        self._children: frozenset[int] = frozenset()
        child_processes.refuse_copies()
        child_processes.adopt_orphans()

    def begin(self) -> None:
        """Note the state before a request."""
        self._state.begin()
        self._children = frozenset(child_processes.running())

    def adopt(self) -> None:
        """Let what the import of the code under test has changed stay."""
        self._state.adopt()

    def end(self, *, may_have_children: bool) -> None:
        """Restore the process; raises NotRestoredError, and CellError if a case has left a process running."""
        try:
            self._state.restore()
        finally:
            self.restore_streams()
        left = {} if may_have_children else child_processes.running()
        if new := [name for number, name in left.items() if number not in self._children]:
            raise CellError(f"it leaves processes running: {first_few(new, MAX_NAMED)}; end them within the call")

    def restore_streams(self) -> None:
        """Restore standard input, output and error."""
        self._streams.restore()

    def printed_bytes(self) -> int:
        """Number of bytes that all cases have printed so far."""
        return self._streams.printed_bytes()
