"""How a worker takes turns with the worker of another side, and shows the coordinator which case it is calling."""

import mmap
import os
import struct
import time

NUMBER = struct.Struct("i")


class Relay:
    """A token that two workers hand each other through pipes, and a number in memory that the coordinator shares."""

    def __init__(self, marks: int | None = None, token_from: int | None = None, token_to: int | None = None) -> None:
        """All are descriptors; None where there is no coordinator, or no other side."""
        self._marks = None if marks is None else mmap.mmap(marks, NUMBER.size)
        self._token_from = token_from
        self._token_to = token_to

    def mark(self, case: int | None) -> None:
        """Show which case of the visit is being called; None between turns."""
        if self._marks is not None:
            NUMBER.pack_into(self._marks, 0, -1 if case is None else case)

    def wait(self) -> None:
        """Wait until the other side has finished its turns: if it has ended, until this process is ended too."""
        assert self._token_from is not None
        while not os.read(self._token_from, 1):
            time.sleep(1)

    def pass_on(self) -> None:
        """Let the other side take its turns."""
        assert self._token_to is not None
        os.write(self._token_to, b"t")
