"""Why a cell takes longer than its reference: sentences, tables, figures, and all of them for each cell of a run."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.analysis.estimate import ENDS, estimate_columns
from rnnbench.analysis.run_times import RunTimes
from rnnbench.profiling.breakdown import at_the_speed_of
from rnnbench.profiling.gap import KINDS, OPERATOR, Gap, Step, call_seconds, gaps
from rnnbench.report.call_parts import (
    BREAKDOWN,
    MINUS,
    breakdown_table,
    breakdowns,
    operators_table,
    share_text,
    where_time_goes,
)
from rnnbench.report.drawing import marks
from rnnbench.report.drawing.draw import bars
from rnnbench.report.drawing.marks import of_cell
from rnnbench.report.drawing.pictures import Picture, picture
from rnnbench.report.drawing.sheet import PAGE, PANEL, Ax, Inches, rows_high, sheet
from rnnbench.report.table import Section, Table
from rnnbench.report.words.names import SETTINGS, SIZES, one_line, say_all, series_name, several
from rnnbench.report.words.units import (
    duration,
    duration_interval,
    duration_tick,
    ratio_with_interval,
)
from rnnbench.store.implementations import rung
from rnnbench.store.profiles import Profile
from rnnbench.store.records import WORKLOAD_AXES
from rnnbench.text import first_few, plural

MAX_STEPS_NAMED = 4
MIN_ROUGH = 0.1  # of the gap; smaller steps that may be nothing are not told
MAX_CASES_NAMED = 3  # that one line names
WATERFALL = (
    "Each bar is the time that one change saves, with its 95% interval. A hatched bar may be zero. Grey is the "
    "part that no change explains."
)


def words(gap: Gap, name: str, reference_name: str, base: Profile | None = None) -> str:
    """Say how large the gap is, what explains it, what is left, and where the call's time goes.

    `base` is the profile of the cell called `name`.
    """
    times = ratio_with_interval(gap.ratio.value, gap.ratio.lower, gap.ratio.upper)
    durations = f"{duration(gap.start.value)} against {duration(gap.end.value)}"
    sentences = [f"{one_line(name)} takes {times} the time of {one_line(reference_name)}: {durations}."]
    if math.isnan(gap.seconds.lower) or (gap.seconds.lower <= 0 and gap.ratio.lower > 1):
        # One replicate has no interval, and the ratio varies less from process to process than the seconds.
        sentences.append("The difference is too uncertain to explain its parts: use a larger budget.")
    elif not gap.seconds.lower > 0:
        sentences.append("This difference may be chance, so there is no gap to explain.")
    else:
        sentences += _explained(gap)
    if base is not None and base.works:
        sentences.append(where_time_goes(base))
        sentences += [f"{note[0].upper()}{one_line(note[1:])}." for note in base.notes]
    return " ".join(sentences)


def label(step: Step) -> str:
    """Return the name of a step in figures."""
    if step.kind == "rest" and step.seconds.upper < 0:
        return "ahead of the reference"
    if step.kind == OPERATOR:
        return one_line(step.what)
    return f"matmuls in {one_line(step.library)}" if step.library else KINDS[step.kind].label


def _explained(gap: Gap) -> Iterable[str]:
    *steps, rest = gap.by_size
    # Causes first: they say what to change. Then what the rungs recover, and what remains between the two ends.
    gains = sorted((step for step in steps if step.seconds.lower > 0), key=lambda step: not KINDS[step.kind].cure)
    texts = []
    cures = dict[str, None]()
    for step in gains[:MAX_STEPS_NAMED]:
        kind = KINDS[step.kind]
        low = step.seconds.lower
        high = step.seconds.upper
        text = f"{kind.costs} {duration(step.seconds.value)} ({duration_interval(low, high)})"
        text += f", {share_text(gap.share(step))} of it" + (f": {one_line(step.what)}" if step.what else "")
        texts.append(text + (f", {plural(step.calls, 'time')} a call" if step.calls > 1 else ""))
        if kind.cure:
            cures[f"{kind.cure} {one_line(step.library)}".rstrip()] = None
    explanation = "; ".join(texts) or "no known cause explains any part"
    yield f"Of the {duration(gap.seconds.value)} between them, {explanation}."
    for step in (step for step in steps if step.seconds.upper < 0):
        what = KINDS[step.kind].reference or f"As `{step.kind}`, it takes"
        yield f"{what} {duration(-step.seconds.value)} longer."
    if gains and rest.is_certain:
        size = f"{duration(abs(rest.seconds.value))} ({share_text(abs(gap.share(rest)))})"
        if rest.seconds.value > 0:
            yield f"{size} is left unexplained."
        else:
            yield f"The rest of the call runs {size} faster than the reference."
    elif gains:
        yield "What is left may be chance."
    rough = [step for step in steps if not step.is_certain and abs(gap.share(step)) >= MIN_ROUGH]
    if rough:
        yield f"Too uncertain to say: {', '.join(f'{label(step)} ({share_text(gap.share(step))})' for step in rough)}."
    if gap.note:
        yield f"{gap.note[0].upper()}{gap.note[1:]}."
    if cures:
        yield f"To close it: {'; '.join(cures)}."


def not_profiled(profiles: Mapping[str, Profile], names: Mapping[str, str]) -> list[str]:
    """Return a line for each reason why cases were not profiled, with the first of them by their names."""
    failed = {case: one_line(profile.reason) for case, profile in profiles.items() if not profile.works}
    by_reason = {reason: [names[case] for case in failed if failed[case] == reason] for reason in failed.values()}
    return [f"not profiled: {first_few(cases, MAX_CASES_NAMED)}: {reason}" for reason, cases in by_reason.items()]


def cause_frame(all_gaps: Mapping[str, Gap]) -> pd.DataFrame:
    """Return a row for each step of each gap, the largest first, and one for what nothing explains.

    `module` names the gap, `label` the step in figures.
    """
    rows = []
    for name, gap in all_gaps.items():
        for step in gap.by_size:
            row = {
                "module": name,
                "label": label(step),
                "kind": step.kind,
                "what": step.what,
                **estimate_columns("seconds", step.seconds),
                "share": gap.share(step),
                "calls": step.calls,
                "is_certain": step.is_certain,
            }
            rows.append(row)
    ends = [f"seconds{end}" for end in ENDS]
    return pd.DataFrame(rows, columns=["module", "label", "kind", "what", *ends, "share", "calls", "is_certain"])


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
    with sheet(ax, wide, rows_high(len(names), wide), height=height) as canvas:
        ink = canvas.ink
        rows = [(0.0, level, ink(of_cell(cell) if cell else marks.INKS["soft"]), "", duration(level))]
        for y, step in enumerate(steps, start=1):
            seconds = step.seconds.value
            share = gap.share(step)
            color = ink("line") if step.kind == "rest" else ink(marks.FASTER if seconds >= 0 else marks.SLOWER)
            text = f"{MINUS if seconds >= 0 else '+'}{duration(abs(seconds))}"
            if math.isfinite(share) and not canvas.is_narrow:
                text += f"   {share_text(share)} of the gap"
            rows.append((level - seconds, seconds, color, "" if step.is_certain else "////", text))
            if step.seconds.has_interval:
                low = level - step.seconds.upper
                high = level - step.seconds.lower
                canvas.axes.hlines(y, low, high, color=ink(), linewidth=1, zorder=4)
            level -= seconds
        rows.append((0.0, gap.end.value, ink(), "", duration(gap.end.value)))
        parts = pd.DataFrame(rows, columns=["left", "width", "color", "hatch", "text"]).rename_axis("y").reset_index()
        bars(canvas, canvas.axes, names, parts.drop(columns="text"), duration_tick, list(parts["text"]))
        canvas.axes.set_xlabel("time per call")
    return canvas.figure


def sections(times: RunTimes, profiles: Mapping[str, Profile]) -> list[Section]:
    """Return a section for each profiled cell and workload of a run, with its words first."""
    cases = times.cases
    axes = several(cases, (*SIZES, *SETTINGS))
    rows = {str(row["case"]): row for row in cases.to_dict("records")}
    rescaled = at_the_speed_of(call_seconds(times), profiles)
    result = []
    for number, ((case, reference), gap) in enumerate(gaps(times, profiles).items(), start=1):
        first = rows[case]
        keys = [key for key, row in rows.items() if all(row[axis] == first[axis] for axis in ("cell", *WORKLOAD_AXES))]
        order = sorted(dict.fromkeys([*keys, reference]), key=lambda key: rung(str(rows[key]["implementation"])))
        names = {key: series_name(rows[key]["cell"], rows[key]["implementation"]) for key in order}
        cell = str(first["cell"])
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in cell)[-40:].strip("-")
        # The workload tells the figures of one page apart.
        setting = ", ".join(filter(None, [first["phase"], say_all(axes, [first[axis] for axis in axes])]))
        profiles_of_case = {key: rescaled[key] for key in order if key in rescaled}
        parts = [*_parts(gap, (case, reference), cell, setting, profiles_of_case, names)]
        prefix = f"{number:02d}-{plain}-"
        result.append(Section(plain, one_line(f"{cell} in {setting}"), [_prefixed(part, prefix) for part in parts]))
    return result


def _prefixed(part: str | Table | Picture, prefix: str) -> str | Table | Picture:
    """Return a part of a section with a prefix before its name, if it has one."""
    if isinstance(part, Picture):
        return part.prefixed(prefix)
    if isinstance(part, Table):
        return replace(part, name=f"{prefix}{part.name}")
    return part


def _parts(
    gap: Gap,
    ends: tuple[str, str],
    cell: str,
    setting: str,
    profiles: Mapping[str, Profile],
    names: Mapping[str, str],
) -> Iterable[str | Picture | Table]:
    """Yield words, figures, folded tables and the place of traces; `ends`: the cases at both ends of the gap."""
    first = names[ends[0]]
    reference = names[ends[1]]
    base = profiles.get(ends[0])
    yield words(gap, first, reference, base)
    reasons = (f"{line[0].upper()}{line[1:]}." for line in not_profiled(profiles, names))
    caption = " ".join([WATERFALL, *reasons])
    figure = waterfall(gap, first, reference, cell, width=PANEL)
    yield picture("waterfall", f"From {first} to {reference}, {setting}", caption, figure)
    by_name = {names[case]: profile for case, profile in profiles.items()}
    if parts := breakdowns(by_name, width=PANEL):
        title = f"Where a call's time goes: {first}, {setting}"
        yield picture("breakdown", title, BREAKDOWN, parts)
    tables = [breakdown_table(profiles, names) if parts else None, operators_table(base, first) if base else None]
    for each in filter(None, tables):
        yield replace(each, title=f"{one_line(cell)}: {each.title}: {setting}", is_folded=True)
    traces = {names[case]: profile.files["trace"] for case, profile in profiles.items() if "trace" in profile.files}
    if traces:
        where = "; ".join(f"{one_line(name)}: {one_line(file)}" for name, file in traces.items())
        yield f"Traces, with every frame and operator: open them at ui.perfetto.dev. {where}."
