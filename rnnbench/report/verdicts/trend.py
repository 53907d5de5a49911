"""The checks of a suite before this one, from the folders beside it."""

from dataclasses import dataclass
from pathlib import Path

from rnnbench.analysis.comparison import RANKS
from rnnbench.errors import UserError
from rnnbench.report.verdicts import stored
from rnnbench.report.verdicts.stored import FILE
from rnnbench.report.words.changes import change

MAX_EARLIER = 8


@dataclass(frozen=True)
class EarlierCheck:
    """One line of the trend."""

    when: str  # 2026-11-27 14:05
    head: str
    base: str
    verdicts: str  # `2 regressed, 22 unchanged`
    largest: str  # the change of the case that comes first, the worst


def earlier_checks(folder: Path, suite: str) -> list[EarlierCheck]:
    """The last checks of the same suite beside a check's folder, the newest first.

    What can't be read, since somebody else wrote it or it was cut off, has a line that says so.
    """
    beside = [other for other in folder.parent.iterdir() if other.name.startswith(f"{suite}-check-")]
    others = [other for other in beside if other.name < folder.name]
    return [_read(other) for other in sorted(others, reverse=True)[:MAX_EARLIER] if (other / FILE).exists()]


def _read(folder: Path) -> EarlierCheck:
    stamp = folder.name.rsplit("-", 2)[1]
    when = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}"
    try:
        check = stored.read(folder)
    except UserError:
        check = None
    if check is None:
        return EarlierCheck(when, "", "", f"its {FILE} can't be read", "")
    counts = check.findings["verdict"].astype(object).fillna("not compared").value_counts()
    words = (verdict or "not compared" for verdict in RANKS)
    verdicts = ", ".join(f"{counts[word]} {word}" for word in words if word in counts)
    largest = [change(float(row[row["described_by"]])) for _, row in check.findings.head(1).iterrows()]
    return EarlierCheck(when, check.head, check.base, verdicts, "".join(largest))
