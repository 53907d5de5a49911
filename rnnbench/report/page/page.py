"""A self-contained page, with figures, style and one script inside: it loads nothing else.

Its figures are in the page's colours, light or dark, and each mark leads to its case. The page is written into a folder
of its own, never somebody else's. A marker file in each report's folder says what the report is of. So a report
replaces an older one of the same run, gets another folder if there is one of another run, and never touches a folder
that rnnbench did not make.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as Xml

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rnnbench.errors import UserError
from rnnbench.report.drawing.marks import INKS, variables
from rnnbench.report.drawing.pictures import Panel, Picture
from rnnbench.report.table import FILE_FORMATS, Section, SectionPart, Table
from rnnbench.report.words.names import one_line
from rnnbench.store.folder import is_check, write_whole
from rnnbench.text import encoded

REPORTS = Path("reports")
REPORT_MARKER = ".rnnbench-report"
MARKER_TEXT = "rnnbench wrote this folder, and replaces its files when it reports on the same again.\n"
PAGE_FILE = "index.html"
MAX_OPEN_ROWS = 200  # a longer table without heads of its parts is folded
SVG = "{http://www.w3.org/2000/svg}"
# Colours of figures and the variables of the page that hold them; what is coloured alike in light and dark stays.
VARIABLES = {shade.light: name for name, shade in variables().items()}
COLOR = re.compile("|".join(VARIABLES))
# Indents, names of groups, letters that the page's style names, and turns by nothing.
SVG_UNUSED = re.compile(
    r"(?<=>)\s+(?=<)|(?<=<g) id=\"[^\"]*\"|xlink:(?=href)| font-family: [^;\"]*;?| transform=\"rotate\(-0 [^\"]*\""
)
SVG_PLACES = re.compile(r" (?:d|x|y|transform)=\"[^\"]*\"")
LONG_NUMBER = re.compile(r"(?<![\d.])(-?\d+\.\d)\d+")  # more decimals than anybody sees
SVG_NAMES = re.compile(r"(?<= id=\")|(?<=url\(#)|(?<=href=\"#)")  # where the name of a part begins
MAX_MARKS = 1_000  # of one panel that lead to their cases

Xml.register_namespace("", SVG[1:-1])


@dataclass(frozen=True)
class Page:
    """The content of a page, in its order."""

    name: str  # in the window's title and the navigation
    heading: str
    answer: Sequence[str]  # the most important sentence first
    facts: Sequence[str] = ()  # in small letters below
    leads: Mapping[str, str] = field(default_factory=dict)  # addresses to which words of the answer lead
    warning: str = ""
    top: Sequence[SectionPart] = ()  # on the first screen
    sections: Sequence[Section] = ()
    title: Callable[[int], str] = str  # of a case that figures mark, from its row in the summary

    @property
    def parts(self) -> list[SectionPart]:
        """Return all parts, in their order."""
        return [*self.top, *(part for section in self.sections for part in section.parts)]

    @property
    def pictures(self) -> list[Picture]:
        """Return all figures."""
        return [part for part in self.parts if isinstance(part, Picture)]

    @property
    def tables(self) -> list[Table]:
        """Return all tables, with those whose rows are the heads of others."""
        tables = [part for part in self.parts if isinstance(part, Table)]
        return [*tables, *(table.heads for table in tables if table.heads)]


def page_of_several(title: str, sections: Sequence[Section]) -> Page:
    """Return the page of several runs: the paragraphs and the figure of the first section are its first screen."""
    first = sections[0]
    top = first.of(Picture)[:1]
    rest = [part for part in first.parts if not isinstance(part, str) and part not in top]
    return Page(
        name="Answer",
        heading=one_line(title),
        answer=first.of(str),
        top=top,
        sections=[replace(first, parts=rest), *sections[1:]],
    )


def files(page: Page) -> dict[str, bytes]:
    """Return the page, and each figure and table in its formats, by path within the page's folder."""
    contents = {PAGE_FILE: encoded(html(page))}
    for picture in page.pictures:
        for panel in picture.panels:
            contents |= {f"figures/{panel.name}.svg": encoded(panel.svg), f"figures/{panel.name}.png": panel.png}
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
        answer=[linked(sentence, page.leads) for sentence in page.answer],
        inline={each.name: [inline(each, panel, page.title) for panel in each.panels] for each in page.pictures},
        formats=dict(zip(FILE_FORMATS, ("CSV", "Markdown", "LaTeX"), strict=True)),
        max_open_rows=MAX_OPEN_ROWS,
        shades={name: shade for name, shade in variables().items() if name not in INKS},
        script=Markup(script),  # noqa: S704 - our own, byte for byte: the page allows it to run by its hash
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def linked(sentence: str, leads: Mapping[str, str]) -> Markup:
    """Return a sentence for a page, in which the words of `leads` are links, each once."""
    text = escape(sentence)
    for words, address in leads.items():
        link = Markup('<a href="{}">{}</a>').format(address, words)
        text = text.replace(escape(words), link, 1)
    return text


def folder_of(name: str, sources: Sequence[Path], out: Path | None) -> tuple[Path, str]:
    """Return the folder of a report, and the identity of what it is of, which `put` writes there.

    The folder is `out`, or one below `reports/` without a report of other `sources`. Raises UserError if it is not
    empty and was not made by rnnbench.
    """
    resolved = [source.resolve() for source in sources]
    # It reveals nothing about the machine.
    identity = hashlib.sha256("\n".join([name, *map(str, resolved)]).encode(errors="surrogateescape")).hexdigest()[:16]
    names = (name, f"{resolved[0].parent.name}-{name}".lstrip("-"), f"{name}-{identity[:8]}")
    folders = [REPORTS / each for each in names] if out is None else [out]
    return next((each for each in folders if _owner(each) in ("", identity)), folders[-1]), identity


def put(folder: Path, identity: str, contents: Mapping[str, bytes]) -> Path:
    """Write the files of a report, by path within its folder; return the path of its page."""
    marker = f"{identity}\n{MARKER_TEXT}".encode()
    for file, data in {REPORT_MARKER: marker, **contents}.items():  # marked first: half a report is known for one
        write(folder / file, data, folder)
    return folder / PAGE_FILE


def name_of(path: Path) -> str:
    """Return the name of the report of a run, a check or a file; a side of a check is named after the check."""
    path = path.resolve()
    if is_check(path.parent):
        return f"{path.parent.name}-{path.name}"
    return path.stem if path.is_file() else path.name


def _owner(folder: Path) -> str:
    """Return the identity of the report in a folder; empty if the folder is empty or does not exist."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return ""
    marker = folder / REPORT_MARKER
    if not marker.is_file():
        raise UserError(
            f"{folder}: is not empty and was not made by rnnbench; give a new or an empty folder, "
            f"for example {folder / 'report'}"
        )
    return marker.read_text(errors="replace").partition("\n")[0]


def write(file: Path, data: bytes, place: Path) -> None:
    """Write a file whole or not at all; raises UserError, which names the path that was `asked` for, if it can't be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data)
    except OSError as error:
        raise UserError(f"{place}: can't be written: {error.strerror}; give another path") from None


# Figures as elements of the page


def inline(picture: Picture, panel: Panel, title: Callable[[int], str]) -> Markup:
    """Turn a panel of a figure into an element of a page, with a label for readers who can't see it.

    Each mark has the row of the run's summary that it shows (`data-case="3"`) and the row's title, unless there are
    very many. A mark of several rows has them all (`data-all="3 5"`). A CSS variable holds the panel's width, so that
    the page's style can keep letters legible.
    """
    svg = COLOR.sub(lambda color: f"var(--{VARIABLES[color[0]]})", SVG_UNUSED.sub("", panel.svg))
    svg = SVG_PLACES.sub(lambda places: LONG_NUMBER.sub(r"\1", places[0]), svg)
    root = Xml.fromstring(SVG_NAMES.sub(f"{panel.name}-", svg))  # unlike those of every other figure
    width = root.attrib.pop("width").removesuffix("pt")
    del root.attrib["height"]
    root.attrib |= {"role": "img", "aria-label": f"{picture.title}. {picture.caption}"}
    root.set("style", f"--wide: {width}px")
    cases = {group: group.attrib.pop("data-cases", "").split() for group in root.iter()}
    if sum(map(len, cases.values())) <= MAX_MARKS:
        for group, marks in cases.items():
            rows = [list(map(int, each.split("."))) for each in marks]
            _tell_apart(group, rows, title)
    return Markup(Xml.tostring(root, encoding="unicode"))  # noqa: S704 - our own figure, parsed and written anew


def _tell_apart(group: Xml.Element, rows_of_marks: list[list[int]], title: Callable[[int], str]) -> None:
    """Give each mark of a group its rows; or the group, if it shows one mark, such as the letters of a number."""
    hidden = {part for defs in group.iter(f"{SVG}defs") for part in defs.iter()}
    kinds = ([part for part in group.iter(f"{SVG}{kind}") if part not in hidden] for kind in ("use", "path"))
    marks = next(filter(None, kinds), [])
    if len(marks) != len(rows_of_marks):
        marks = [group] if len(rows_of_marks) == 1 else []
    for part, rows in zip(marks, rows_of_marks, strict=False):
        part.set("data-case", str(rows[0]))
        if len(rows) > 1:
            part.set("data-all", " ".join(map(str, rows)))
        median = f"median of {len(rows):,} cases, the nearest is " if len(rows) > 1 else ""
        Xml.SubElement(part, f"{SVG}title").text = f"{median}{title(rows[0])}"
