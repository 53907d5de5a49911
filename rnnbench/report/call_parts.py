"""Where the time of a call goes: a sentence, tables and a figure."""

import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rnnbench.analysis.estimate import estimate
from rnnbench.profiling.breakdown import OVERHEADS, SHARE_NAMES, What, breakdown_frame, in_one_piece
from rnnbench.report.drawing import marks
from rnnbench.report.drawing.draw import bars
from rnnbench.report.drawing.sheet import MIN_LETTERS, PAGE, Ax, Inches, rows_high, sheet
from rnnbench.report.table import Column, Table, table, text_of, where_new
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import (
    count,
    duration,
    duration_interval,
    duration_tick,
    memory,
    round_digits,
    whole_percent,
)
from rnnbench.store.profiles import CATEGORIES, Profile

MINUS = "\u2212"
KERNEL_TIME = (
    "The kernel time of an operator is its time at its place in the call, minus its time with a single value in "
    "each tensor. Dispatch and Python are the rest of the call's time, which is measured without a profiler."
)
OF_DEVICE = (
    "The GPU itself times its kernels, under torch's profiler. Launches and gaps are the rest of the time of a "
    "call that is not profiled."
)
OF_KERNELS = (
    "All calls of an operator on tensors of the same shapes in one call. Times include reading the clock around each, "
    "1 to 2 µs; kernel times do not."
)
OF_HOST = f"{OF_KERNELS} They are the host's, which queues kernels and does not wait for them."
MAX_OPERATORS = 15  # of a table; its CSV file has all
# Columns of the frame of `operators_table`.
OPERATOR_COLUMNS = ("operator", "shapes", "category", "part", "calls", "new_bytes", "kernel_seconds", "seconds")
BREAKDOWN = (
    "Kernels by what they do, each timed at its place in the call. Grey is everything outside kernels: Python, "
    "the dispatcher, autograd, the allocator. Whiskers are 95% intervals of the call."
)
SHADES: dict[What, marks.Shade] = {
    "products": marks.WORK_SHADES["products"],
    "pointwise": marks.WORK_SHADES["pointwise"],
    "copies": marks.WORK_SHADES["copies"],
    "layer": marks.WORK_SHADES["layer"],
    "other": marks.WORK_SHADES["other"],
    "views": marks.WORK_SHADES["other"],
    "overhead": marks.WORK_SHADES["overhead"],
    "gaps": marks.WORK_SHADES["overhead"],
    "whole": marks.WORK_SHADES["whole"],
}


def where_time_goes(base: Profile) -> str:
    """Say in a sentence which share of a call is outside kernels, and what its largest kernels do."""
    if reason := in_one_piece(base):
        return f"The time of its call can't be split: {reason}."
    shares = breakdown_frame({"": base})
    number_of_operators = ""
    operators = sum(operator.calls for operator in base.operators) / base.steps
    by_what = shares.groupby(shares["what"].map(SHARE_NAMES), sort=False)["share"].sum().sort_values(ascending=False)
    above = SHARE_NAMES["gaps" if base.kernels is not None else "overhead"]
    if operators >= 1 and by_what[above]:
        outside = shares.loc[shares["what"].isin(OVERHEADS), "seconds"].sum()
        number = round_digits(operators)
        each = duration(outside / (operators * base.steps))
        noun = "operator" if number == "1" else "operators"
        number_of_operators = f" ({number} {noun}{' a step' * (base.steps > 1)}, {each} each)"
    kernels = by_what[by_what >= 0.01].drop(above, errors="ignore").head(2)
    parts = "".join(f", {share_text(share)} {what}" for what, share in kernels.items())
    return f"{share_text(by_what[above])} of its call is {above}{number_of_operators}{parts}."


def share_text(share: float) -> str:
    """Return `35%`, with a minus that is as wide as a plus."""
    return whole_percent(share).replace("-", MINUS)


def breakdown_table(profiles: Mapping[str, Profile], names: Mapping[str, str]) -> Table:
    """Return one row for each part of a call. `profiles` are by case; rows show `names[case]`."""
    shares = breakdown_frame(profiles)
    shares["name"] = [one_line(names[case]) for case in shares["case"]]
    columns = [
        Column("case", text_of("name")),
        Column("part", text_of("part")),
        Column("what", lambda row: SHARE_NAMES[row["what"]]),
        Column("share", text_of("share", whole_percent), numeric=True),
        Column("time", text_of("seconds", duration), numeric=True),
        Column("95% interval", lambda row: duration_interval(row["seconds_low"], row["seconds_high"]), numeric=True),
        Column("operators", lambda row: count(row["operators"] or math.nan), numeric=True),
        Column("new bytes", lambda row: memory(row["new_bytes"] or math.nan), numeric=True),
    ]
    note = f"{KERNEL_TIME} {OF_DEVICE}" if any(profile.kernels for profile in profiles.values()) else KERNEL_TIME
    breaks = where_new(shares["case"])
    return table("breakdown", "Where a call's time goes", note, columns, shares, machine=shares, breaks=breaks)


def operators_table(profile: Profile, name: str) -> Table | None:
    """Return the hottest operators of a profile, by their time within the call, or None if no operator can be seen."""
    if not profile.operators:
        return None
    rows = pd.DataFrame(map(asdict, profile.operators)).rename(columns={"name": "operator"})
    rows["seconds"] = rows["seconds"].map(np.median)
    above = (rows["seconds"] - rows.pop("idle_seconds").map(np.median)).clip(lower=0.0)
    is_queued = profile.kernels is not None or profile.opaque != ""  # so the host's clock can't time a kernel
    rows["kernel_seconds"] = math.nan if is_queued else above
    rows = rows[[*OPERATOR_COLUMNS]].sort_values("seconds", ascending=False, kind="stable", ignore_index=True)
    columns = [
        Column("operator", text_of("operator", one_line)),
        Column("tensors", text_of("shapes", one_line)),
        Column("part", text_of("part")),
        Column("what", lambda row: CATEGORIES[row["category"]]),
        Column("calls", text_of("calls", count), numeric=True),
        Column("time", text_of("seconds", duration), numeric=True),
        Column(
            "of that in kernels",
            text_of("kernel_seconds", duration),
            numeric=True,
        ),
        Column("new bytes", lambda row: memory(row["new_bytes"] or math.nan), numeric=True),
    ]
    note = OF_HOST if is_queued else OF_KERNELS
    if len(rows) > MAX_OPERATORS:
        note += f" {len(rows) - MAX_OPERATORS} more are in the CSV file."
    title = f"The hottest operators of {one_line(name)}"
    return table("operators", title, note, columns, rows.head(MAX_OPERATORS), machine=rows)


def breakdowns(
    profiles: Mapping[str, Profile], *, ax: Ax = None, width: Inches = None, height: Inches = None
) -> Figure | None:
    """Draw where the time of a call goes: a bar for each profile, by its name; None if no profile worked."""
    calls = {one_line(name): estimate(list(each.times["call"])) for name, each in profiles.items() if each.works}
    shares = breakdown_frame({one_line(name): profile for name, profile in profiles.items()})
    wide = width or PAGE
    if shares.empty:
        return None
    ends = shares.groupby("case", sort=False)["seconds"].cumsum()
    bar = pd.factorize(shares["case"])[0]
    parts = shares.assign(y=bar, left=ends - shares["seconds"], width=shares["seconds"])
    with sheet(ax, wide, rows_high(len(calls), wide), height=height) as canvas:
        axes = canvas.axes
        ink = canvas.ink
        parts["color"] = [ink(SHADES[what]) for what in parts["what"]]
        parts["text"] = parts["share"].map(whole_percent)
        bars(canvas, axes, list(calls), parts, duration_tick, [duration(call.value) for call in calls.values()])
        several_parts = parts.groupby("y")["part"].transform("nunique") > 1
        for first in parts[several_parts].drop_duplicates(["y", "part"]).to_dict("records"):
            axes.text(
                first["left"], first["y"] - 0.3, first["part"], va="bottom", fontsize=MIN_LETTERS, color=ink("soft")
            )
        for y, call in enumerate(calls.values()):
            if call.has_interval:
                axes.hlines(y, call.lower, call.upper, color=ink(), linewidth=1, zorder=4)
        axes.set_xlabel("time per call")
        kinds = set(parts["what"])
        canvas.legend(
            [Patch(color=ink(shade), label=SHARE_NAMES[what]) for what, shade in SHADES.items() if what in kinds]
        )
    return canvas.figure
