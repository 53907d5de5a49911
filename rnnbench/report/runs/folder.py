"""A report of several runs as a folder: `index.html`, `figures/` and `tables/`, as that of one run has them."""

from collections.abc import Sequence

from rnnbench.report import files, page
from rnnbench.report.axes import one_line
from rnnbench.report.page import PAGE, Page
from rnnbench.report.runs.section import Section as About
from rnnbench.report.sections import Drawn, Listed, Part, Section, Warnings, Words


def render(title: str, sections: Sequence[About]) -> dict[str, bytes]:
    """Every file of the report by its path within the folder, the page last; the first section has the answer."""
    pictures = {picture.name: picture for about in sections for picture in about.pictures}
    tables = {table.name: table for about in sections for table in about.tables}
    leading = sections[0]
    shown = Page(
        name="Answer",
        heading=one_line(title),
        answer=leading.words[0],
        more=" ".join(leading.words[1:]),
        facts=(),
        warning="",
        first=next(iter(leading.pictures), None),
        sections=[_section(about, is_leading=about is leading) for about in sections],
        pictures=pictures,
        tables=tables,
    )
    return files.beside(pictures, tables) | {PAGE: page.render(shown).encode()}


def _section(about: About, *, is_leading: bool) -> Section:
    """As the page has it; what stands on the first screen is not said again."""
    words, pictures = ((), about.pictures[1:]) if is_leading else (about.words, about.pictures)
    notes = [Warnings(about.notes)] if about.notes else []
    parts: list[Part] = [*notes, *map(Words, words), *map(Drawn, pictures), *map(Listed, about.tables)]
    return Section(about.name, about.title, about.title, parts)
