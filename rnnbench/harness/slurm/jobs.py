"""Which job has which part: kept in the run's folder, so that a resumed run finds its jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rnnbench.harness.slurm.parts import JobPart
from rnnbench.harness.slurm.queue import Ticket
from rnnbench.store import jsonlines
from rnnbench.store.last_lines import check_line
from rnnbench.store.names import is_part
from rnnbench.store.value_kinds import shown

FILE = "jobs.jsonl"


@dataclass
class PartStatus:
    """How far a part is, and its jobs."""

    part: JobPart
    ticket: Ticket | None = None  # of its last job; None: it needs one
    without: tuple[str, ...] = ()  # nodes that were left out when that job was submitted
    in_doubt: bool = False  # Slurm gave no answer when that job was submitted
    lost: list[str] = field(default_factory=list)  # why its jobs ended before the part was finished
    state: Literal["open", "finished", "given up"] = "open"
    seconds: float | None = None  # that a finished part took
    running_since: float | None = None
    unseen_since: float | None = None  # since when the log of its job has been missing


class Ledger:
    """Records what is about to be submitted, under a name that no other array of jobs has."""

    def __init__(self, path: Path) -> None:
        self._run = path.name
        file = path / FILE
        lines = list(jsonlines.read(file)) if file.exists() else []
        self.tickets: dict[str, Ticket] = {}  # part -> its last ticket
        for number, line in enumerate(lines, 1):
            check_line(file, number, _fault(line))
            self._note(line["name"], line["parts"])
        self._count = len(lines)
        self._file = jsonlines.Appender(file)

    def enter(self, parts: Sequence[str]) -> str:
        """Record jobs for these parts, in this order; returns the name under which they must be submitted."""
        name = f"{self._run}.{self._count}"
        self._count += 1
        self._file.append({"name": name, "parts": list(parts)})
        self._note(name, parts)
        return name

    @property
    def names(self) -> list[str]:
        """All names given so far."""
        return [f"{self._run}.{number}" for number in range(self._count)]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _note(self, name: str, parts: Sequence[str]) -> None:
        self.tickets |= {part: Ticket(name, index) for index, part in enumerate(parts)}


def _fault(line: Mapping[str, Any]) -> str:
    """What is wrong with a line of the ledger; empty if the line is valid."""
    name, parts = line.get("name"), line.get("parts")
    if not isinstance(name, str) or "," in name or not name.isprintable():
        return f"name: expected the name of a job, found {shown(name)}"
    if not isinstance(parts, list) or not all(isinstance(part, str) and is_part(part) for part in parts):
        return f"parts: expected a list of parts, as p00000, found {shown(parts)}"
    return ""
