"""Reports of what is stored: a run, a check, runs side by side, and the checks of a suite over time.

Each function writes the report into the folder `out`, or into one below `reports/`.
"""

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.analysis import stored
from rnnbench.analysis.run_times import read_whole
from rnnbench.analysis.summary import Noise, noise, summarize
from rnnbench.errors import UserError
from rnnbench.report import case_tables, environment, growth, latency, ratio_by_size, ratios, why
from rnnbench.report.drawing.pictures import Picture, picture
from rnnbench.report.drawing.sheet import PANEL
from rnnbench.report.facts import headline, reference_name
from rnnbench.report.page.page import Page, files, folder_of, name_of, page_of_several, put
from rnnbench.report.sentences import of_page
from rnnbench.report.side_by_side import side_by_side
from rnnbench.report.table import Section, SectionPart, Table
from rnnbench.report.verdicts import history
from rnnbench.report.verdicts import page as verdicts
from rnnbench.report.words.names import SETTINGS, SIZES, flushed, one_line, say_all, several, when, with_series
from rnnbench.report.words.units import duration, half_width, ratio, ratio_interval
from rnnbench.store.folder import dated, is_check, read_profiles, runs_and_checks
from rnnbench.store.run_info import RunInfo
from rnnbench.suite.suites import check_settings
from rnnbench.text import listed, printable


@dataclass(frozen=True)
class RunFigure:
    """A figure of the page of a run; `{reference}` in its texts stands for what the ratios are to."""

    name: str  # of its files
    draw: Callable[..., Figure | None]  # from the summary
    title: str
    caption: str


FIGURES = (
    RunFigure(
        "ratio",
        ratios.ratio,
        "How far each cell is from {reference}",
        "A mark is the median of the cases of one colour, the size that explains most of the differences within the "
        "rows. Its line reaches over all their 95% intervals. The first number is the median of the row; a bar marks "
        "it if there are more than two cases. Right of the dashed line is slower than {reference}. Hollow: measured on "
        "a shared core. The grey band is the noise floor, how far a case differs from itself.",
    ),
    RunFigure(
        "ratio_by_size",
        ratio_by_size.ratio_by_size,
        "Ratio to {reference} by cell and size",
        "Each number is the time divided by that of {reference}: 2.0 takes twice as long, below 1 is faster. A number "
        "in brackets is unclear or coarse: its 95% interval includes 1, or is wide. Dashed: measured on a shared core. "
        "Hatched: not measured. Cells without any measurement are left out here.",
    ),
    RunFigure(
        "latency",
        latency.latency,
        "How long a step of a stream takes",
        "Half of the steps of a case take at most p50, the mark. The line goes to the highest quantile that is known: "
        "99.9% of the steps take at most p99.9.",
    ),
    RunFigure(
        "scaling",
        partial(growth.scaling, least=3),
        "How the ratio to {reference} grows with batch, length and hidden size",
        "Only what was measured is drawn, with 95% intervals; without a reference it is the time per call. The other "
        "sizes are held at those below each panel. Filled marks are a cell's plainest implementation, hollow marks its "
        "fastest; of many cells only the fastest are drawn. A ring: measured on a shared core.",
    ),
)


@dataclass(frozen=True)
class WrittenReport:
    """A report that is written: where its page is, and what stands above all on it."""

    page: Path
    answer: Sequence[str]  # sentences, the most important first


def of_one(path: Path, out: Path | None = None) -> WrittenReport:
    """Report on a run or a check."""
    place = folder_of(name_of(path), [path], out)
    if is_check(path):
        return _written(place, verdicts.page_of(path))
    info, _, times = read_whole(path)
    profiles = read_profiles(path)
    words = ["rnnbench", "report", str(path)]
    again = printable(shlex.join([*words, *(["--out", str(out)] if out else [])]))
    profiled = why.sections(times, profiles) if profiles else []
    summary = summarize(times)
    noisy = noise(times)
    del times  # a quarter of the memory of a report of ten million windows
    return _written(place, run_page(summary, noisy, info, profiled, again))


def of_together(paths: Sequence[Path], out: Path | None) -> WrittenReport:
    """Report on runs side by side; the first is the baseline."""
    stored_runs = [stored.read_stored_run(path) for path in paths]
    margin = check_settings(paths[0], stored_runs[0].info.resolved).margin
    first, *others = (run.name for run in stored_runs)
    place = folder_of(f"{first}-and-{others[0] if len(others) == 1 else len(others)}", paths, out)
    section = side_by_side(stored.together(stored_runs, margin))
    return _written(place, page_of_several(f"{first} beside {listed(others)}", [section]))


def of_history(paths: Sequence[Path], suite: str | None, out: Path | None) -> WrittenReport:
    """Report on the checks of a suite over time.

    `paths` are checks, or folders of them. What can't be read is left out, and the page says so.
    """
    left_out: list[str] = []
    suite, folders = _of_one_suite(paths, suite, left_out)
    place = folder_of(f"{suite}-history", sorted({folder.resolve().parent for folder in folders}), out)
    checks = []
    for folder in folders:
        try:
            check = history.read_check(folder)
        except UserError as fault:
            left_out.append(str(fault))
            continue
        if check is not None:
            checks.append(check)
    if len(checks) < 2:
        why_none = left_out or [f"there are no two checks with verdicts, of {suite}"]
        raise UserError(f"history: {'; '.join(why_none)}")
    section = history.section_of_checks(checks, left_out, Path(), history.accepted_in(checks, folders))
    return _written(place, page_of_several(f"{suite}: history", [section]))


def _written(place: tuple[Path, str], page: Page) -> WrittenReport:
    """Write a report to its place, which is its folder and what it is of."""
    return WrittenReport(put(*place, files(page)), page.answer)


def _of_one_suite(paths: Sequence[Path], suite: str | None, left_out: list[str]) -> tuple[str, list[Path]]:
    """Return the suite, and the folders of its checks; raises UserError if there are not two of one suite."""
    by_suite: dict[str, list[Path]] = {}
    folders: dict[Path, None] = {}
    for path in paths:
        inside = runs_and_checks(path)
        if inside == [path] and not is_check(path):
            raise UserError(f"{path}: is a run, and a history is of checks; for runs: rnnbench report --together")
        folders |= dict.fromkeys(folder.resolve() for folder in inside if is_check(folder))
    for info, folder in dated(folders, left_out):
        by_suite.setdefault(info.suite, []).append(folder)
    several = [name for name, places in by_suite.items() if len(places) > 1 and suite in (None, name)]
    if len(several) == 1:
        return several[0], by_suite[several[0]]
    listing = "; ".join([*(f"{name} has {len(places):,}" for name, places in by_suite.items()), *left_out])
    remedy = (
        "name one: rnnbench report --history --suite NAME" if several else f"{suite or 'a suite'} needs two or more"
    )
    raise UserError(f"history of {' and '.join(map(str, paths))}: {listing or 'no check is there'}; {remedy}")


# A run


def render_figures(summary: pd.DataFrame, noise_floor: float = math.nan) -> dict[str, Picture]:
    """Draw all figures that have something to show, by name.

    `noise_floor`: that of `rnnbench.analysis.summary`, if known.
    """
    pictures = {}
    reference = reference_name(summary)
    for row in FIGURES:
        how: dict[str, Any] = {"noise_floor": noise_floor} if row.name == "ratio" else {}
        figure = row.draw(summary, width=PANEL, is_apart=True, **how)
        if figure is not None:
            title = row.title.format(reference=reference)
            caption = row.caption.format(reference=reference)
            pictures[row.name] = picture(row.name, title, caption, figure)
    return pictures


def run_page(
    summary: pd.DataFrame,
    noise: Noise,
    info: RunInfo,
    profiled: Sequence[Section] = (),
    again: str = "",
) -> Page:
    """Return the page of one run. `again`: the command that makes this page."""
    summary = summary.reset_index(drop=True)  # figures name a case by its row
    pictures = render_figures(summary, noise.floor)
    why_slower: list[SectionPart] = []
    for cell in profiled:
        why_slower += [f"{cell.title}: {cell.parts[0]}", *cell.parts[1:]]
    streams = latency.table_of_latency(summary)
    every = [case_tables.table_of_cases(summary, is_worst_first=True)] if len(summary) else []

    def with_figure(name: str, tables: Sequence[Table]) -> list[SectionPart]:
        return [*([pictures[name]] if name in pictures else []), *tables]

    sections = [
        Section("why", "Why", why_slower),
        Section("latency", "Latency of a step", with_figure("latency", [streams] if streams else [])),
        Section("cases", "Cases", with_figure("ratio_by_size", every)),
        Section("growth", "Growth", with_figure("scaling", [])),
        *environment.sections(summary, noise, info, [info.command, *([again] if again else [])]),
    ]
    facts = headline(summary)
    extremes = [case for case in (facts.worst, facts.best) if case]
    fastest = case_tables.table_of_fastest(summary)
    status = "still running" if info.status == "running" else "interrupted"
    name = one_line(info.suite)
    about = one_line(info.description)
    return Page(
        name=name,
        heading=f"{name}: {about}" if about else name,
        answer=of_page(summary, facts, info),
        leads={case.name: f"#case={case.row}" for case in extremes},
        facts=[
            *(case_tables.counts(summary), f"{when(info)} UTC"),
            *([f"noise floor {half_width(noise.floor)}"] if noise.floor == noise.floor else []),
            *filter(None, [flushed(summary)]),
        ],
        warning="" if info.status == "finished" else f"this run was {status} when this was written",
        top=with_figure("ratio", [fastest] if fastest else []),
        sections=[section for section in sections if section.parts],
        title=title_of(summary),
    )


def title_of(summary: pd.DataFrame) -> Callable[[int], str]:
    """Return a function that says, for a row of the summary, its case, ratio and time in one line."""
    axes = ["phase", *several(summary, (*SIZES, *SETTINGS))]
    cases = with_series(summary)

    def title(row: int) -> str:
        case: dict[Any, Any] = cases.loc[row].to_dict()
        low = case["ratio_low"]
        high = case["ratio_high"]
        ratios = [f"{ratio(case['ratio'])} ({ratio_interval(low, high)})"] if low < high else []
        return "; ".join(
            [f"{case['series']}, {say_all(axes, map(case.get, axes))}", *ratios, duration(case["seconds"])]
        )

    return title
