"""The documentation pages: every link leads somewhere, and the front page stays short."""

import re
from pathlib import Path

import pandas as pd
import pytest

from rnnbench.analysis.run_times import read
from rnnbench.analysis.summary import summarize
from rnnbench.cli import cli
from rnnbench.store.folder import read_info
from tests.doubles import screens
from tests.validation.__main__ import TABLES

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAX_LINES = 150


def pages() -> list[str]:
    """The Markdown files of the repository, without the tables that a report or a validation wrote."""
    folders = (".github", "results/validation", "rnnbench/check")
    globs = ROOT.rglob("README.md"), *((ROOT / folder).glob("*.md") for folder in folders)
    return sorted(
        {
            str(file.relative_to(ROOT))
            for files in globs
            for file in files
            if not any(part.startswith(".") and part != ".github" for part in file.relative_to(ROOT).parts)
        }
    )


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", pages())
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        target = page if not path else page.parent / path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_front_page_is_short_and_leads_to_all_others() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= MAX_LINES
    linked = {str(Path(link.partition("#")[0])) for link in LINK.findall(text)}
    others = {name for name in pages() if name.endswith("README.md") or name.startswith(".github")}
    assert others - linked == {"README.md"}


def test_every_path_of_the_code_that_a_page_names_is_there() -> None:
    named = re.compile(r"`((?:rnnbench|tests|suites)/[\w./-]+\.\w+)(?:::\w+[^`]*)?`")
    for name in pages():
        for path in named.findall((ROOT / name).read_text()):
            assert (ROOT / path).exists(), f"{name}: {path}"


@pytest.mark.parametrize(("name", "fewest"), [("broken.md", 20), ("cheats.md", 6)])
def test_every_test_that_a_table_names_exists(name: str, fewest: int) -> None:
    table = (ROOT / "results" / "validation" / name).read_text()
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", table)
    assert len(named) >= fewest
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_every_kept_table_is_one_that_a_program_makes() -> None:
    kept = {file.stem for file in (ROOT / "results" / "validation").glob("*.csv")}
    assert kept == set(TABLES)


def test_every_command_that_a_page_shows_is_one() -> None:
    for name in pages():
        shown = re.findall(r"^(?:    |\$ )rnnbench ([\w-]+)", (ROOT / name).read_text(), re.MULTILINE)
        assert set(shown) <= set(cli.commands), name


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table.is_of_processor])
def test_tables_that_keep_rows_of_other_processors_name_the_processor_of_each(name: str) -> None:
    rows = pd.read_csv(ROOT / "results" / "validation" / f"{name}.csv")
    assert rows["processor"].notna().all()


def test_the_front_page_shows_the_numbers_of_the_run_that_it_names() -> None:
    page = (ROOT / "README.md").read_text()
    run = ROOT / re.findall(r"\(results/(quick-[\w-]+)\)", page)[0].join(("results/", ""))
    summary = summarize(read(run))
    chosen = summary[summary["phase"].eq("inference") & summary["batch_size"].eq(1)]
    printed = {" ".join(line.split()) for line in screens.of_run(chosen, read_info(run)).splitlines()}
    block = re.findall(r"^    .*\d×.*$", page.partition("## Measure")[2].partition("## Check")[0], re.MULTILINE)
    assert len(block) > 5
    assert {" ".join(line.split()) for line in block} <= printed
