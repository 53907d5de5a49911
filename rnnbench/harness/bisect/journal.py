"""What a bisection has measured, kept line by line, so that an interrupted one can go on."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.store import jsonlines
from rnnbench.store.folder import lock
from rnnbench.store.last_lines import check_line
from rnnbench.store.value_kinds import SECONDS, TEXT, Kinds, first_fault

FILE = "bisect.jsonl"
LINE: Kinds = {"measured": TEXT, "seconds": SECONDS}  # and the result


class Journal:
    """Results by what was measured; those of an earlier part are read at the start."""

    def __init__(self, folder: Path, question: Mapping[str, Any]) -> None:
        """`question`: what is searched for.

        Raises UserError if the folder holds the journal of another question, or if another process writes to it.
        """
        self._file = folder / FILE
        self._results: dict[str, Any] = {}
        self.seconds = 0.0  # that earlier parts took
        self._lock = lock(self._file)  # two searches at once would disturb each other
        try:
            lines = self._read(folder, question)
        except BaseException:
            os.close(self._lock)
            raise
        self._appender = jsonlines.Appender(self._file)
        if not lines:
            self._appender.append({"question": dict(question)})

    def _read(self, folder: Path, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        lines = list(jsonlines.read(self._file))
        if lines and lines[0] != {"question": question}:
            raise UserError(f"{folder}: {_other(lines[0].get('question'), question)}")
        for number, line in enumerate(lines[1:], 2):
            check_line(self._file, number, first_fault(line, LINE, (*LINE, "result")))
            self._results[line["measured"]] = line["result"]
            self.seconds = line["seconds"]
        return lines

    def __contains__(self, measured: str) -> bool:
        return measured in self._results

    def __getitem__(self, measured: str) -> Any:
        return self._results[measured]

    def add(self, measured: str, result: Any, seconds: float) -> None:
        """Keep a result; `seconds`: that the whole bisection has taken."""
        self._results[measured] = result
        self._appender.append({"measured": measured, "seconds": round(seconds, 1), "result": result})

    def close(self) -> None:
        """Close the file."""
        self._appender.close()
        os.close(self._lock)


def _other(asked: Any, question: Mapping[str, Any]) -> str:
    """How another question differs."""
    if not isinstance(asked, dict):
        return "it holds no bisection; give the folder of an interrupted one"
    differing = [
        f"{name} {value}" if isinstance(value, str) else f"other {name}"
        for name, value in asked.items()
        if question.get(name) != value
    ]
    return f"it holds another bisection ({', '.join(differing)}); give the same revisions and options"
