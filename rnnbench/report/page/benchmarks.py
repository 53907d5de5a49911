"""The report of pytest-benchmark's files: `index.html`, a figure and tables, laid out as for a run."""

from typing import Any

import pandas as pd

from rnnbench.analysis.pytest_benchmark import summarize
from rnnbench.report.drawing.sheet import picture
from rnnbench.report.figures import comparisons
from rnnbench.report.page.page import Page, files
from rnnbench.report.page.section import Section
from rnnbench.report.table import Column, Table, of, table
from rnnbench.report.tables import table_benchmarks
from rnnbench.report.words import benchmark_names
from rnnbench.report.words.names import identity, one_line
from rnnbench.store.pytest_benchmark import BenchmarkFiles

FIGURE = "times"


def render(saved: BenchmarkFiles, reference: str | None) -> dict[str, bytes]:
    """Every file of the report by its path within the folder."""
    summary = summarize(saved, reference)
    figure = comparisons.benchmarks(summary, saved)
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
