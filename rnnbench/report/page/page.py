"""A self-contained page: it has figures, style and one script inside, and loads nothing else."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnbench.report.colors import INKS, variables
from rnnbench.report.drawing.sheet import Picture
from rnnbench.report.page.inline import inline
from rnnbench.report.page.section import Section
from rnnbench.report.table import FORMATS, Table
from rnnbench.text import encoded

PAGE = "index.html"  # its file
MAX_OPEN_ROWS = 200  # a longer table without heads of its parts is folded


@dataclass(frozen=True)
class Page:
    """The content of a page, in its order."""

    name: str  # in the window's title and the navigation
    heading: str
    answer: str
    more: str = ""
    facts: Sequence[str] = ()  # in small letters below
    warning: str = ""
    first: Picture | None = None  # on the first screen
    fastest: Table | None = None  # below it
    sections: Sequence[Section] = ()
    titles: Mapping[int, str] = field(default_factory=dict)  # of the cases that figures mark, by row of the summary

    @property
    def pictures(self) -> dict[str, Picture]:
        """All figures, by name."""
        drawn = [*filter(None, [self.first]), *(picture for section in self.sections for picture in section.pictures)]
        return {picture.name: picture for picture in drawn}

    @property
    def tables(self) -> dict[str, Table]:
        """All tables, by name."""
        listed = [*filter(None, [self.fastest]), *(table for section in self.sections for table in section.tables)]
        return {table.name: table for table in (*listed, *(table.heads for table in listed if table.heads))}


def files(page: Page) -> dict[str, bytes]:
    """Return the page, and each figure and table in its formats, by path within the page's folder."""
    contents = {PAGE: encoded(html(page))}
    for name, picture in page.pictures.items():
        contents |= {f"figures/{name}.svg": encoded(picture.svg), f"figures/{name}.png": picture.png}
    for table in page.tables.values():
        contents |= {f"tables/{name}": content for name, content in table.files().items()}
    return contents


def html(page: Page) -> str:
    """Return the page; its links to figures and tables are relative."""
    script = _pages().get_template("page.js").render()
    pictures = {
        name: inline(picture.svg, name, f"{picture.title}. {picture.caption}", page.titles)
        for name, picture in page.pictures.items()
    }
    return (
        _pages()
        .get_template("page.html")
        .render(
            page=page,
            inline=pictures,
            formats=dict(zip(FORMATS, ("CSV", "Markdown", "LaTeX"), strict=True)),
            max_open_rows=MAX_OPEN_ROWS,
            shades={name: shade for name, shade in variables().items() if name not in INKS},
            script=Markup(script),  # noqa: S704 - our own, byte for byte: the page allows it to run by its hash
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


@cache
def _pages() -> Environment:
    return Environment(
        loader=PackageLoader("rnnbench.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
