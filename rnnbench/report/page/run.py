"""The report of a run: the answer, its cases, why, how it grows, and how it was measured."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from rnnbench.analysis.summary import Noise
from rnnbench.report import answer, cases, environment, figures, growth, latency
from rnnbench.report.page.page import Page
from rnnbench.report.page.section import Section, SectionPart
from rnnbench.report.why import ProfiledCell
from rnnbench.report.words.names import SETTINGS, SIZES, flushed, one_line, say_all, several, when, with_series
from rnnbench.report.words.units import duration, half_width, ratio, ratio_interval
from rnnbench.store.run_info import RunInfo


def run_page(
    summary: pd.DataFrame,
    noise: Noise,
    info: RunInfo,
    asked: growth.Asked | None = None,
    profiled: Sequence[ProfiledCell] = (),
    again: str = "",
) -> Page:
    """Return the page of one run. `asked`: sizes to predict; `again`: the command that makes this page."""
    summary = summary.reset_index(drop=True)  # figures name a case by its row
    drawn = figures.render(summary, flushed(summary), noise.floor)
    sections = [
        why(profiled),
        latency.section(summary, drawn),
        cases.section(summary, info, drawn) if len(summary) else None,
        growth.section(summary, asked, drawn),
        *environment.sections(summary, noise, info, [info.command, *([again] if again else [])]),
    ]
    first, *more = answer.sentences(summary, info)
    floor = f"noise floor {half_width(noise.floor)}" if noise.floor == noise.floor else ""
    status = "still running" if info.status == "running" else "interrupted"
    name, about = one_line(info.suite), one_line(info.description)
    return Page(
        name=name,
        heading=f"{name}: {about}" if about else name,
        answer=first,
        more=" ".join(more),
        facts=list(filter(None, [answer.counts(summary), f"{when(info)} UTC", floor, flushed(summary)])),
        warning="" if info.status == "finished" else f"this run was {status} when this was written",
        first=drawn.get("ratio"),
        fastest=answer.table_of_fastest(summary),
        sections=[section for section in sections if section is not None],
        titles=titles(summary),
    )


def why(profiled: Sequence[ProfiledCell]) -> Section | None:
    """Return the section of what was profiled, or None if nothing was."""
    parts: list[SectionPart] = []
    for workload in profiled:
        name = one_line(workload.cell)
        named = [replace(listed, title=f"{name}: {listed.title}", is_folded=True) for listed in workload.tables]
        parts += [f"{workload.title}: {workload.words}", *workload.pictures, *named]
        if workload.traces:
            where = "; ".join(f"{one_line(name)}: {one_line(file)}" for name, file in workload.traces.items())
            told = "Traces, with every frame and operator: open them at ui.perfetto.dev."
            parts.append(f"{told} {where}.")
    return Section("why", "Why", parts) if parts else None


def titles(summary: pd.DataFrame) -> dict[int, str]:
    """Return one line for each row of the summary: the case, its ratio and its time."""
    axes = ["phase", *several(summary, (*SIZES, *SETTINGS))]
    lines = {}
    for row, case in zip(summary.index, with_series(summary).sort_index().to_dict("records"), strict=True):
        interval = ratio_interval(case["ratio_low"], case["ratio_high"])
        known = [f"{ratio(case['ratio'])} ({interval})"] if case["ratio_low"] < case["ratio_high"] else []
        what = f"{case['series']}, {say_all(axes, (case[axis] for axis in axes))}"
        lines[int(row)] = "; ".join([what, *known, duration(case["seconds"])])
    return lines
