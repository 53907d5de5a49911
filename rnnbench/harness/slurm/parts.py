"""Parts of a run: whole groups, each measured by one job at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.harness.devices import is_shared
from rnnbench.store.folder import RunFolder, last_measurements
from rnnbench.store.folder import parts as stored_parts
from rnnbench.store.records import Case, Group, Measurement

NO_JOB_YET = "no job came to it"


@dataclass(frozen=True)
class JobPart:
    """What one job measures."""

    name: str
    cases: tuple[Case, ...]  # whole groups

    @property
    def cards(self) -> int:
        """Number of cards that a job needs to itself; 0 if its cases run on the processor."""
        return 0 if is_shared(self.cases[0].workload.device) else 1

    @property
    def cores(self) -> int:
        """Number of cores that the widest of its cases runs on."""
        return max(case.workload.cores for case in self.cases)


def split(groups: Sequence[Group], most: int) -> list[Sequence[Group]]:
    """Split groups into even pieces of at most `most` neighbours; raises UserError if jobs would be unlike."""
    kinds = {is_shared(group.workload.device): group.workload.device for group in groups}
    if len(kinds) > 1:
        raise UserError(
            f"Slurm: cases on {kinds[True]} and on {kinds[False]} need different kinds of jobs; "
            f"choose one, for example device={kinds[True]}"
        )
    pieces = math.ceil(len(groups) / most)
    bounds = [len(groups) * piece // pieces for piece in range(pieces + 1)]
    return [groups[start:end] for start, end in pairwise(bounds)]


def write_parts(path: Path, pieces: Sequence[Sequence[Group]]) -> None:
    """Give each part its file, with all of its cases pending; nothing else records which part a case is in."""
    for number, piece in enumerate(pieces):
        folder = RunFolder(path, f"p{number:05d}")
        for group in piece:
            for case in group.cases:
                folder.add_measurement(Measurement(case, "pending", NO_JOB_YET))
        folder.close()


def read_parts(path: Path) -> list[JobPart]:
    """The parts of a run, in the order of its cases."""
    return [
        JobPart(name, tuple(measurement.case for measurement in last_measurements(path, name).values()))
        for name in stored_parts(path)
    ]
