"""What holds for every page, as a browser shows it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.doubles import every_page
from tests.doubles.browser import Opened

pytestmark = pytest.mark.needs("chromium")

MAX_SHEETS = 5  # of paper for the report of quick
NAMES = (
    "run",
    "wide",
    "profile",
    "check",
    "interrupted",
    "together",
    "history",
    "benchmarks",
)
CUT = """() => [...document.querySelectorAll("figure svg")].flatMap((svg) => {
  const paper = svg.getBoundingClientRect();
  const parts = [...svg.querySelectorAll("use, path")].filter((part) => !part.closest("defs, [clip-path]"));
  const isCut = ({ left, right, top, bottom }) =>
    left < paper.left - 1 || right > paper.right + 1 || top < paper.top - 1 || bottom > paper.bottom + 1;
  const cut = parts.filter((part) => isCut(part.getBoundingClientRect()));
  return cut.map((part) => [svg.ariaLabel, part.parentElement.id]);
})"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return every_page.pages(tmp_path_factory)


@pytest.fixture(params=NAMES)
def opened(request: pytest.FixtureRequest, browser: Browser, pages: dict[str, Path]) -> Iterator[Opened]:
    opened = Opened(browser, pages[request.param].as_uri())
    opened.page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    yield opened
    opened.close()  # which fails if the page had an error


def test_links_within_the_page_lead_somewhere_and_ids_are_its_own(opened: Opened) -> None:
    ids = opened.page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert sorted(ids) == sorted(set(ids))
    links = opened.page.evaluate(
        "[...document.querySelectorAll('a[href], use')].map((link) => link.getAttribute('href'))"
    )
    assert {link[1:] for link in links if link.startswith("#") and not link.startswith("#mark=")} <= set(ids)
    names = "region => region.ariaLabel ?? document.getElementById(region.getAttribute('aria-labelledby')).textContent"
    regions = opened.page.evaluate(f"[...document.querySelectorAll('[role=region], section')].map({names})")
    assert sorted(regions) == sorted(set(regions))  # those who can't see the page go from region to region


def test_no_figure_is_cut_at_an_edge(opened: Opened) -> None:
    assert opened.page.evaluate(CUT) == []


@pytest.mark.parametrize("width", [400, 1300])
def test_what_is_wider_than_the_window_scrolls_in_its_own_box_beside_its_first_column(
    opened: Opened, width: int
) -> None:
    page = opened.page
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for box in page.locator(".scroll").all():
        is_wide = box.evaluate("box => box.scrollWidth > box.clientWidth + 40")
        if is_wide and box.locator("tbody th").count():
            box.evaluate("box => box.scrollTo(40, 0)")
            name = box.locator("tbody th").first
            assert name.evaluate("name => name.offsetWidth") <= 0.4 * width
            left, edge = (part.evaluate("part => part.getBoundingClientRect().left") for part in (name, box))
            assert abs(left - edge) <= 2


def test_a_report_fits_on_a_few_sheets_without_its_controls(browser: Browser, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["run"].as_uri())
    printed = opened.page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= MAX_SHEETS
    opened.page.emulate_media(media="print")
    for control in ("nav", ".tools", ".files", ".costs"):
        expect(opened.page.locator(control).first).to_be_hidden()
    is_cut = "boxes => boxes.some(box => box.scrollHeight > box.clientHeight + 1)"
    assert not opened.page.locator(".scroll:visible").evaluate_all(is_cut)
    opened.close()


def test_the_page_of_quick_is_small(browser: Browser, pages: dict[str, Path]) -> None:
    assert pages["run"].stat().st_size < 450_000
    opened = Opened(browser, pages["run"].as_uri())
    page = opened.page
    assert page.evaluate("document.documentElement.scrollHeight") <= 4_500
    text = "[...document.querySelectorAll('main :is(p, figcaption, h1, h2, h3)')].map((part) => part.innerText)"
    assert len(" ".join(page.evaluate(text)).split()) <= 400
    assert (page.locator("figure").count(), page.locator("table").count()) == (2, 3)
    opened.close()
