"""The report of several runs: a folder with `index.html`, `figures/` and `tables/`, as for one run."""

from collections.abc import Sequence
from dataclasses import replace

from rnnbench.report.page.page import Page, files
from rnnbench.report.page.section import Section
from rnnbench.report.words.names import one_line


def render(title: str, sections: Sequence[Section]) -> dict[str, bytes]:
    """Every file of the report by its path within the folder, the page last; the first section has the answer."""
    first = sections[0]
    answer, *more = first.paragraphs
    page = Page(
        name="Answer",
        heading=one_line(title),
        answer=answer,
        more=" ".join(more),
        first=next(iter(first.pictures), None),
        sections=[_without_the_answer(first), *sections[1:]],
    )
    return files(page)


def _without_the_answer(section: Section) -> Section:
    """The section without what stands on the first screen: its paragraphs and its first figure."""
    on_screen = section.pictures[:1]
    return replace(
        section,
        parts=[part for part in section.parts if not isinstance(part, str) and part not in on_screen],
    )
