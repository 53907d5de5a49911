"""The report as one HTML page that needs nothing beside it: no network, no scripts, its figures inside."""

from collections.abc import Mapping

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnbench.analysis.noise import Noise
from rnnbench.report import headline
from rnnbench.report import noise as noise_sentence
from rnnbench.report.axes import one_line
from rnnbench.report.figures import Picture
from rnnbench.report.metrics import known, of_calls, with_metrics
from rnnbench.report.reference import words
from rnnbench.report.table import Table
from rnnbench.store.folder import RunInfo

MOST_OPEN_ROWS = 200  # a longer table is folded away until it is asked for


def render(
    summary: pd.DataFrame, noise: Noise, info: RunInfo, pictures: Mapping[str, Picture], tables: Mapping[str, Table]
) -> str:
    """The page; links to the figures and tables are relative, as `folder.write` puts them."""
    pages = Environment(
        loader=PackageLoader("rnnbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["one_line"] = one_line
    return pages.get_template("report.html").render(
        info=info,
        reference=words(summary),
        answer=headline.answer(summary, info),
        limit=headline.limit(summary),
        counts=headline.counts(summary),
        noise=noise_sentence.render(noise),
        replicates=_range(summary, "replicates"),
        windows=_range(summary, "windows"),
        costs=known(with_metrics(summary), of_calls()),
        pictures=pictures,
        inline={name: inline(picture.svg) for name, picture in pictures.items()},
        tables=tables,
        most_open_rows=MOST_OPEN_ROWS,
    )


def inline(svg: str) -> Markup:
    """An SVG file of our own making as an element of a page: without the XML declaration and document type."""
    return Markup(svg[svg.index("<svg") :])


def _range(summary: pd.DataFrame, column: str) -> str:
    """`6`, or `4 to 6`, of the measured cases."""
    found = summary.loc[summary["status"] == "measured", column]
    if found.empty:
        return "0"
    low, high = int(found.min()), int(found.max())
    return f"{low}" if low == high else f"{low} to {high}"
