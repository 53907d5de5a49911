"""The report of several runs: a folder with `index.html`, `figures/` and `tables/`, as for one run."""

from collections.abc import Sequence
from dataclasses import replace

from rnnbench.report.page.page import Page, files
from rnnbench.report.page.section import Drawn, Paragraph, Section
from rnnbench.report.words.axes import one_line


def render(title: str, sections: Sequence[Section]) -> dict[str, bytes]:
    """Every file of the report by its path within the folder, the page last; the first section has the answer."""
    first = sections[0]
    answer, *more = first.paragraphs
    page = Page(
        name="Answer",
        heading=one_line(title),
        answer=answer,
        more=" ".join(more),
        facts=(),
        warning="",
        first=next(iter(first.pictures), None),
        sections=[_without_the_answer(first), *sections[1:]],
        pictures={picture.name: picture for section in sections for picture in section.pictures},
        tables={table.name: table for section in sections for table in section.tables},
    )
    return files(page)


def _without_the_answer(section: Section) -> Section:
    """The section without what stands on the first screen: its paragraphs and its first figure."""
    on_screen = section.pictures[:1]
    return replace(
        section,
        parts=[
            part
            for part in section.parts
            if not isinstance(part, Paragraph) and not (isinstance(part, Drawn) and part.picture in on_screen)
        ],
    )
