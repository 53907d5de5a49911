"""The result of one fault."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One fault: its stage, the windows before it, and what went wrong."""

    fault: str
    stage: str
    windows: int = 0  # complete before the fault
    lost: int = 0  # of these windows
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""  # the reason, if the fault could not be tried
