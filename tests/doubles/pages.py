"""Reports written for tests."""

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
from matplotlib.colors import to_rgb

from rnnbench.analysis.summary import Noise
from rnnbench.report.drawing.pictures import Picture
from rnnbench.report.page.page import files, folder_of, put
from rnnbench.report.reports import run_page
from rnnbench.report.table import Lines, Section, Table, markdown
from rnnbench.store.run_info import RunInfo

LOADS = {"src", "srcset", "data", "poster", "background", "action"}


class Page(HTMLParser):
    """The tags, attributes and text of a page, as an HTML parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]


def written(summary: pd.DataFrame, noise: Noise, info: RunInfo, folder: Path) -> Path:
    """Write a report to a folder and return the path of its page."""
    return put(*folder_of("test", [folder], folder), files(run_page(summary, noise, info)))


def shown(section: Section) -> str:
    """What a section says, without its figures: paragraphs, warnings and tables as Markdown."""
    tables = [markdown(table) for table in section.of(Table)]
    pictures = [f"figure {picture.name}: {picture.caption}" for picture in section.of(Picture)]
    warnings = [line for part in section.of(Lines) for line in part.lines]
    return "\n\n".join([*section.of(str), *warnings, *pictures, *tables])


def contrast(color: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 (none) to 21, as WCAG 2 defines it."""
    low, high = sorted((luminance(color), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance from 0 (black) to 1 (white)."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
