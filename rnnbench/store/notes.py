"""The notes of a run. A note has a kind if code asks for it, too; its words are for the reader alone."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

NoteKind = Literal[
    "budget",
    "precision",
    "shared core",
    "resumed by",
    "windows are missing",
    "held back",
    "base of a check",
    "head of a check",
]
SHORTFALLS: tuple[NoteKind, ...] = ("budget", "precision", "shared core")  # what a run lacks until it is resumed
OF_SIDE: dict[str, NoteKind] = {"base": "base of a check", "head": "head of a check"}  # its code, in words


@dataclass(frozen=True)
class Note:
    """What a reader of a run must know; `str` gives the sentence."""

    words: str
    kind: NoteKind | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.words}" if self.kind else self.words


def of_kinds(notes: Iterable[Note], kinds: Collection[NoteKind]) -> list[Note]:
    """Return the notes of some kinds."""
    return [note for note in notes if note.kind in kinds]


def without_kinds(notes: Iterable[Note], kinds: Collection[NoteKind]) -> list[Note]:
    """Return the notes that are of none of these kinds."""
    return [note for note in notes if note.kind not in kinds]
