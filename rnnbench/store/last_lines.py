"""What is known of each case of a run: the last line of each in `measurements.jsonl`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.store import jsonlines, schema


@dataclass(frozen=True)
class StoredLine:
    """A line of a file that was not kept as an object, since a large run has hundreds of thousands."""

    file: Path
    number: int
    raw: bytes


class LastLines(Mapping[str, dict[str, Any]]):
    """The last line of each case by the case's key, in the order of the cases' first lines; read when it is asked for.

    Every line is JSON, or the constructor raises UserError; the content of those that count is checked when they are
    read, which raises UserError for one that is not valid.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._lines: dict[str, StoredLine] = {}
        for file in files:
            for number, raw in jsonlines.raw_lines(file):
                case = jsonlines.record(file, number, raw).get("case")
                key = case if isinstance(case, str) else f"{file}, line {number}"
                self._lines[key] = StoredLine(file, number, raw)

    def __getitem__(self, case: str) -> dict[str, Any]:
        stored = self._lines[case]
        line: dict[str, Any] = json.loads(stored.raw)
        check_line(stored.file, stored.number, schema.measurement_fault(line))
        return line

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def check_line(file: Path, number: int, fault: str) -> None:
    """Raise UserError with the place of a line if it has a fault."""
    if fault:
        raise UserError(f"{file}, line {number}: {fault}")
