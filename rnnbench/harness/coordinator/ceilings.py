"""The best rates of the machine for a run, measured before its cases are timed and again after each replicate."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rnnbench.harness import protocol
from rnnbench.harness.protocol import CeilingReply, FailedReply, Request
from rnnbench.store.ceilings import Ceiling, best_of
from rnnbench.store.records import DType, Workload

Place = tuple[str, DType, int]  # device, dtype, threads
Ask = Callable[[Request[CeilingReply]], CeilingReply | FailedReply]


def place_of(workload: Workload) -> Place:
    """The ceiling that holds for the cases of a workload."""
    return workload.device, workload.dtype, workload.threads


class Ceilings:
    """The ceilings of a run, by device, dtype and number of threads."""

    def __init__(self, kernels: Path, known: Iterable[Mapping[str, Any]] = ()) -> None:
        """`kernels`: a folder for the kernels that workers build; `known`: ceilings of an earlier part of the run."""
        self._kernels = kernels
        self._known = [Ceiling.from_json(content) for content in known]
        self._measured: list[Ceiling] = []
        self._notes: dict[str, None] = {}

    def measure(self, ask: Ask, place: Place, passes: int) -> None:
        """Measure a ceiling in so many passes; a note says why, if it could not be measured."""
        reply = ask(protocol.ceiling(*place, str(self._kernels), passes=passes))
        if not reply["ok"]:
            device, dtype, _ = place
            self._notes[f"the limits of {device} in {dtype} were not measured: {reply['reason']}"] = None
            return
        if reply["no_kernels"]:
            self._notes[
                f"the limits of the processor are those of its fastest product and copy: {reply['no_kernels']}"
            ] = None
        self._add(reply["ceiling"])

    def measure_again(self, ask: Ask, place: Place) -> None:
        """Measure a known ceiling again, since the processor may run faster by now than it did at first."""
        if place not in [ceiling.place for ceiling in self._measured]:
            return
        reply = ask(protocol.ceiling(*place, str(self._kernels), again=True))
        if reply["ok"]:
            self._add(reply["ceiling"])

    def to_json(self) -> list[dict[str, Any]]:
        """The ceilings in the form that `run.json` has."""
        return [ceiling.to_json() for ceiling in best_of([*self._known, *self._measured])]

    @property
    def measured(self) -> list[dict[str, Any]]:
        """Those that this part of the run has measured."""
        return [ceiling.to_json() for ceiling in self._measured]

    def notes(self) -> list[str]:
        """Notes for the reader about limits that are missing or weak."""
        return list(self._notes)

    def _add(self, content: Mapping[str, Any]) -> None:
        self._measured = best_of([*self._measured, Ceiling.from_json(content)])
