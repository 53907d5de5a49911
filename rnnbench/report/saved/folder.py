"""The folder of such a report: `index.html`, its figure as SVG and PNG, its tables as CSV and Markdown."""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from rnnbench.analysis.saved import summarize
from rnnbench.report import canvas, csv, files, markdown
from rnnbench.report.axes import one_line
from rnnbench.report.html import inline
from rnnbench.report.saved import figure_times, table_benchmarks, words
from rnnbench.report.table import Column, Table, of, table
from rnnbench.store.pytest_benchmark import Saved

FIGURE = "times"


def write(saved: Saved, reference: str | None, folder: Path) -> Path:
    """Write everything and give the path of `index.html`; raises UserError where `folder` can't be written."""
    summary = summarize(saved, reference)
    figure = figure_times.render(summary, saved)
    tables = [table_benchmarks.render(summary, saved), environment(saved)]
    content: dict[str, bytes] = {}
    svg = None
    if figure is not None:
        svg = canvas.svg(figure, FIGURE)
        content |= {f"figures/{FIGURE}.svg": svg.encode(), f"figures/{FIGURE}.png": canvas.png(figure)}
    for one in tables:
        content |= {
            f"tables/{one.name}.csv": csv.render(one).encode(),
            f"tables/{one.name}.md": markdown.render(one).encode(),
        }
    content["index.html"] = page(saved, summary, tables, svg).encode()
    files.write(folder, content)
    return folder / "index.html"


def page(saved: Saved, summary: pd.DataFrame, tables: list[Table], svg: str | None) -> str:
    """The page, which needs nothing beside it."""
    pages = Environment(
        loader=PackageLoader("rnnbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("saved.html").render(
        title=words.heading(saved),
        answer=words.answer(summary),
        described=one_line(saved.describes),
        started=f"{saved.sessions[0].started:%Y-%m-%d %H:%M} UTC",
        note=words.note(saved),
        figure=inline(svg) if svg else None,
        tables=tables,
    )


def environment(saved: Saved) -> Table:
    """What the files say of where they were made."""
    facts: dict[str, Any] = {
        "files": saved.describes,
        "commit": saved.commit or "not known",
        **{key: "not known" if value is None else value for key, value in saved.machine.items()},
    }
    frame = pd.DataFrame({"what": list(facts), "value": [str(value) for value in facts.values()]})
    columns = [Column("what", of("what")), Column("value", of("value", one_line))]
    return table("environment", "Where it was measured", "", columns, frame, machine=frame)
