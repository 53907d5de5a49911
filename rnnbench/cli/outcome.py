"""Whether a run or its profiles have results: a command that could not measure what it was asked for has failed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rnnbench.errors import UserError
from rnnbench.text import plural, rounded_up

if TYPE_CHECKING:
    import pandas as pd

    from rnnbench.store.profiles import Profile

ROOM = 1.5  # times what a single replicate takes at least
ACCEPT = "with --allow-missing this is no error"


def refuse_missing(folder: Path, summary: "pd.DataFrame") -> None:
    """Raise UserError if no case was measured, or if one failed or was given up.

    Beside measured cases, those that were skipped are no error, since they can't be measured. Neither are those that
    were not reached within the budget, which the user has chosen.
    """
    refuse_nothing(folder, summary)
    if len(faulty := _faulty(summary)):
        raise UserError(
            f"{folder}: {len(faulty)} of {plural(len(summary), 'case')} could not be measured; the first: "
            f"{faulty['reason'].iloc[0]}; {ACCEPT}"
        )


def refuse_nothing(folder: Path, summary: "pd.DataFrame", share: float = 1.0) -> None:
    """Raise UserError if no case was measured.

    `share`: the share of the command's budget that the run was given.
    """
    if summary.empty or (summary["status"] == "measured").any():
        return
    faulty, skipped = _faulty(summary), summary[summary["status"] == "skipped"]
    if faulty.empty and len(skipped) < len(summary):
        raise UserError(_too_small(folder, share))
    rows, what = (faulty, "could not be measured") if len(faulty) else (skipped, "were skipped")
    raise UserError(
        f"{folder}: no case was measured: {len(rows):,} of {len(summary):,} {what}; the first: {rows['reason'].iloc[0]}"
    )


def _faulty(summary: "pd.DataFrame") -> "pd.DataFrame":
    """The cases that failed, or that were not reached for another reason than the budget."""
    from rnnbench.store.records import NOT_REACHED

    is_pending = (summary["status"] == "pending") & (summary["reason"] != NOT_REACHED)
    return summary[(summary["status"] == "failed") | is_pending]


def refuse_no_profile(folder: Path, profiles: "Mapping[str, Profile]", budget: float | None, took: float) -> None:
    """Raise UserError if the budget was spent before the first profile, by measuring, which took so many seconds."""
    from rnnbench.store.records import NOT_REACHED

    if budget is not None and all(profile.reason == NOT_REACHED for profile in profiles.values()):
        raise UserError(
            f"{folder}: no case was profiled within the budget, since measuring alone took {rounded_up(took)}; "
            f"at least --budget {in_words(max(took, budget))} is needed"
        )


@contextmanager
def naming_budget(budget: float | None, share: float = 1.0) -> Iterator[None]:
    """Say which --budget to give if a run's is too short for a single replicate; the run gets a `share` of it."""
    from rnnbench.harness.coordinator.budget import TooShort

    try:
        yield
    except TooShort as short:
        given = "the suite's budget" if budget is None else f"--budget {budget:g}s"
        raise UserError(f"{given}: {short}; give --budget {in_words(ROOM * short.seconds / share)} or more") from None


def _too_small(folder: Path, share: float) -> str:
    from rnnbench.harness.coordinator.budget import enough
    from rnnbench.store.folder import last_measurements, read_info

    info, known = read_info(folder), last_measurements(folder)
    observed = sum(measurement.works for measurement in known.values())
    text = f"{folder}: no case was measured within the budget, which ended at case {observed} of {len(known)}"
    needed = enough(info, known)
    if needed is None:
        return f"{text}; give a larger --budget"
    budget = f"--budget {in_words(needed.seconds / share)}"
    estimate = f"at least {budget} is needed" if needed.is_least else f"about {budget} would be enough"
    goes_on = f"; --resume {folder} goes on with what it has" if share == 1 else ""
    return f"{text}; {estimate}{goes_on}"


def in_words(seconds: float) -> str:
    """A duration for `--budget`, rounded up: `50s`, `4m`, `3h`."""
    for most, step, unit, size in ((120, 10, "s", 1), (7200, 60, "m", 60), (float("inf"), 3600, "h", 3600)):
        whole = -int(-seconds // step) * step
        if whole <= most:
            return f"{whole // size}{unit}"
    raise AssertionError(seconds)
