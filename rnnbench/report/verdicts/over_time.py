"""The checks of a suite over time: what each of them said about each case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rnnbench.report.verdicts import stored
from rnnbench.report.verdicts.stored import COLUMNS, StoredCheck
from rnnbench.store.folder import read_info
from rnnbench.store.run_info import RunInfo


@dataclass(frozen=True)
class DatedCheck:
    """A check, and the runs of its two sides."""

    name: str  # of its folder
    base: RunInfo
    head: RunInfo
    verdicts: StoredCheck


def read_checks(folders: Sequence[Path]) -> list[DatedCheck]:
    """The checks that ended with verdicts, the oldest first; raises UserError if one can't be read."""
    checks = []
    for folder in folders:
        if verdicts := stored.read(folder):
            base, head = (read_info(folder / side) for side in ("base", "head"))
            checks.append(DatedCheck(folder.resolve().name, base, head, verdicts))
    return sorted(checks, key=lambda check: (check.head.started, check.name))


def frame(checks: Sequence[DatedCheck]) -> pd.DataFrame:
    """A row for each case of each check: the columns of a check's findings, and `check`, its place in the sequence.

    `change`, `change_low` and `change_high` are those of the ratio that describes the time.
    """
    parts = [check.verdicts.findings.assign(check=index) for index, check in enumerate(checks)]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "check"])
    is_by_mean = found["described_by"] == "mean_ratio"
    changes = {
        f"change{end}": found[f"mean_ratio{end}"].where(is_by_mean, found[f"ratio{end}"]).astype(float)
        for end in ("", "_low", "_high")
    }
    return found.assign(**changes)
