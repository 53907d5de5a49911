"""What `run.json` holds: notes for the reader, and what identifies a processor, as far as the system tells it."""

import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Predicate

from rnnbench.errors import UserError
from rnnbench.store.stored_record import Count, Record, Seconds, Size, content_of, parsed, placed

SCHEMA_VERSION = 3
SUITE = "[A-Za-z0-9][A-Za-z0-9._-]*"  # the name of a suite, which also begins those of folders of runs and reports
SUITE_WORDS = "letters, digits, '.', '_' and '-', and none of these three first"
RunStatus = Literal["running", "finished", "interrupted"]
# Beginnings of the flags that change how fast arithmetic can be. Some names mean something else on the other kind:
# `sme` encrypts memory on x86.
X86_FLAGS = ("avx", "fma", "amx", "sse4", "f16c")
ARM_FLAGS = ("neon", "asimd", "fphp", "sve", "sme", "i8mm", "bf16")
UNKNOWN_HYPERVISOR = "unknown hypervisor"  # there is one, and it has no known name
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
    """What a reader of a run must know; `str` gives the sentence. It has a kind if code asks for it, too."""

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


def now() -> str:
    """Return the current time in the format of `started`: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunInfo(Record):
    """What `run.json` holds."""

    suite: Annotated[str, Predicate(re.compile(SUITE).fullmatch)]  # it names folders
    description: str
    resolved: dict[str, Any]  # the suite as it was understood, defaults filled in
    command: str
    started: str = field(default_factory=now)  # ISO 8601, UTC
    environment: dict[str, Any] = field(default_factory=dict)
    status: RunStatus = "running"
    seconds: Seconds | None = None  # wall time of the whole run
    seconds_needed: Seconds | None = None  # a budget that is enough for what it lacks
    replicates: Count = 0  # finished
    ceilings: list[dict[str, Any]] = field(default_factory=list)  # of `rnnbench.store.ceilings.Ceiling`
    stage_seconds: dict[str, Seconds] = field(default_factory=dict)  # wall time of what comes before the timing
    notes: list[Note] = field(default_factory=list)  # what a reader must know: budget spent, workers lost
    schema_version: int = SCHEMA_VERSION
    id: str = field(default_factory=lambda: secrets.token_hex(4))  # in each window of the run
    suite_file: str = ""  # of a side of a check: the suite's path in its repository or folder


def read_info_file(file: Path) -> RunInfo:
    """Read a file like `run.json`; raises UserError if it is no such file."""
    text = content_of(file)
    with placed(str(file)):
        content = parsed(text)
        if (version := content.get("schema_version")) != SCHEMA_VERSION:
            raise UserError(
                f"schema_version is {version!r}; this rnnbench reads {SCHEMA_VERSION}; use the version that wrote it"
            )
        return RunInfo.from_json(content)


@dataclass(frozen=True)
class Cache:
    """One cache as a core sees it."""

    level: Count
    kind: str  # data, instruction or unified
    bytes: Count
    cores: Size  # logical cores that share it

    def __str__(self) -> str:
        return f"L{self.level} {self.kind} {self.bytes >> 10:,} KiB for {self.cores}"


@dataclass(frozen=True)
class Processor(Record):
    """The identity of a processor; None, or nothing in a list, stands for what is not known.

    Numbers are text as the system writes them. ARM has no model or stepping: `model` is its part number, `stepping` its
    variant and revision.
    """

    name: str | None = None
    vendor: str | None = None
    family: str | None = None
    model: str | None = None
    stepping: str | None = None
    instruction_sets: tuple[str, ...] = ()
    caches: tuple[Cache, ...] = ()
    microcode: str | None = None
    hypervisor: str | None = None  # None on bare metal too


def instruction_sets(flags: Iterable[str]) -> tuple[str, ...]:
    """Return those of a processor's flags that change how fast arithmetic can be, sorted."""
    names = set(flags)
    beginnings = ARM_FLAGS if names & {"asimd", "neon"} else X86_FLAGS
    return tuple(sorted(flag for flag in names if flag.startswith(beginnings)))
