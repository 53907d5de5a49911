"""A report of several runs as a folder: `index.html`, `figures/` and `tables/`, as that of one run has them."""

from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnbench.report import csv, latex, markdown
from rnnbench.report.axes import one_line
from rnnbench.report.figures import Picture
from rnnbench.report.runs.section import Section
from rnnbench.report.table import Table


def render(title: str, sections: Sequence[Section]) -> dict[str, bytes]:
    """Every file of the report by its path within the folder, the page last."""
    files: dict[str, bytes] = {}
    for section in sections:
        for picture in section.pictures:
            files |= picture_files(picture)
        for table in section.tables:
            files |= table_files(table)
    return files | {"index.html": _page(title, sections).encode()}


def picture_files(picture: Picture) -> Mapping[str, bytes]:
    """A figure's files."""
    return {f"figures/{picture.name}.svg": picture.svg.encode(), f"figures/{picture.name}.png": picture.png}


def table_files(table: Table) -> Mapping[str, bytes]:
    """A table's files."""
    return {
        f"tables/{table.name}.csv": csv.render(table).encode(),
        f"tables/{table.name}.md": markdown.render(table).encode(),
        f"tables/{table.name}.tex": latex.render(table).encode(),
    }


def _page(title: str, sections: Sequence[Section]) -> str:
    pages = Environment(
        loader=PackageLoader("rnnbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Figures are of our own making, and every text in them is drawn as a path.
    inline = {
        picture.name: Markup(picture.svg[picture.svg.index("<svg") :])
        for section in sections
        for picture in section.pictures
    }
    return pages.get_template("runs.html").render(title=one_line(title), sections=sections, inline=inline)
