import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pandas as pd
import pytest

from rnnbench.analysis.runs.noise import Noise
from rnnbench.errors import UserError
from rnnbench.report.page.compact import MAX_OPEN_ROWS
from rnnbench.report.page.page import PAGE
from rnnbench.store.run_info import RunInfo
from tests.doubles.once import made_once
from tests.doubles.pages import written
from tests.report.conftest import (
    Summaries,
    info_with,
    of_an_older_version,
    renamed,
    with_none_measured,
    with_one_replicate,
    with_unknown_metrics,
    without_reference,
)

FIGURES = ("ratio", "ratio_by_size")
NOISE = Noise(0.01, 0.02, 1, 20, 0.003)
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


@pytest.fixture(scope="module")
def report(made_up: Summaries, info: RunInfo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = Path("new", "report")
    made = made_once(
        tmp_path_factory, "report-of-quick", lambda folder: written(made_up("quick"), NOISE, info, folder / place)
    )
    return made / place / PAGE


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page(report.read_text(encoding="utf-8"))


def test_files_have_stable_names(report: Path) -> None:
    paths = {str(file.relative_to(report.parent)) for file in report.parent.rglob("*") if file.is_file()}
    figures = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    names = ("medians", "ratios", "fastest", "relative_costs", "costs", "parameters", "not_measured", "environment")
    kinds = ("csv", "md", "tex")
    assert paths == {"index.html", ".rnnbench-report"} | figures | {
        f"tables/{name}.{kind}" for name in names for kind in kinds
    }


def test_every_link_leads_somewhere(report: Path, page: Page) -> None:
    ids = page.all("id")
    for link in (value for tag, name, value in page.attributes if tag == "a" and name == "href"):
        assert link[1:] in ids if link.startswith("#") else (report.parent / link).is_file(), link


def test_the_page_loads_nothing_from_elsewhere(report: Path, page: Page) -> None:
    assert not {"iframe", "object", "embed", "base"} & set(page.tags)
    assert page.tags.count("script") == 2  # its own, which names no address, and the cases as data
    assert "://" not in resources.files("rnnbench.report.page").joinpath("templates/page.js").read_text(
        encoding="utf-8"
    )
    policy = next(value for value in page.all("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert not [value for _, name, value in page.attributes if name in LOADS]
    references = [value for tag, name, value in page.attributes if tag != "a" and name in ("href", "xlink:href")]
    assert all(value.startswith(("#", "data:")) for value in references)
    assert not re.search(r"@import|url\((?!#)", report.read_text(encoding="utf-8"))


def test_the_page_of_quick_is_below_3_mb(report: Path) -> None:
    assert report.stat().st_size < 3_000_000


def test_ids_do_not_clash_and_references_are_met(page: Page) -> None:
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.all("xlink:href") if value.startswith("#")} <= set(ids)
    clips = re.findall(r"url\(#([^)]*)\)", " ".join(page.all("clip-path") + page.all("style")))
    assert clips
    assert set(clips) <= set(ids)


def test_the_answer_and_the_headline_figure_come_before_anything_else(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    positions = [text.index(part) for part in ("<h1>", "hand-written cells take", 'id="figure-ratio"', "<h2 ")]
    assert positions == sorted(positions)


def test_figures_and_tables_have_names_for_those_who_cannot_see_them(page: Page) -> None:
    images = [value for _, name, value in page.attributes if (name, value) == ("role", "img")]
    assert len(images) == page.tags.count("svg") == len(FIGURES)
    assert page.tags.count("table") == page.tags.count("h3") == 8
    assert page.all("scope").count("col") == sum(tag == "th" for tag in page.tags) - page.all("scope").count("row")


def test_hostile_names_are_shown_as_text(notebook: pd.DataFrame, info: RunInfo, tmp_path: Path) -> None:
    name = 'x.py:<script>alert("1")</script>'
    hostile = info_with(info, command="rnnbench <img src=x>", notes=["<b>&"], environment={"<i>": "<u>"})
    cases = renamed(notebook.query("phase == 'training' and num_layers == 1"), "vanilla", name)
    page = Page(written(cases, NOISE, hostile, tmp_path).read_text(encoding="utf-8"))
    assert not {"img", "b", "i", "u"} & set(page.tags)
    assert page.tags.count("script") == 2
    assert f"{name} loop" in page.text
    assert "rnnbench <img src=x>" in page.text
    assert "<script>" not in (tmp_path / "tables" / "ratios.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        with_one_replicate,
        with_none_measured,
        without_reference,
        of_an_older_version,
        with_unknown_metrics,
        lambda summary: summary.head(0),
    ],
)
def test_poor_runs_are_reported_too(
    notebook: pd.DataFrame, info: RunInfo, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    cases = notebook.query("phase == 'training' and cell in ('combined', 'deep-notebook', 'torch.nn.RNN')")
    page = Page(written(change(cases), NOISE, info, tmp_path).read_text(encoding="utf-8"))
    assert "nan" not in re.findall(r"[a-z]+", page.text)
    assert all((tmp_path / link).is_file() for link in page.all("href") if link.startswith(("figures", "tables")))


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_how_near_the_limit_only_where_that_is_known(
    report: Path, notebook: pd.DataFrame, info: RunInfo, tmp_path: Path
) -> None:
    sentence = "comes closest to the hardware limit"
    assert sentence in report.read_text(encoding="utf-8")
    older = written(of_an_older_version(notebook[notebook["phase"] == "training"]), NOISE, info, tmp_path)
    assert sentence not in older.read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_an_interrupted_run_says_so(notebook: pd.DataFrame, info: RunInfo, tmp_path: Path) -> None:
    index = written(notebook.head(3), NOISE, info_with(info, status="interrupted"), tmp_path)
    assert "this run was interrupted" in index.read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_a_long_table_is_folded_away(made_up: Summaries, info: RunInfo, tmp_path: Path) -> None:
    summary = made_up("cpu").head(MAX_OPEN_ROWS + 1)
    text = written(summary, NOISE, info, tmp_path).read_text(encoding="utf-8")
    assert "<details>" in text
    assert f"case by case ({len(summary):,} rows)</summary>" in text


@pytest.mark.usefixtures("undrawn")
def test_a_folder_that_cannot_be_written_is_the_users_error(
    notebook: pd.DataFrame, info: RunInfo, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r".*file: can't be written: "):
        written(notebook.head(3), NOISE, info, tmp_path / "file")
