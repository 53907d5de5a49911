"""A report of several runs as a folder: `index.html`, `figures/` and `tables/`, as that of one run has them."""

from collections.abc import Sequence

from rnnbench.report.page import files, page
from rnnbench.report.page.page import PAGE, Page
from rnnbench.report.page.sections import Drawn, Listed, Paragraph, Section, SectionPart, Warnings
from rnnbench.report.page.topic import Topic
from rnnbench.report.words.axes import one_line
from rnnbench.text import encoded


def render(title: str, topics: Sequence[Topic]) -> dict[str, bytes]:
    """Every file of the report by its path within the folder, the page last; the first topic has the answer."""
    pictures = {picture.name: picture for topic in topics for picture in topic.pictures}
    tables = {table.name: table for topic in topics for table in topic.tables}
    leading = topics[0]
    shown = Page(
        name="Answer",
        heading=one_line(title),
        answer=leading.words[0],
        more=" ".join(leading.words[1:]),
        facts=(),
        warning="",
        first=next(iter(leading.pictures), None),
        sections=[_section(topic, is_leading=topic is leading) for topic in topics],
        pictures=pictures,
        tables=tables,
    )
    return files.beside(pictures, tables) | {PAGE: encoded(page.render(shown))}


def _section(topic: Topic, *, is_leading: bool) -> Section:
    """As the page has it; what stands on the first screen is not said again."""
    words, pictures = ((), topic.pictures[1:]) if is_leading else (topic.words, topic.pictures)
    notes = [Warnings("Not the same in these runs:", topic.notes)] if topic.notes else []
    parts: list[SectionPart] = [*notes, *map(Paragraph, words), *map(Drawn, pictures), *map(Listed, topic.tables)]
    return Section(topic.name, topic.title, topic.title, parts)
