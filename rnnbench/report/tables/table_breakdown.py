"""Table: where a call's time goes, with a row for each case and part of its call."""

from collections.abc import Mapping

import pandas as pd

from rnnbench.analysis.gaps.breakdown import NAMES, frame, in_one_piece, operators_per_step, profiler_cost
from rnnbench.report.tables.table import Column, Table, of, table, where_new
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import count, digits, duration, duration_interval, memory, or_missing, whole_percent
from rnnbench.store.profiles import Profile

NOTE = (
    "The kernel time of an operator is its time at its place in the call, minus its time with a single value in "
    "each tensor. Dispatch and Python are the rest of the call's time, which is measured without a profiler."
)
OF_DEVICE = (
    "The GPU itself times its kernels, under torch's profiler. Launches and gaps are the rest of the time of a "
    "call that is not profiled."
)


def render(profiles: Mapping[str, Profile], names: Mapping[str, str] | None = None) -> Table:
    """One row for each part of a call. `profiles` are by case; rows show `names[case]` if given, else the case."""
    shares = frame(profiles)
    shares["name"] = [one_line((names or {}).get(case, case)) for case in shares["case"]]
    columns = [
        Column("case", of("name")),
        Column("part", of("part")),
        Column("what", lambda row: NAMES[row["what"]]),
        Column("share", of("share", whole_percent), numeric=True),
        Column("time", of("seconds", duration), numeric=True),
        Column("95% interval", lambda row: duration_interval(row["seconds_low"], row["seconds_high"]), numeric=True),
        Column("operators", lambda row: or_missing(row["operators"] or None, count), numeric=True),
        Column("new bytes", lambda row: or_missing(row["new_bytes"] or None, memory), numeric=True),
    ]
    note = f"{NOTE} {OF_DEVICE}" if any(profile.kernels for profile in profiles.values()) else NOTE
    breaks = where_new(shares["case"])
    return table("breakdown", "Where a call's time goes", note, columns, shares, machine=shares, breaks=breaks)


def counts(profiles: Mapping[str, Profile], names: Mapping[str, str] | None = None) -> Table:
    """Table: operators, launches and bytes of a step, and the cost of profiling; for cases that failed, the reason."""
    rows = pd.DataFrame(
        [_counts(case, (names or {}).get(case, case), profile) for case, profile in profiles.items()],
        columns=[
            *("case", "name", "steps", "operators_per_step", "launches_per_step", "allocated_bytes_per_step"),
            *("allocations_per_step", "profiler_cost", "told"),
        ],
    )
    columns = [
        Column("case", of("name", one_line)),
        Column("operators a step", of("operators_per_step", _number), numeric=True),
        Column("launches a step", of("launches_per_step", _number), numeric=True),
        Column("allocations a step", of("allocations_per_step", _number), numeric=True),
        Column(
            "bytes allocated a step",
            of("allocated_bytes_per_step", lambda size: or_missing(size, memory)),
            numeric=True,
        ),
        Column("under the profiler", lambda row: f"{_number(row['profiler_cost'])}×", numeric=True),
        Column("to know", of("told", one_line)),
    ]
    note = (
        "Steps are those of the sequence. The last column but one shows how many times as long a profiled call takes."
    )
    return table("profiled", "Operators and memory of a step", note, columns, rows, machine=rows)


def _counts(case: str, name: str, profile: Profile) -> dict[str, object]:
    row: dict[str, object] = {"case": case, "name": name, "steps": profile.steps}
    notes = [profile.reason if not profile.works else in_one_piece(profile), *profile.notes]
    notes += [f"{cause.what}: {cause.note}" for cause in profile.causes if cause.note]
    if profile.works:
        row |= {
            "operators_per_step": operators_per_step(profile),
            "launches_per_step": None if profile.kernels is None else profile.kernels.launches / profile.steps,
            "allocated_bytes_per_step": _per(profile.allocated_bytes, profile.steps),
            "allocations_per_step": _per(profile.allocations, profile.steps),
            "profiler_cost": profiler_cost(profile),
        }
    return row | {"told": "; ".join(filter(None, notes))}


def _per(number: float | None, steps: int) -> float | None:
    return None if number is None else number / steps


def _number(value: float | None) -> str:
    return or_missing(value, digits)
