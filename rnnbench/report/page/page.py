"""A self-contained page: it has figures, style and one script inside, and loads nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnbench.report.colors import INKS, variables
from rnnbench.report.drawing.sheet import Picture
from rnnbench.report.page import compact, selection
from rnnbench.report.page.files import beside
from rnnbench.report.page.inline import inline
from rnnbench.report.page.section import Section
from rnnbench.report.tables.table import Table
from rnnbench.report.words.axes import one_line
from rnnbench.text import encoded

PAGE = "index.html"  # its file
SCRIPTS = ("start", "tables", "filters", "page")  # parts of the one script, in their order
TITLE = "{}: rnnbench report</title>"  # the end of every page's title, by which folders of reports are recognized


@dataclass(frozen=True)
class Page:
    """The content of a page, in its order; rows of a frame of cases say what filters show and hide."""

    name: str  # in the window's title and the navigation
    heading: str
    answer: str
    more: str = ""
    facts: Sequence[str] = ()  # in small letters below
    warning: str = ""
    first: Picture | None = None  # on the first screen
    sections: Sequence[Section] = ()
    home: str = ""  # the page above this one
    cases: pd.DataFrame | None = None  # a run's summary, if rows of tables and marks of figures are about its cases

    @property
    def pictures(self) -> dict[str, Picture]:
        """All figures, by name."""
        drawn = [*filter(None, [self.first]), *(picture for section in self.sections for picture in section.pictures)]
        return {picture.name: picture for picture in drawn}

    @property
    def tables(self) -> dict[str, Table]:
        """All tables, by name."""
        return {table.name: table for section in self.sections for table in section.tables}


def files(page: Page) -> dict[str, bytes]:
    """The page, and each figure and table in its formats, by path within the page's folder."""
    return beside(page.pictures, page.tables) | {PAGE: encoded(html(page))}


def html(page: Page) -> str:
    """The page; its links to figures and tables are relative."""
    script = _script()
    summary, tables = page.cases, page.tables
    titles = selection.titles(summary) if summary is not None else {}
    cases = {}
    if summary is not None:
        for name, table in tables.items():
            cases[name] = [compact.ranges(rows) for rows in selection.rows_of(table, summary)]
    choices = selection.choices(summary) if summary is not None else {"axes": [], "cases": [], "beside": {}}
    return (
        _pages()
        .get_template("page.html")
        .render(
            page=page,
            inline={
                name: inline(picture.svg, name, f"{picture.title}. {picture.caption}", titles)
                for name, picture in page.pictures.items()
            },
            cases=cases,
            paper_rows=compact.PAPER_ROWS,
            choices=compact.short_choices(choices),
            pooled=[name for name, table in tables.items() if cases and selection.is_pooled(table)],
            max_open_rows=compact.MAX_OPEN_ROWS,
            static_rows=compact.static_rows,
            later_rows=compact.later_rows,
            value_behind=compact.value_behind,
            shades={name: shade for name, shade in variables().items() if name not in INKS},
            script=Markup(script),  # noqa: S704 - our own
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


@cache
def _pages() -> Environment:
    pages = Environment(
        loader=PackageLoader("rnnbench.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["one_line"] = one_line
    pages.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    return pages


def _script() -> str:
    """The page's script, byte for byte as on the page, which allows it to run by its hash."""
    templates = resources.files("rnnbench.report.page").joinpath("templates")
    return "".join(templates.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
