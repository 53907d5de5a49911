"""The notes of a run that say something which code asks for, too: a line of `run.json`, its kind and then its words."""

from collections.abc import Collection, Iterable
from typing import Literal

NoteKind = Literal[
    "budget",
    "precision",
    "shared core",
    "resumed by",
    "windows are missing",
    "base of a check",
    "head of a check",
]
SHORTFALLS: tuple[NoteKind, ...] = ("budget", "precision", "shared core")  # what a run lacks until it is resumed
OF_SIDE: dict[str, NoteKind] = {"base": "base of a check", "head": "head of a check"}  # its code, in words
BEHIND_KIND = ": "


def note(kind: NoteKind, words: str) -> str:
    """Return a note of a kind, as a line of `run.json`."""
    return f"{kind}{BEHIND_KIND}{words}"


def kind_of(line: str) -> str:
    """Return the kind of a note; of one without a kind some other text."""
    return line.partition(BEHIND_KIND)[0]


def words_of(line: str) -> str:
    """Return the words of a note that has a kind."""
    return line.partition(BEHIND_KIND)[2]


def of_kinds(lines: Iterable[str], kinds: Collection[str]) -> list[str]:
    """Return the notes of some kinds."""
    return [line for line in lines if kind_of(line) in kinds]


def without_kinds(lines: Iterable[str], kinds: Collection[str]) -> list[str]:
    """Return the notes that are of none of these kinds."""
    return [line for line in lines if kind_of(line) not in kinds]
