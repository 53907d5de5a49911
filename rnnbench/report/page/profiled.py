"""The profiles of a run: words, figures, tables and flame graphs for each cell and workload."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnbench.analysis.gaps.gap import Gap, at_the_speed_of, gaps
from rnnbench.analysis.runs.run_times import RunTimes
from rnnbench.report.figures import figure_breakdown, figure_memory, figure_waterfall, flame
from rnnbench.report.figures.all_figures import Picture, picture
from rnnbench.report.figures.drawing.marks import rung
from rnnbench.report.tables import table_breakdown, table_operators
from rnnbench.report.tables.table import Table
from rnnbench.report.words import why
from rnnbench.report.words.axes import SETTINGS, SIZES, one_line, say_all, several
from rnnbench.report.words.series import series_name
from rnnbench.store.profiles import Profile
from rnnbench.store.records import WORKLOAD_AXES
from rnnbench.store.regular_files import within

WATERFALL = (
    "Each bar is the time that one change saves, with its 95% interval. A hatched bar may be zero. Grey is the "
    "part that no change explains."
)
BREAKDOWN = (
    "Kernels by what they do, each timed at its place in the call. Grey is everything outside kernels: Python, "
    "the dispatcher, autograd, the allocator. Whiskers are 95% intervals of the call."
)
SummaryRow = dict[Any, Any]
MEMORY = (
    "Blocks of torch's allocator that a call holds. Blocks from before the call do not count. Both calls have the same "
    "scale of bytes and each its own of time."
)


@dataclass(frozen=True)
class ProfiledCell:
    """Why one cell takes as long as it does at one workload."""

    name: str  # of its files
    cell: str
    title: str
    far: str  # the first sentence of its words
    words: str
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    flames: Mapping[str, str] = field(default_factory=dict)  # name of its file -> SVG
    traces: Mapping[str, str] = field(default_factory=dict)  # implementation -> file in the run's folder


def sections(times: RunTimes, profiles: Mapping[str, Profile], folder: Path | None = None) -> list[ProfiledCell]:
    """Every profiled cell and workload of a run; `folder`, the run's, has the stacks for flame graphs."""
    cases = times.cases
    axes = several(cases, (*SIZES, *SETTINGS))
    rows: dict[str, SummaryRow] = {str(row["case"]): row for row in cases.to_dict("records")}
    shown = at_the_speed_of(times, profiles)
    described = []
    for number, gap in enumerate(gaps(times, profiles), start=1):
        own = {case: row for case, row in rows.items() if row["cell"] == gap.axes["cell"] and _is_of(row, gap)}
        own |= {gap.reference: rows[gap.reference]}
        names = {case: series_name(row["cell"], row["implementation"]) for case, row in own.items()}
        order = sorted(own, key=lambda case: rung(str(own[case]["implementation"])))
        own_profiles = {case: shown[case] for case in order if case in shown}
        workload = say_all(axes, [gap.axes[axis] for axis in axes])
        name = f"{number:02d}-{_plain(gap.axes['cell'])}"
        described.append(_section(name, gap, workload, own_profiles, names, folder))
    return described


def _section(
    name: str, gap: Gap, workload: str, profiles: Mapping[str, Profile], names: Mapping[str, str], folder: Path | None
) -> ProfiledCell:
    first, reference, base = names[gap.case], names[gap.reference], profiles.get(gap.case)
    setting = ", ".join(filter(None, [gap.axes["phase"], workload]))  # tells the figures of one page apart
    by_name = {names[case]: profile for case, profile in profiles.items()}
    pictures = [
        picture(
            f"{name}-waterfall",
            f"From {first} to {reference}, {setting}",
            " ".join([WATERFALL, *_unseen(profiles)]),
            figure_waterfall.render(gap, first, reference),
        )
    ]
    parts = figure_breakdown.render(by_name)
    if parts is not None:
        pictures.append(picture(f"{name}-breakdown", f"Where a call's time goes: {first}, {setting}", BREAKDOWN, parts))
    tables: list[Table | None] = []
    if profiles:
        tables += [table_breakdown.render(profiles, names), table_breakdown.counts(profiles, names)]
    if base is not None and base.works:
        tables.append(table_operators.render(base, first))
        both = {names[case]: profiles[case] for case in (gap.case, gap.reference) if case in profiles}
        line = figure_memory.render(both, str(gap.axes["cell"]))
        if line is not None:
            title = f"Memory of one call of {first} and {reference}, {setting}"
            pictures.append(picture(f"{name}-memory", title, MEMORY, line))
    return ProfiledCell(
        name,
        str(gap.axes["cell"]),
        one_line(f"{gap.axes['cell']} in {setting}"),
        why.far(gap, first, reference),
        why.words(gap, first, reference, base),
        tuple(pictures),
        tuple(
            replace(table, name=f"{name}-{table.name}", title=f"{table.title}: {setting}")
            for table in tables
            if table is not None
        ),
        _flames(profiles, names, folder),
        {names[case]: profile.files["trace"] for case, profile in profiles.items() if "trace" in profile.files},
    )


def _unseen(profiles: Mapping[str, Profile]) -> list[str]:
    """Sentences on what a waterfall lacks if the kernels of a GPU were not seen."""
    reasons = {profile.no_kernels for profile in profiles.values()} - {""}
    return [f"Kernels and what lies between them are not told apart: {one_line(reason)}." for reason in sorted(reasons)]


def _flames(profiles: Mapping[str, Profile], names: Mapping[str, str], folder: Path | None) -> dict[str, str]:
    flames = {}
    for case, profile in profiles.items():
        file = None if folder is None or "stacks" not in profile.files else within(folder, profile.files["stacks"])
        svg = None if file is None else flame.render(flame.read(file), names[case])
        if svg is not None:
            flames[f"flame-{_plain(names[case])}"] = svg
    return flames


def _is_of(row: SummaryRow, gap: Gap) -> bool:
    return all(row[axis] == gap.axes[axis] for axis in WORKLOAD_AXES)


def _plain(text: object) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in str(text))[-40:].strip("-")
