"""The sections of a report's page, one for each question, in order.

To add one, write a function that returns a `Section` for a `Content`, or None if the run has nothing to show, and list
it in `SECTIONS`. Take its figures and tables from `all_figures.FIGURES` and `all_tables.render`, which also make the
files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.drawing.sheet import Picture
from rnnbench.report.page.section import (
    Commands,
    Links,
    Section,
    SectionPart,
    Warnings,
)
from rnnbench.report.tables.table import Table
from rnnbench.report.why import ProfiledCell
from rnnbench.report.words import headline, precision
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.noise import noise_sentence
from rnnbench.report.words.reference import words
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural

FITTED = ("predicted", "scaling", "crossings")
REPLICATES = "replicates"  # a figure
MAX_SHOWN = 6  # workloads whose waterfall stands on the first page


@dataclass(frozen=True)
class Content:
    """All that a page can show of a run."""

    summary: pd.DataFrame
    noise: Noise
    info: RunInfo
    pictures: Mapping[str, Picture]
    tables: Mapping[str, Table]
    profiled: Sequence[ProfiledCell] = ()
    cell_pages: Mapping[str, str] = field(default_factory=dict)  # cell -> its page


def of(content: Content) -> list[Section]:
    """Every section for which the run has content."""
    return [section for make in SECTIONS if (section := make(content)) is not None]


def far(content: Content) -> Section:
    """How far from the reference: each case as a number, then tables from the medians down to each case."""
    reference = words(content.summary)
    significance = headline.significance(content.summary)
    parts = [
        *([significance] if significance else []),
        *_figures(content, "ratio_by_size"),
        *_tables(content, "medians", "fastest", "epochs", "ratios"),
    ]
    return Section("far", reference.heading, parts)


def latency(content: Content) -> Section | None:
    """How long the steps of streams take, if any were timed."""
    parts = [*_figures(content, "latency"), *_tables(content, "latency")]
    return Section("latency", "How long does a step of a stream take?", parts) if parts else None


def grows(content: Content) -> Section:
    """How the ratio, or the time, grows with each size."""
    nothing = "No batch, length or hidden size was measured at two values with all others equal."
    parts = _figures(content, "scaling") or [nothing]
    return Section("grows", "How does it grow?", [*parts, *_tables(content, *FITTED)])


def costs(content: Content) -> Section:
    """What a call costs beside its time."""
    parts = [
        *_tables(content, "relative_costs", "costs"),
        *_tables(content, "parameters"),
    ]
    return Section("costs", "What does it cost beside time?", parts)


def limit(content: Content) -> Section:
    """How near the cases are to the machine's limit."""
    nothing = (
        "No case has both a count of its arithmetic and the limits of the machine, so its distance to the "
        "limit is not known."
    )
    nearness = headline.limit(content.summary)
    parts = [nearness] if nearness else []
    return Section("limit", "How near is the limit of the machine?", parts or [nothing])


def why(content: Content) -> Section | None:
    """What the gap is made of, if cases were profiled; each cell's page has the rest."""
    if not content.profiled:
        return None
    pages = tuple((one_line(cell), path) for cell, path in content.cell_pages.items())
    parts: list[SectionPart] = [Links("A page for each cell has the rest", pages)]
    for workload in content.profiled[:MAX_SHOWN]:
        parts += [f"{workload.title}: {workload.words}", *workload.pictures[:1]]
    return Section("why", "Why, and what would close the gap?", parts)


def missing(content: Content) -> Section:
    """Which cases have no time, and why."""
    rows = content.tables["not_measured"].rows
    parts = _tables(content, "not_measured") if rows else ["Nothing: every case was measured."]
    return Section("missing", "What was skipped or failed, and why?", parts)


def measured(content: Content) -> Section:
    """How it was measured, how precise that is, and how to do it again."""
    summary, info = content.summary, content.info
    run = f"results/{summary['run'].iloc[0]}" if len(summary) else "RUN"
    paragraphs = (
        f"Each measured case ran in {_range(summary, 'replicate')}, {_range(summary, 'window')} in all. A "
        "replicate is a fresh process, in which all cases of a workload take turns with their reference on "
        "the same cores. Time per call is the median of all calls of a replicate; value and 95% interval "
        "by Hodges-Lehmann over replicates (fresh processes). Ratios are taken within each replicate, so that what "
        "slows both sides cancels.",
        f"{precision.reached(summary, info)} {noise_sentence(content.noise)}".strip(),
        "Each interval is for its own case: of 100 such intervals about 5 miss the true value, and none is widened "
        f"because there are many. {words(summary).compared}; if they could not be, the parity column says why.",
    )
    parts = [
        "To repeat the measurement, and to make this page again:",
        Commands((one_line(info.command), one_line(f"rnnbench report {run}"))),
        *paragraphs,
        *([Warnings("Notes on this run:", tuple(map(one_line, info.notes)))] if info.notes else []),
        *_figures(content, REPLICATES),
        *_tables(content, "environment"),
    ]
    return Section("measured", "How was it measured?", parts)


SECTIONS: tuple[Callable[[Content], Section | None], ...] = (latency, far, grows, costs, limit, why, missing, measured)


def _figures(content: Content, *names: str) -> list[SectionPart]:
    return [content.pictures[name] for name in names if name in content.pictures]


def _tables(content: Content, *names: str) -> list[SectionPart]:
    return [content.tables[name] for name in names if name in content.tables]


def _range(summary: pd.DataFrame, noun: str) -> str:
    """The numbers of replicates or windows of the measured cases: `1 window`, `6 windows`, `4 to 6 windows`."""
    values = summary.loc[summary["status"] == "measured", f"{noun}s"]
    low, high = (0, 0) if values.empty else (int(values.min()), int(values.max()))
    return plural(low, noun) if low == high else f"{low:,} to {plural(high, noun)}"
