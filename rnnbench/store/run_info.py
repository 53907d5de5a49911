"""What `run.json` holds."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self

SCHEMA_VERSION = 2
READ_VERSIONS = (1, 2)  # runs of version 1 have no id
RunStatus = Literal["running", "finished", "interrupted"]


def now() -> str:
    """The current time in the format of `started`: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunInfo:
    """What `run.json` holds."""

    suite: str
    description: str
    resolved: dict[str, Any]  # the suite as it was understood, defaults filled in
    command: str
    started: str  # ISO 8601, UTC
    environment: dict[str, Any]
    status: RunStatus = "running"
    seconds: float | None = None  # wall time of the whole run
    seconds_needed: float | None = None  # a budget that is enough for what it lacks
    replicates: int = 0  # finished
    ceilings: list[dict[str, Any]] = field(default_factory=list)  # of `rnnbench.store.ceilings.Ceiling`
    stage_seconds: dict[str, float] = field(default_factory=dict)  # wall time of what comes before the timing
    notes: list[str] = field(default_factory=list)  # what a reader must know: budget spent, workers lost
    schema_version: int = SCHEMA_VERSION
    id: str = field(default_factory=lambda: secrets.token_hex(4))  # in each window of the run; older runs have none

    @classmethod
    def begin(
        cls,
        *,
        suite: str,
        description: str,
        resolved: dict[str, Any],
        command: str,
        environment: dict[str, Any],
        notes: Sequence[str] = (),
    ) -> Self:
        """The description of a run that starts now."""
        return cls(suite, description, resolved, command, now(), environment, notes=list(notes))
