"""What a worker does around each request, so that a case can't do harm to the cases that come after it."""

from rnnbench.cells import CellError
from rnnbench.harness.machine.process_state import ProcessState
from rnnbench.harness.worker import child_processes
from rnnbench.harness.worker.streams import WorkerStreams


class CaseGuard:
    """Puts the process back as it was, and tells what can't be put back."""

    def __init__(self, streams: WorkerStreams) -> None:
        self._streams = streams
        self._state = ProcessState()
        self._children: frozenset[int] = frozenset()
        child_processes.refuse_copies()
        child_processes.adopt_orphans()

    def begin(self) -> None:
        """Note what is there before a request."""
        self._state.begin()
        self._children = frozenset(child_processes.running())

    def end(self, *, may_have_children: bool) -> None:
        """Put the process back; raises NotRestoredError, and CellError where a case has left a process running."""
        try:
            self._state.restore()
        finally:
            self.restore_streams()
        left = {} if may_have_children else child_processes.running()
        if new := [name for number, name in left.items() if number not in self._children]:
            raise CellError(f"it leaves processes running: {', '.join(new)}; end them within the call")

    def restore_streams(self) -> None:
        """Make standard input, output and error usable again."""
        self._streams.restore()

    def printed_bytes(self) -> int:
        """How much all cases have printed so far."""
        return self._streams.printed_bytes()
