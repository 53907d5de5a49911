"""What came of one fault."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One fault: when it came, what there was before, and what is not as it should be."""

    fault: str
    stage: str
    windows: int = 0  # complete ones, before the fault
    lost: int = 0  # of these
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""  # why it could not be tried
