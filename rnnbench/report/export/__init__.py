"""A run in the formats of other tools: a module for each format, and the table of all formats."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from rnnbench.store.run_info import RunInfo


@dataclass(frozen=True)
class Format:
    """The module that writes a format, and what the format can hold."""

    module: str  # below this package
    suffix: str  # of its files
    keeps_all: bool = False  # also cases that were not measured, and windows
    is_text: bool = True  # may go to standard output
    less_only: bool = False  # only metrics of which less is better


FORMATS = {
    "pytest-benchmark": Format("pytest_benchmark", "json"),
    "github-action-benchmark": Format("github_action", "json", less_only=True),
    "bencher": Format("bencher", "json"),
    "csv": Format("csv", "csv", keeps_all=True),
    "parquet": Format("parquet", "parquet", keeps_all=True, is_text=False),
}


def rendered(to: str, frame: "pd.DataFrame", summary: "pd.DataFrame", info: "RunInfo", *, windows: bool) -> bytes:
    """The whole file; `frame` comes from `rnnbench.load`, `summary` from `rnnbench.summarize`.

    Raises UserError if the format can't hold a case.
    """
    from rnnbench.text import encoded

    render = importlib.import_module(f"{__name__}.{FORMATS[to].module}").render
    data = render(frame, summary, info, windows=True) if windows else render(frame, summary, info)
    return encoded(data) if isinstance(data, str) else bytes(data)


def notes(to: str, summary: "pd.DataFrame", info: "RunInfo") -> Iterator[str]:
    """What the format can't hold of the run, one line each."""
    from rnnbench.report.export import cases
    from rnnbench.store.metrics import METRICS

    if FORMATS[to].keeps_all:
        return
    if text := cases.left_out(summary):
        yield text
    others = [metric.label for metric in METRICS if metric.better != "less" and summary[metric.name].notna().any()]
    if FORMATS[to].less_only and others:
        yield f"metrics left out, since less is not better: {', '.join(others)}"
