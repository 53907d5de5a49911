"""The report as one HTML page that needs nothing beside it: its figures, style and one script are inside."""

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnbench.report import headline, noise, sections, selection
from rnnbench.report.axes import one_line
from rnnbench.report.inline import inline
from rnnbench.report.sections import Content

FIRST = "ratio"  # the figure of the first screen


def render(content: Content) -> str:
    """The page; links to the figures and tables are relative, as `folder` puts them."""
    summary, info = content.summary, content.info
    script = _script()
    titles = selection.titles(summary)
    first, *more = headline.sentences(summary, info)
    return (
        _pages()
        .get_template("report.html")
        .render(
            info=info,
            answer=first,
            more=" ".join([*more, headline.limit(summary)]).strip(),
            counts=headline.counts(summary),
            started=_when(info.started),
            noise=noise.brief(content.noise),
            first=content.pictures.get(FIRST),
            sections=sections.of(content),
            pictures=content.pictures,
            inline={
                name: inline(picture.svg, f"{picture.title}. {picture.caption}", titles)
                for name, picture in content.pictures.items()
            },
            tables=content.tables,
            rows_of={name: selection.rows_of(table, summary) for name, table in content.tables.items()},
            is_pooled={name: selection.is_pooled(table) for name, table in content.tables.items()},
            choices=selection.choices(summary),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


@cache
def _pages() -> Environment:
    pages = Environment(
        loader=PackageLoader("rnnbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["one_line"] = one_line
    return pages


def _script() -> str:
    """The page's script, to the byte as the page has it, since its hash is what allows it to run."""
    return resources.files("rnnbench.report").joinpath("templates/report.js").read_text(encoding="utf-8")


def _when(started: str) -> str:
    """`2026-11-25 02:17 UTC`; as it was recorded where it is no time."""
    try:
        return f"{datetime.fromisoformat(started).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return one_line(started)
