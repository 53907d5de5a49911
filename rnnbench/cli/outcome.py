"""Whether a run has results: a command that could not measure what it was asked for has failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rnnbench.errors import UserError
from rnnbench.text import as_budget, plural

if TYPE_CHECKING:
    import pandas as pd

ROOM = 1.5  # times what a single replicate takes at least
ACCEPT = "with --allow-missing this is no error"


def refuse_missing(folder: Path, summary: "pd.DataFrame", *, share: float = 1.0, some_may_fail: bool = False) -> None:
    """Raise UserError if no case was measured, or, unless `some_may_fail`, if one failed or was given up.

    Beside measured cases, those that were skipped are no error, since they can't be measured. Neither are those that
    were not reached within the budget, which the user has chosen. `share`: of the command's budget that the run got.
    """
    from rnnbench.store.records import NOT_REACHED

    is_pending = (summary["status"] == "pending") & (summary["reason"] != NOT_REACHED)
    faulty, skipped = summary[(summary["status"] == "failed") | is_pending], summary[summary["status"] == "skipped"]
    if summary.empty or (summary["status"] == "measured").any():
        if len(faulty) and not some_may_fail:
            raise UserError(
                f"{folder}: {len(faulty)} of {plural(len(summary), 'case')} could not be measured; the first: "
                f"{faulty['reason'].iloc[0]}; {ACCEPT}"
            )
        return
    if faulty.empty and len(skipped) < len(summary):
        raise UserError(_too_small(folder, share))
    rows, what = (faulty, "could not be measured") if len(faulty) else (skipped, "were skipped")
    raise UserError(
        f"{folder}: no case was measured: {len(rows):,} of {len(summary):,} {what}; the first: {rows['reason'].iloc[0]}"
    )


@contextmanager
def naming_budget(budget: float | None, share: float = 1.0) -> Iterator[None]:
    """Say which --budget to give if a run's is too short for a single replicate; the run gets a `share` of it."""
    from rnnbench.harness.coordinator.session import TooShort

    try:
        yield
    except TooShort as short:
        given = "the suite's budget" if budget is None else f"--budget {budget:g}s"
        raise UserError(f"{given}: {short}; give --budget {as_budget(ROOM * short.seconds / share)} or more") from None


def _too_small(folder: Path, share: float) -> str:
    from rnnbench.harness.coordinator.session import enough
    from rnnbench.store.folder import last_measurements, read_info

    info, known = read_info(folder), last_measurements(folder)
    observed = sum(measurement.works for measurement in known.values())
    text = f"{folder}: no case was measured within the budget, which ended at case {observed} of {len(known)}"
    needed = enough(info, known)
    if needed is None:
        return f"{text}; give a larger --budget"
    budget = f"--budget {as_budget(needed.seconds / share)}"
    estimate = f"at least {budget} is needed" if needed.is_least else f"about {budget} would be enough"
    goes_on = f"; --resume {folder} goes on with what it has" if share == 1 else ""
    return f"{text}; {estimate}{goes_on}"
