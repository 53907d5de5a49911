"""The checks of a suite over time: what each of them said about each case."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rnnbench.analysis.estimate import ENDS
from rnnbench.report.verdicts import stored
from rnnbench.report.verdicts.stored import COLUMNS, StoredCheck
from rnnbench.report.words.case_names import names
from rnnbench.store.folder import read_info
from rnnbench.store.run_info import RunInfo


@dataclass(frozen=True)
class DatedCheck:
    """A check, and the runs of its two sides."""

    name: str  # of its folder
    base: RunInfo
    head: RunInfo
    verdicts: StoredCheck


def read_check(folder: Path) -> DatedCheck | None:
    """Read a check; None if it ended without verdicts. Raises UserError if it can't be read."""
    if (verdicts := stored.read(folder)) is None:
        return None
    base, head = (read_info(folder / side) for side in ("base", "head"))
    return DatedCheck(folder.resolve().name, base, head, verdicts)


def in_order(checks: Iterable[DatedCheck]) -> list[DatedCheck]:
    """Checks in the order in which they began."""
    return sorted(checks, key=lambda check: (check.head.started, check.name))


def frame(checks: Sequence[DatedCheck]) -> pd.DataFrame:
    """A row for each case of each check: the columns of a check's findings, and `check`, its place in the sequence.

    A `name` tells its case apart from those of all checks. `change`, `change_low` and `change_high` are those of the
    ratio that describes the time.
    """
    called = names(case for check in checks for case in check.verdicts.cases)
    parts = [
        check.verdicts.findings.assign(check=index, name=[called.name(case) for case in check.verdicts.cases])
        for index, check in enumerate(checks)
    ]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "check"])
    is_by_mean = found["described_by"] == "mean_ratio"
    changes = {
        f"change{end}": found[f"mean_ratio{end}"].where(is_by_mean, found[f"ratio{end}"]).astype(float) for end in ENDS
    }
    return found.assign(**changes)
