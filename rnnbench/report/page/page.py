"""A self-contained page: it has figures, style and one script inside, and loads nothing else.

It is written into a folder of its own, never somebody else's. A marker file in each report's folder says what the
report is of. So a report replaces an older one of the same run, gets another folder if there is one of another run, and
never touches a folder that rnnbench did not make.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnbench.errors import UserError
from rnnbench.report.colors import INKS, variables
from rnnbench.report.drawing.sheet import Picture
from rnnbench.report.page.inline import inline
from rnnbench.report.table import FORMATS, Section, Table
from rnnbench.report.words.names import one_line
from rnnbench.store.folder import is_check, write_whole
from rnnbench.text import encoded

REPORTS = Path("reports")
MARKER = ".rnnbench-report"
WORDS = "rnnbench wrote this folder, and replaces its files when it reports on the same again.\n"
PAGE = "index.html"
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


def put(name: str, sources: Sequence[Path], out: Path | None, make: Callable[[], Mapping[str, bytes]]) -> Path:
    """Write the files that `make` returns, by path within the report's folder; return the path of its page.

    The folder is `out`, or one below `reports/` without a report of other `sources`. Raises UserError, before anything
    is made, if it is not empty and was not made by rnnbench.
    """
    resolved = [source.resolve() for source in sources]
    # It reveals nothing about the machine.
    identity = hashlib.sha256("\n".join([name, *map(str, resolved)]).encode(errors="surrogateescape")).hexdigest()[:16]
    names = (name, f"{resolved[0].parent.name}-{name}".lstrip("-"), f"{name}-{identity[:8]}")
    folders = [REPORTS / each for each in names] if out is None else [out]
    folder = next((each for each in folders if _owner(each) in ("", identity)), folders[-1])
    content = {MARKER: f"{identity}\n{WORDS}".encode(), **make()}  # marked first: half a report is known for one
    for file, data in content.items():
        write(folder / file, data, folder)
    return folder / PAGE


def name_of(path: Path) -> str:
    """Return the name of the report of a run, a check or a file; a side of a check is named after the check."""
    path = path.resolve()
    return f"{path.parent.name}-{path.name}" if is_check(path.parent) else path.stem if path.is_file() else path.name


def _owner(folder: Path) -> str:
    """Return what the report in a folder is of; empty if the folder is empty or does not exist."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return ""
    marker = folder / MARKER
    identity, _, words = marker.read_text(errors="replace").partition("\n") if marker.is_file() else ("", "", "")
    if words != WORDS:
        raise UserError(
            f"{folder}: is not empty and was not made by rnnbench; give a new or an empty folder, "
            f"for example {folder / 'report'}"
        )
    return identity


def write(file: Path, data: bytes, asked: Path) -> None:
    """Write a file whole or not at all; raises UserError, which names the path that was `asked` for, if it can't be."""
    if file.is_dir():
        raise UserError(f"{file if file.name else asked}: can't be written: Is a directory; give a file in it")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data)
    except OSError as error:
        raise UserError(f"{asked}: can't be written: {error.strerror}; give another folder") from None
