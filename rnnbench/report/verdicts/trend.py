"""The checks of a suite before this one, from the folders beside it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.analysis.verdict import OLDER_WORDS
from rnnbench.report.verdicts.stored import FILE, WRONG
from rnnbench.report.words.changes import change
from rnnbench.store.regular_files import read_text

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
        content = json.loads(read_text(folder / FILE))
        counts = {OLDER_WORDS.get(word, word): int(count) for word, count in content["counts"].items()}
        verdicts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts.items() if count)
        largest = next((_change(finding) for finding in content["findings"]), "")
        return EarlierCheck(when, str(content["head"]), str(content["base"]), verdicts, largest)
    except (OSError, *WRONG):
        return EarlierCheck(when, "", "", f"its {FILE} can't be read", "")


def _change(finding: Mapping[str, Any]) -> str:
    described_by = finding.get("described_by", finding["decided_by"])  # older checks have only the latter
    ratio = finding["mean_ratio"] if described_by == "mean_ratio" else finding["ratio"]
    return change(float(ratio)) if ratio is not None and math.isfinite(ratio) and ratio > 0 else ""
