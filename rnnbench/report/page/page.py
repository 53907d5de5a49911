"""A self-contained page: it has figures, style and one script inside, and loads nothing else."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnbench.report.colors import INKS, variables
from rnnbench.report.drawing.sheet import Picture
from rnnbench.report.page.inline import inline
from rnnbench.report.page.place import PAGE
from rnnbench.report.table import FORMATS, Section, Table
from rnnbench.report.words.names import one_line
from rnnbench.text import encoded

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
    def pictures(self) -> list[Picture]:
        """Return all figures."""
        return [*filter(None, [self.first]), *(picture for section in self.sections for picture in section.pictures)]

    @property
    def tables(self) -> list[Table]:
        """Return all tables, with those whose rows are the heads of others."""
        shown = [*filter(None, [self.fastest]), *(table for section in self.sections for table in section.tables)]
        return [*shown, *(table.heads for table in shown if table.heads)]


def page_of_several(title: str, sections: Sequence[Section]) -> Page:
    """Return the page of several runs: the paragraphs and the figure of the first section are its first screen."""
    top = sections[0]
    answer, *more = top.paragraphs
    first = next(iter(top.pictures), None)
    rest = [part for part in top.parts if not isinstance(part, str) and part is not first]
    return Page(
        name="Answer",
        heading=one_line(title),
        answer=answer,
        more=" ".join(more),
        first=first,
        sections=[replace(top, parts=rest), *sections[1:]],
    )


def files(page: Page) -> dict[str, bytes]:
    """Return the page, and each figure and table in its formats, by path within the page's folder."""
    contents = {PAGE: encoded(html(page))}
    for picture in page.pictures:
        contents |= {f"figures/{picture.name}.svg": encoded(picture.svg), f"figures/{picture.name}.png": picture.png}
    for table in page.tables:
        contents |= {f"tables/{name}": content for name, content in table.files().items()}
    return contents


def html(page: Page) -> str:
    """Return the page; its links to figures and tables are relative."""
    templates = Environment(
        loader=PackageLoader("rnnbench.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = templates.get_template("page.js").render()
    return templates.get_template("page.html").render(
        page=page,
        inline={
            each.name: inline(each.svg, each.name, f"{each.title}. {each.caption}", page.titles)
            for each in page.pictures
        },
        formats=dict(zip(FORMATS, ("CSV", "Markdown", "LaTeX"), strict=True)),
        max_open_rows=MAX_OPEN_ROWS,
        shades={name: shade for name, shade in variables().items() if name not in INKS},
        script=Markup(script),  # noqa: S704 - our own, byte for byte: the page allows it to run by its hash
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
