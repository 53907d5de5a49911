"""The report of a run: the answer, its cases, why, how it grows, and how it was measured."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.analysis.summary import Noise
from rnnbench.report import cases, environment, growth, latency, ratios
from rnnbench.report.drawing.sheet import Picture, picture
from rnnbench.report.page.page import Page
from rnnbench.report.table import Section, SectionPart, Table
from rnnbench.report.words.names import SETTINGS, SIZES, flushed, one_line, say_all, several, when, with_series
from rnnbench.report.words.units import duration, half_width, ratio, ratio_interval
from rnnbench.store.run_info import RunInfo

FIGURES: tuple[tuple[str, Callable[..., Figure | None], str, str], ...] = (
    (
        "ratio",
        ratios.ratio,
        "How far each cell is from {reference}",
        "Each mark is one workload, with its 95% interval; an interval that reaches the edge continues beyond it. The "
        "colour is the size that explains most of the differences within the rows. The dashed line is {reference}: "
        "marks to its right are slower. A bar is the median, which stands first on the right. The grey band is the "
        "noise floor, how far a case differs from itself.",
    ),
    (
        "ratio_by_size",
        ratios.ratio_by_size,
        "Ratio to {reference} by cell and size",
        "Each number is the time divided by that of {reference}: 2.0 takes twice as long, below 1 is faster. A number "
        "in brackets is undecided: its 95% interval includes 1, or is too wide. Hatched: not measured. Cells without "
        "any measurement are left out here.",
    ),
    (
        "latency",
        latency.latency,
        "How long a step of a stream takes",
        "Half of the steps of a case take at most p50, the mark. The line goes to the highest quantile that is known: "
        "99.9% of the steps take at most p99.9.",
    ),
    (
        "scaling",
        partial(growth.scaling, least=3),
        "How the ratio to {reference} grows with batch, length and hidden size",
        "Only what was measured is drawn, with 95% intervals; without a reference it is the time per call. The other "
        "sizes are held at those below each panel. Filled marks are a cell's plainest implementation, hollow marks its "
        "fastest; of many cells only the fastest are drawn.",
    ),
)


def render_figures(summary: pd.DataFrame, noise_floor: float = math.nan) -> dict[str, Picture]:
    """Draw all figures that have something to show, by name.

    `noise_floor`: that of `rnnbench.analysis.summary`, if known.
    """
    pictures, name_of = {}, cases.reference_name(summary)
    for name, draw, title, caption in FIGURES:
        figure = draw(summary, noise_floor=noise_floor) if name == "ratio" else draw(summary)
        if figure is not None:
            pictures[name] = picture(name, title.format(reference=name_of), caption.format(reference=name_of), figure)
    return pictures


def run_page(
    summary: pd.DataFrame,
    noise: Noise,
    info: RunInfo,
    asked: growth.Asked | None = None,
    profiled: Sequence[Section] = (),
    again: str = "",
) -> Page:
    """Return the page of one run. `asked`: sizes to predict; `again`: the command that makes this page.

    Raises UserError as `rnnbench.predict` does.
    """
    summary = summary.reset_index(drop=True)  # figures name a case by its row
    drawn = render_figures(summary, noise.floor)
    told = [part for cell in profiled for part in (f"{cell.title}: {cell.parts[0]}", *cell.parts[1:])]
    streams = latency.table_of_latency(summary)
    every = [cases.table_of_cases(summary)] if len(summary) else []
    predicted = [growth.table_of_predictions(summary, asked)] if asked else []

    def shown(name: str, tables: Sequence[Table]) -> list[SectionPart]:
        return [*([drawn[name]] if name in drawn else []), *tables]

    sections = [
        Section("why", "Why", told),
        Section("latency", "Latency of a step", shown("latency", [streams] if streams else [])),
        Section("cases", "Cases", shown("ratio_by_size", every)),
        Section("growth", "Growth", shown("scaling", predicted)),
        *environment.sections(summary, noise, info, [info.command, *([again] if again else [])]),
    ]
    first, *more = cases.sentences(summary, info)
    status = "still running" if info.status == "running" else "interrupted"
    name, about = one_line(info.suite), one_line(info.description)
    return Page(
        name=name,
        heading=f"{name}: {about}" if about else name,
        answer=first,
        more=" ".join(more),
        facts=[
            *(cases.counts(summary), f"{when(info)} UTC"),
            *([f"noise floor {half_width(noise.floor)}"] if noise.floor == noise.floor else []),
            *filter(None, [flushed(summary)]),
        ],
        warning="" if info.status == "finished" else f"this run was {status} when this was written",
        first=drawn.get("ratio"),
        fastest=cases.table_of_fastest(summary),
        sections=[section for section in sections if section.parts],
        title=title_of(summary),
    )


def title_of(summary: pd.DataFrame) -> Callable[[int], str]:
    """Return a function that says, for a row of the summary, its case, ratio and time in one line."""
    axes = ["phase", *several(summary, (*SIZES, *SETTINGS))]
    cases = with_series(summary)

    def title(row: int) -> str:
        case: dict[Any, Any] = cases.loc[row].to_dict()
        low, high = case["ratio_low"], case["ratio_high"]
        known = [f"{ratio(case['ratio'])} ({ratio_interval(low, high)})"] if low < high else []
        return "; ".join([f"{case['series']}, {say_all(axes, map(case.get, axes))}", *known, duration(case["seconds"])])

    return title
