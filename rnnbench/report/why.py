"""Why a cell takes longer than its reference: sentences, tables, figures, and all of them for each cell of a run."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rnnbench.analysis.estimate import ENDS, estimate, estimate_columns
from rnnbench.analysis.run_times import RunTimes
from rnnbench.profiling.gap import (
    KINDS,
    OPERATOR,
    OVERHEADS,
    SHARE_NAMES,
    Gap,
    Step,
    What,
    at_the_speed_of,
    breakdown_frame,
    call_seconds,
    gaps,
    in_one_piece,
)
from rnnbench.report.drawing import marks
from rnnbench.report.drawing.draw import (
    MIN_LETTERS,
    PAGE,
    PHONE,
    Ax,
    Inches,
    Picture,
    bars,
    picture,
    rows_high,
    sheet,
)
from rnnbench.report.drawing.marks import of_cell
from rnnbench.report.table import Column, Section, Table, of, table, where_new
from rnnbench.report.words.names import SETTINGS, SIZES, one_line, say_all, series_name, several
from rnnbench.report.words.units import (
    count,
    duration,
    duration_interval,
    duration_tick,
    memory,
    ratio_with_interval,
    round_digits,
    whole_percent,
)
from rnnbench.store.implementations import rung
from rnnbench.store.profiles import CATEGORIES, Profile
from rnnbench.store.records import WORKLOAD_AXES
from rnnbench.text import first_few, plural

MINUS = "\u2212"
MAX_NAMED = 4
MIN_ROUGH = 0.1  # of the gap; smaller steps that may be nothing are not told
MAX_CASES = 3  # that one line names


# Words
KERNEL_TIME = (
    "The kernel time of an operator is its time at its place in the call, minus its time with a single value in "
    "each tensor. Dispatch and Python are the rest of the call's time, which is measured without a profiler."
)
OF_DEVICE = (
    "The GPU itself times its kernels, under torch's profiler. Launches and gaps are the rest of the time of a "
    "call that is not profiled."
)
OF_KERNELS = (
    "All calls of an operator on tensors of the same shapes in one call; times hold the look at the clock around each, "
    "a microsecond or two a call, which kernels do not."
)
OF_HOST = f"{OF_KERNELS} They are the host's, which queues kernels and does not wait for them."
MAX_OPERATORS = 15  # of a table; its CSV file has all
# Columns of the frame of `operators_table`.
OPERATOR_COLUMNS = ("operator", "shapes", "category", "part", "calls", "new_bytes", "kernel_seconds", "seconds")
WATERFALL = (
    "Each bar is the time that one change saves, with its 95% interval. A hatched bar may be zero. Grey is the "
    "part that no change explains."
)
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


def words(gap: Gap, name: str, reference_name: str, base: Profile | None = None) -> str:
    """Say how large the gap is, what explains it, what is left, and where the call's time goes.

    `base` is the profile of the cell called `name`.
    """
    times = ratio_with_interval(gap.ratio.value, gap.ratio.lower, gap.ratio.upper)
    durations = f"{duration(gap.start.value)} against {duration(gap.end.value)}"
    sentences = [f"{one_line(name)} takes {times} the time of {one_line(reference_name)}: {durations}."]
    if math.isnan(gap.seconds.lower) or (gap.seconds.lower <= 0 and gap.ratio.lower > 1):
        # One replicate has no interval, and the ratio varies less from process to process than the seconds.
        sentences.append("The difference is known too roughly to take it apart: give it a larger budget.")
    elif not gap.seconds.lower > 0:
        sentences.append("That is no slower beyond chance, so there is no gap to take apart.")
    else:
        sentences += _explained(gap)
    if base is not None and base.works:
        sentences.append(_goes(base))
        sentences += [f"{note[0].upper()}{one_line(note[1:])}." for note in base.notes]
    return " ".join(sentences)


def label(step: Step) -> str:
    """Return the name of a step in figures."""
    if step.kind == "rest" and step.seconds.upper < 0:
        return "ahead of the reference"
    if step.kind == OPERATOR:
        return one_line(step.what)
    return f"products in {one_line(step.library)}" if step.library else KINDS[step.kind].label


def _explained(gap: Gap) -> Iterable[str]:
    *steps, rest = gap.by_size
    # Causes first: they say what to change. Then what the rungs recover, and what remains between the two ends.
    gains = sorted((step for step in steps if step.seconds.lower > 0), key=lambda step: not KINDS[step.kind].cure)
    texts = []
    cures = dict[str, None]()
    for step in gains[:MAX_NAMED]:
        kind = KINDS[step.kind]
        low = step.seconds.lower
        high = step.seconds.upper
        text = f"{kind.costs} {duration(step.seconds.value)} ({duration_interval(low, high)})"
        text += f", {share_text(gap.share(step))} of it" + (f": {one_line(step.what)}" if step.what else "")
        texts.append(text + (f", {plural(step.calls, 'time')} a call" if step.calls > 1 else ""))
        if kind.cure:
            cures[f"{kind.cure} {one_line(step.library)}".rstrip()] = None
    known = "; ".join(texts) or "nothing that was looked for explains any"
    yield f"Of the {duration(gap.seconds.value)} between them, {known}."
    for step in (step for step in steps if step.seconds.upper < 0):
        what = KINDS[step.kind].reference or f"As `{step.kind}`, it takes"
        yield f"{what} {duration(-step.seconds.value)} longer."
    if gains and rest.is_certain:
        size = f"{duration(abs(rest.seconds.value))} ({share_text(abs(gap.share(rest)))})"
        yield (
            f"{size} is left unexplained."
            if rest.seconds.value > 0
            else f"What is left of it runs {size} faster than the reference."
        )
    elif gains:
        yield "Nothing beyond chance is left unexplained."
    rough = [step for step in steps if not step.is_certain and abs(gap.share(step)) >= MIN_ROUGH]
    if rough:
        yield f"Known too roughly: {', '.join(f'{label(step)} ({share_text(gap.share(step))})' for step in rough)}."
    if gap.note:
        yield f"{gap.note[0].upper()}{gap.note[1:]}."
    if cures:
        yield f"To close it: {'; '.join(cures)}."


def _goes(base: Profile) -> str:
    if reason := in_one_piece(base):
        return f"Its call can't be taken apart: {reason}."
    shares = breakdown_frame({"": base})
    counted = ""
    operators = sum(operator.calls for operator in base.operators) / base.steps
    by_what = shares.groupby(shares["what"].map(SHARE_NAMES), sort=False)["share"].sum().sort_values(ascending=False)
    above = SHARE_NAMES["gaps" if base.kernels is not None else "overhead"]
    if operators >= 1 and by_what[above]:
        outside = shares.loc[shares["what"].isin(OVERHEADS), "seconds"].sum()
        number = round_digits(operators)
        each = duration(outside / (operators * base.steps))
        counted = f" ({number} operator{'' if number == '1' else 's'}{' a step' * (base.steps > 1)}, {each} each)"
    kernels = by_what[by_what >= 0.01].drop(above, errors="ignore").head(2)
    told = "".join(f", {share_text(share)} {what}" for what, share in kernels.items())
    return f"{share_text(by_what[above])} of its call is {above}{counted}{told}."


def share_text(share: float) -> str:
    """Return `35%`, with a minus that is as wide as a plus."""
    return whole_percent(share).replace("-", MINUS)


def not_profiled(profiles: Mapping[str, Profile], names: Mapping[str, str]) -> list[str]:
    """Return a line for each reason why cases were not profiled, with the first of them by their names."""
    failed = {case: one_line(profile.reason) for case, profile in profiles.items() if not profile.works}
    by_reason = {reason: [names[case] for case in failed if failed[case] == reason] for reason in failed.values()}
    return [f"not profiled: {first_few(cases, MAX_CASES)}: {reason}" for reason, cases in by_reason.items()]


# Tables


def cause_frame(all_gaps: Mapping[str, Gap]) -> pd.DataFrame:
    """Return a row for each step of each gap, the largest first, and one for what nothing explains.

    `module` names the gap, `label` the step in figures.
    """
    rows = [
        {
            "module": name,
            "label": label(step),
            "kind": step.kind,
            "what": step.what,
            **estimate_columns("seconds", step.seconds),
            "share": gap.share(step),
            "calls": step.calls,
            "is_certain": step.is_certain,
        }
        for name, gap in all_gaps.items()
        for step in gap.by_size
    ]
    ends = [f"seconds{end}" for end in ENDS]
    return pd.DataFrame(rows, columns=["module", "label", "kind", "what", *ends, "share", "calls", "is_certain"])


def breakdown_table(profiles: Mapping[str, Profile], names: Mapping[str, str]) -> Table:
    """Return one row for each part of a call. `profiles` are by case; rows show `names[case]`."""
    shares = breakdown_frame(profiles)
    shares["name"] = [one_line(names[case]) for case in shares["case"]]
    columns = [
        Column("case", of("name")),
        Column("part", of("part")),
        Column("what", lambda row: SHARE_NAMES[row["what"]]),
        Column("share", of("share", whole_percent), numeric=True),
        Column("time", of("seconds", duration), numeric=True),
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
        Column("operator", of("operator", one_line)),
        Column("tensors", of("shapes", one_line)),
        Column("part", of("part")),
        Column("what", lambda row: CATEGORIES[row["category"]]),
        Column("calls", of("calls", count), numeric=True),
        Column("time", of("seconds", duration), numeric=True),
        Column(
            "of that in kernels",
            of("kernel_seconds", duration),
            numeric=True,
        ),
        Column("new bytes", lambda row: memory(row["new_bytes"] or math.nan), numeric=True),
    ]
    note = OF_HOST if is_queued else OF_KERNELS
    if len(rows) > MAX_OPERATORS:
        note += f" {len(rows) - MAX_OPERATORS} more are in the CSV file."
    title = f"The hottest operators of {one_line(name)}"
    return table("operators", title, note, columns, rows.head(MAX_OPERATORS), machine=rows)


# Figures


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
    with sheet(ax, wide, rows_high(len(calls), wide), height=height) as drawn:
        axes = drawn.axes
        ink = drawn.ink
        parts["color"], parts["text"] = [ink(SHADES[what]) for what in parts["what"]], parts["share"].map(whole_percent)
        bars(drawn, axes, list(calls), parts, duration_tick, [duration(call.value) for call in calls.values()])
        several_parts = parts.groupby("y")["part"].transform("nunique") > 1
        for first in parts[several_parts].drop_duplicates(["y", "part"]).to_dict("records"):
            axes.text(
                first["left"], first["y"] - 0.3, first["part"], va="bottom", fontsize=MIN_LETTERS, color=ink("soft")
            )
        for y, call in enumerate(calls.values()):
            if call.has_interval:
                axes.hlines(y, call.lower, call.upper, color=ink(), linewidth=1, zorder=4)
        axes.set_xlabel("time per call")
        seen = set(parts["what"])
        drawn.legend(
            [Patch(color=ink(shade), label=SHARE_NAMES[what]) for what, shade in SHADES.items() if what in seen]
        )
    return drawn.figure


def waterfall(
    gap: Gap, name: str, reference: str, cell: str = "", *, ax: Ax = None, width: Inches = None, height: Inches = None
) -> Figure:
    """Draw the way from a cell's time down to its reference's: a bar for each step that explains part of the gap.

    `cell`: of a run, which gives the first bar its colour.
    """
    wide = width or PAGE
    steps = gap.steps
    level = gap.start.value
    names = [name, *map(label, steps), reference]
    with sheet(ax, wide, rows_high(len(names), wide), height=height) as drawn:
        ink = drawn.ink
        rows = [(0.0, level, ink(of_cell(cell) if cell else marks.INKS["soft"]), "", duration(level))]
        for y, step in enumerate(steps, start=1):
            seconds = step.seconds.value
            share = gap.share(step)
            color = ink("line") if step.kind == "rest" else ink(marks.FASTER if seconds >= 0 else marks.SLOWER)
            text = f"{MINUS if seconds >= 0 else '+'}{duration(abs(seconds))}"
            if math.isfinite(share) and not drawn.is_narrow:
                text += f"   {share_text(share)} of the gap"
            rows.append((level - seconds, seconds, color, "" if step.is_certain else "////", text))
            if step.seconds.has_interval:
                low = level - step.seconds.upper
                high = level - step.seconds.lower
                drawn.axes.hlines(y, low, high, color=ink(), linewidth=1, zorder=4)
            level -= seconds
        rows.append((0.0, gap.end.value, ink(), "", duration(gap.end.value)))
        parts = pd.DataFrame(rows, columns=["left", "width", "color", "hatch", "text"]).rename_axis("y").reset_index()
        bars(drawn, drawn.axes, names, parts.drop(columns="text"), duration_tick, list(parts["text"]))
        drawn.axes.set_xlabel("time per call")
    return drawn.figure


# Sections


def sections(times: RunTimes, profiles: Mapping[str, Profile]) -> list[Section]:
    """Return a section for each profiled cell and workload of a run, with its words first."""
    cases = times.cases
    axes = several(cases, (*SIZES, *SETTINGS))
    rows = {str(row["case"]): row for row in cases.to_dict("records")}
    shown = at_the_speed_of(call_seconds(times), profiles)
    described = []
    for number, ((case, reference), gap) in enumerate(gaps(times, profiles).items(), start=1):
        first = rows[case]
        own = [key for key, row in rows.items() if all(row[axis] == first[axis] for axis in ("cell", *WORKLOAD_AXES))]
        order = sorted(dict.fromkeys([*own, reference]), key=lambda key: rung(str(rows[key]["implementation"])))
        names = {key: series_name(rows[key]["cell"], rows[key]["implementation"]) for key in order}
        cell = str(first["cell"])
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in cell)[-40:].strip("-")
        # The workload tells the figures of one page apart.
        setting = ", ".join(filter(None, [first["phase"], say_all(axes, [first[axis] for axis in axes])]))
        own_profiles = {key: shown[key] for key in order if key in shown}
        parts = [*_parts(gap, (case, reference), cell, setting, own_profiles, names)]
        named = [
            part if isinstance(part, str) else replace(part, name=f"{number:02d}-{plain}-{part.name}") for part in parts
        ]
        described.append(Section(plain, one_line(f"{cell} in {setting}"), named))
    return described


def _parts(
    gap: Gap,
    ends: tuple[str, str],
    cell: str,
    setting: str,
    profiles: Mapping[str, Profile],
    names: Mapping[str, str],
) -> Iterable[str | Picture | Table]:
    """Yield words, figures, folded tables and the place of traces; `ends`: the cases at both ends of the gap."""
    (first, reference), base = (names[case] for case in ends), profiles.get(ends[0])
    yield words(gap, first, reference, base)
    told = (f"{line[0].upper()}{line[1:]}." for line in not_profiled(profiles, names))
    caption = " ".join([WATERFALL, *told])
    drawn = waterfall(gap, first, reference, cell, width=PAGE)
    narrow = waterfall(gap, first, reference, cell, width=PHONE)
    yield picture("waterfall", f"From {first} to {reference}, {setting}", caption, drawn, narrow)
    by_name = {names[case]: profile for case, profile in profiles.items()}
    if parts := breakdowns(by_name):
        title = f"Where a call's time goes: {first}, {setting}"
        yield picture("breakdown", title, BREAKDOWN, parts, breakdowns(by_name, width=PHONE))
    tables = [breakdown_table(profiles, names) if parts else None, operators_table(base, first) if base else None]
    for each in filter(None, tables):
        yield replace(each, title=f"{one_line(cell)}: {each.title}: {setting}", is_folded=True)
    traces = {names[case]: profile.files["trace"] for case, profile in profiles.items() if "trace" in profile.files}
    if traces:
        where = "; ".join(f"{one_line(name)}: {one_line(file)}" for name, file in traces.items())
        yield f"Traces, with every frame and operator: open them at ui.perfetto.dev. {where}."
