"""The pages of the documentation's site: `python -m tests.rules.site FOLDER` puts them into a folder (`make docs`).

The folder has the pages at the places that they have in the repository, so that links lead where they lead there, with
every file that a page links to. It adds what is made from the code: the Python API and the command line as pages that
mkdocs fills from docstrings, the report of the reference run, and the example of a history.
"""

import inspect
import os
import re
import shutil
import sys
from pathlib import Path

import rnnbench
from rnnbench.report.page import page
from tests.doubles.every_page import files_of, reference_run

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)|(?:src|srcset)=\"([^\"]+)\"")
TEXT_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)\)")
ELSEWHERE = ("http://", "https://", "../../actions/")
HIDDEN_LINK = re.compile(r"(\]\([^)\s]*)\.github/")
BADGES = re.compile(r"^\[!\[.*badge\.svg.*\n", re.MULTILINE)  # the site does not know its repository's address
RESULTS = (
    "rnnbench.report.frame_result.FrameResult",
    "rnnbench.report.fastest.FastestModule",
    "rnnbench.pytest_plugin.Assertions",
)
DOCSTRING = "::: {place}\n    options:\n      heading: {name}\n      toc_label: {name}"
COMMANDS = "# Commands\n\n::: mkdocs-click\n    :module: rnnbench.cli\n    :command: cli\n    :prog_name: rnnbench\n"
EXAMPLE = '# {title}\n\n{text} <a href="{name}/index.html">As a page of its own</a>.\n\n'
FRAME = '<iframe src="{name}/index.html" title="{title}" style="width: 100%; height: 80vh; border: 0"></iframe>\n'


def pages() -> list[Path]:
    """Return the Markdown files that people write, and the tables of the validation page."""
    folders = (ROOT, ROOT / "docs", ROOT / ".github", ROOT / "results" / "validation")
    files = [file for folder in folders for file in folder.glob("*.md")]
    return [*files, *(ROOT / folder / "README.md" for folder in ("suites", "results", "reports", "tests/gpu"))]


def linked(file: Path) -> set[Path]:
    """Return the files of the repository that a page links to."""
    links = (link or source for link, source in LINK.findall(file.read_text(encoding="utf-8")))
    targets = {(file.parent / link).resolve() for link in links if not link.startswith(ELSEWHERE)}
    return {target for target in targets if target.is_file() and target.suffix != ".md"}


def place(file: Path) -> Path:
    """Return the place of a file in the site, which has no hidden folder: Pages leave such folders out."""
    return Path(file.relative_to(ROOT).as_posix().replace(".github/", "github/"))


def without_folders(file: Path) -> str:
    """Return the text of a page in which a link to a folder, of which a site has no page, is its words alone."""

    def words(match: re.Match[str]) -> str:
        is_folder = not match[2].startswith(ELSEWHERE) and (file.parent / match[2]).is_dir()
        return match[1] if is_folder else match[0]

    text = BADGES.sub("", TEXT_LINK.sub(words, file.read_text(encoding="utf-8")))
    return HIDDEN_LINK.sub(r"\1github/", text)


def python_api() -> str:
    """Return the page of the Python API: the docstring of every public name."""
    functions = {f"rnnbench.{name}": getattr(rnnbench, name) for name in rnnbench.__all__ if name != "plot"}
    places = {name: f"{each.__module__}.{each.__name__}" for name, each in functions.items()}
    places |= {place.rpartition(".")[2]: place for place in RESULTS}
    parts = ["# The Python API", *(DOCSTRING.format(place=place, name=name) for name, place in places.items())]
    parts += ["## rnnbench.plot", inspect.getdoc(rnnbench.plot) or ""]
    plots = [f"rnnbench.plot.{name}" for name in rnnbench.plot.__all__]
    parts += [DOCSTRING.format(place=name, name=name) for name in plots]
    return "\n\n".join(parts) + "\n"


def example(folder: Path, name: str, title: str, text: str) -> None:
    """Write a page that shows a report of `folder/name`."""
    content = EXAMPLE.format(title=title, text=text, name=name) + FRAME.format(title=title, name=name)
    (folder / f"{name}.md").write_text(content, encoding="utf-8")


def write(folder: Path) -> None:
    """Write all pages, and what they link to, into an empty folder."""
    written = pages()
    for file in set().union(*map(linked, written)):
        target = folder / place(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for file in written:
        target = folder / place(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(without_folders(file), encoding="utf-8")
    (folder / "docs" / "python.md").write_text(python_api(), encoding="utf-8")
    (folder / "docs" / "commands.md").write_text(COMMANDS, encoding="utf-8")
    examples = folder / "examples"
    examples.mkdir()
    run = reference_run()
    page.put(*page.folder_of(run.name, [examples], examples / "report"), files_of(run))
    shutil.copytree(ROOT / "reports" / "mamba-history", examples / "history")
    example(examples, "report", "A report", "What `rnnbench report` writes of the run of `quick` on the front page.")
    example(examples, "history", "A history", "What `rnnbench report --history` writes of 30 commits of mamba.py.")


if __name__ == "__main__":
    pages_folder = Path(sys.argv[1])
    if pages_folder.exists():
        shutil.rmtree(pages_folder)
    write(pages_folder)
    print(os.fspath(pages_folder))
