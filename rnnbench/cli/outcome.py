"""Whether a run or its profiles have results: a command that measured nothing has failed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rnnbench.errors import UserError
from rnnbench.text import rounded_up

if TYPE_CHECKING:
    import pandas as pd

    from rnnbench.store.profiles import Profile


def refuse_nothing(folder: Path, summary: "pd.DataFrame", share: float = 1.0) -> None:
    """Raise UserError if no case was measured, unless all were skipped: a skipped case is not an error.

    `share`: the share of the command's budget that the run was given.
    """
    from rnnbench.harness.coordinator.runner import NOT_REACHED

    missing = summary[summary["status"].isin(["failed", "pending"])]
    if missing.empty or (summary["status"] == "measured").any():
        return
    failed = missing[missing["status"] == "failed"]
    if failed.empty and (missing["reason"] == NOT_REACHED).all():
        raise UserError(_too_small(folder, share))
    rows, what = (failed, "failed") if len(failed) else (missing, "were not reached")
    raise UserError(
        f"{folder}: no case was measured, and {len(rows)} of {len(summary)} {what}; the first: {rows['reason'].iloc[0]}"
    )


def refuse_no_profile(folder: Path, profiles: "Mapping[str, Profile]", budget: float | None, took: float) -> None:
    """Raise UserError if the budget was spent before the first profile, by measuring, which took so many seconds."""
    from rnnbench.harness.coordinator.profile_run import NOT_REACHED

    if budget is not None and all(profile.reason == NOT_REACHED for profile in profiles.values()):
        raise UserError(
            f"{folder}: no case was profiled within the budget, since measuring alone took {rounded_up(took)}; "
            f"at least --budget {in_words(max(took, budget))} is needed"
        )


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
