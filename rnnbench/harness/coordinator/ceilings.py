"""The measured rates of the machine in a run, by device, dtype and number of threads."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rnnbench.harness import protocol
from rnnbench.harness.protocol import Reply, Request
from rnnbench.store.ceilings import Ceiling, best_of
from rnnbench.store.records import DType, Workload

Place = tuple[str, DType, int]  # device, dtype, threads


def place_of(workload: Workload) -> Place:
    """The ceiling that holds for the cases of a workload."""
    return workload.device, workload.dtype, workload.threads


class Ceilings:
    """The ceilings of a run, and notes for the reader about limits that are missing or weak."""

    def __init__(self, kernels: Path, known: Iterable[Mapping[str, Any]] = ()) -> None:
        """`kernels`: a folder for the kernels that workers build; `known`: ceilings of an earlier part of the run."""
        self._kernels = kernels
        self._known = [Ceiling.from_json(content) for content in known]
        self._measured: list[Ceiling] = []
        self.notes: dict[str, None] = {}

    def measure(self, ask: Callable[[Request], Reply], place: Place, *, passes: int = 1, again: bool = False) -> None:
        """Measure a ceiling in so many passes; a note says why, if it could not be measured.

        `again`: one that was measured before, since the processor may run faster by now.
        """
        if again and place not in [ceiling.place for ceiling in self._measured]:
            return
        reply, (device, dtype, _) = ask(protocol.ceiling(*place, str(self._kernels), passes=passes, again=again)), place
        if reply["ok"]:
            self._measured = best_of([*self._measured, Ceiling.from_json(reply["ceiling"])])
            if missing := reply["no_kernels"]:
                note = f"the limits of the processor are those of its fastest product and copy: {missing}"
                self.notes[note] = None
        elif not again:
            self.notes[f"the limits of {device} in {dtype} were not measured: {reply['reason']}"] = None

    def to_json(self) -> list[dict[str, Any]]:
        """The ceilings in the form that `run.json` has."""
        return [ceiling.to_json() for ceiling in best_of([*self._known, *self._measured])]
