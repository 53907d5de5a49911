"""The report of pytest-benchmark's files: `index.html`, a figure and tables, laid out as for a run."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.pytest_benchmark import summarize
from rnnbench.report.colors import INKS
from rnnbench.report.drawing.draw import limits, log_ticks, rows, rows_high
from rnnbench.report.drawing.marks import OF_TORCH
from rnnbench.report.drawing.sheet import PAGE, picture, sheet
from rnnbench.report.page.page import Page, files
from rnnbench.report.page.section import Section
from rnnbench.report.table import Column, Table, of, table
from rnnbench.report.tables import table_benchmarks
from rnnbench.report.words import benchmark_names
from rnnbench.report.words.names import identity, one_line
from rnnbench.report.words.units import duration, duration_tick, ratio
from rnnbench.store.pytest_benchmark import BenchmarkFiles

FIGURE = "times"
MAX_ROWS = 40  # of the figure


def render(saved: BenchmarkFiles, reference: str | None) -> dict[str, bytes]:
    """Every file of the report by its path within the folder."""
    summary = summarize(saved, reference)
    figure = draw(summary, saved)
    title = "Time per call of each benchmark"
    first = None if figure is None else picture(FIGURE, title, benchmark_names.note(saved), figure)
    benchmarks, where = table_benchmarks.render(summary, saved), environment(saved)
    page = Page(
        name=one_line(saved.name),
        heading=benchmark_names.heading(saved),
        answer=benchmark_names.answer(summary),
        facts=(one_line(saved.describes), f"{saved.sessions[0].started:%Y-%m-%d %H:%M} UTC"),
        first=first,
        sections=(
            Section("benchmarks", "How long does each take?", [benchmarks]),
            Section("measured", "Where was it measured?", [where]),
        ),
    )
    return files(page)


def environment(saved: BenchmarkFiles) -> Table:
    """A table of the commit and the machine that the files record."""
    facts: dict[str, Any] = {
        "files": saved.describes,
        "commit": saved.commit or "not known",
        **{
            key: "not known" if value is None else value
            for key, value in {**_processor(saved), **saved.machine}.items()
        },
    }
    frame = pd.DataFrame({"what": list(facts), "value": [str(value) for value in facts.values()]})
    columns = [Column("what", of("what")), Column("value", of("value", one_line))]
    return table("environment", "Where it was measured", "", columns, frame, machine=frame)


def _processor(saved: BenchmarkFiles) -> dict[str, str | None]:
    """The processor's name and its identity in one line."""
    if saved.processor is None:
        return {"cpu": None}
    return {"cpu": saved.processor.name, "processor": identity(saved.processor)}


def draw(summary: pd.DataFrame, saved: BenchmarkFiles) -> Figure | None:
    """Draw the time of each benchmark by group, with the ratio beside it; None if there are too many for a figure."""
    if len(summary) > MAX_ROWS:
        return None
    ordered, names, headings = benchmark_names.by_group(summary), list[str](), list[int]()
    places, texts = [], []
    for group, own in ordered.groupby("group", sort=False):
        if ordered["group"].nunique() > 1:
            headings.append(len(names))
            names.append(str(group) or "in no group")
            texts.append("")
        for row in own.to_dict("records"):
            places.append(len(names))
            names.append(str(row["name"]))
            about = "reference" if row["is_reference"] else "" if math.isnan(row["ratio"]) else ratio(row["ratio"])
            texts.append("   ".join(filter(None, [duration(row["seconds"]), about])))
    with sheet(None, PAGE, rows_high(len(names), PAGE)) as drawn:
        axes = drawn.axes
        points = pd.DataFrame(
            {
                "y": places,
                "value": ordered["seconds"],
                "low": ordered["seconds_low"],
                "high": ordered["seconds_high"],
                "shade": [INKS["ink" if is_one else "soft"] for is_one in ordered["is_reference"]],
                "marker": [OF_TORCH if is_one else "o" for is_one in ordered["is_reference"]],
            }
        )
        spread = ordered["rounds_low_seconds"], ordered["rounds_high_seconds"]
        axes.hlines(places, *spread, color=drawn.ink.line, linewidth=5, zorder=2)
        rows(drawn, axes, names, points, headings=headings, texts=texts, thick=1.4)
        ends = limits(np.concatenate([*spread, *(points[each] for each in ("value", "low", "high"))]))
        log_ticks(drawn, axes.xaxis, *ends, duration_tick)
        axes.set_xlabel("time per call (log scale)")
        handles: list[Artist] = []
        if spread[1].notna().any():
            of_whom = "its rounds (one process)" if len(saved.sessions) == 1 else "a process's rounds"
            handles.append(Line2D([], [], color=drawn.ink.line, linewidth=5, label=f"quartiles of {of_whom}"))
        if ordered["seconds_low"].notna().any():
            units = "replicates" if saved.is_exported else "processes"
            label = f"95% interval over {len(saved.sessions):,} {units}"
            handles.append(Line2D([], [], color=drawn.ink.soft, linewidth=1.4, label=label))
        drawn.legend(handles)
    return drawn.figure
