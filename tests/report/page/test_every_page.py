"""What holds for every page, as a browser shows it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.doubles.browser import Opened

pytestmark = pytest.mark.needs("chromium")

AXE = Path(__file__).parents[3] / ".axe/node_modules/axe-core/axe.min.js"  # `make axe` installs it by npm
MAX_SHEETS = 5  # of paper for the report of quick
NAMES = (
    "run",
    "wide",
    "streams",
    "profile",
    "check",
    "interrupted",
    "together",
    "history",
)
FAULTS = """async () => {
  const { violations } = await axe.run({ resultTypes: ["violations"] });
  return violations.map(({ impact, id, nodes }) => [impact, id, nodes.map((node) => node.target.join(" "))]);
}"""
CUT = """() => [...document.querySelectorAll("figure svg")].flatMap((svg) => {
  const paper = svg.getBoundingClientRect();
  const parts = [...svg.querySelectorAll("use, path, text")].filter((part) => !part.closest("defs, [clip-path]"));
  const isCut = ({ left, right, top, bottom }) =>
    left < paper.left - 1 || right > paper.right + 1 || top < paper.top - 1 || bottom > paper.bottom + 1;
  const cut = parts.filter((part) => isCut(part.getBoundingClientRect()));
  return cut.map((part) => [svg.ariaLabel, part.parentElement.id]);
})"""

EMPTY = """(table) => {
  const rows = [...table.querySelectorAll("tbody tr")].filter((row) => row.offsetParent);
  const isEmpty = (head, place) => head.offsetParent && rows.every((row) => !row.cells[place].innerText.trim());
  return [...table.tHead.rows[0].cells].filter(isEmpty).map((head) => head.innerText);
}"""


@pytest.fixture(params=NAMES, scope="module")
def opened(request: pytest.FixtureRequest, browser: Browser, pages: dict[str, Path]) -> Iterator[Opened]:
    """A page that is loaded once for all tests that only look at it, in windows of any width."""
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


@pytest.mark.parametrize("width", [390, 1300])
def test_no_figure_is_cut_at_an_edge(opened: Opened, width: int) -> None:
    opened.page.set_viewport_size({"width": width, "height": 800})
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
    cases = opened.page.locator("#table-cases table")
    assert cases.evaluate(EMPTY) == []  # rows of medians have no sizes
    opened.page.emulate_media(media="screen")
    opened.page.get_by_role("button", name="Show all cases").click()
    opened.page.emulate_media(media="print")
    expect(cases.locator("th", has_text="hidden")).to_be_visible()
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


# axe-core tests contrast, names, roles, landmarks and focus by the rules of WCAG 2. What it can't see, other tests ask:
# that marks have names, that the keyboard reaches every control, and that verdicts have a glyph beside colour.
@pytest.mark.skipif(not AXE.exists(), reason="there is no axe-core: `make axe` installs it")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_no_fault(browser: Browser, pages: dict[str, Path], name: str, scheme: str) -> None:
    opened = Opened(browser, pages[name].as_uri(), color_scheme=scheme, bypass_csp=True)
    unfold(opened.page)
    opened.page.evaluate(AXE.read_text(encoding="utf-8"))
    assert opened.page.evaluate(FAULTS) == []
    opened.close()


def unfold(page: Page) -> None:
    """Show all that can be shown: what is folded, all cases, and their costs."""
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    if page.get_by_role("button", name="Show all cases").count():
        page.get_by_role("button", name="Show all cases").click()
        page.locator(".costs input").check()
