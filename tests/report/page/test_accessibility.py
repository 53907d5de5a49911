"""Every page, in light and in dark, as axe-core judges it: `make axe` installs axe-core by npm and runs this.

axe-core tests contrast, names, roles, landmarks and focus by the rules of WCAG 2. What it can't see, the other tests of
pages ask: that marks have names, that the keyboard reaches every control, and that verdicts have a glyph beside colour.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.doubles import every_page
from tests.doubles.browser import Opened
from tests.report.page.test_every_page import NAMES

AXE = Path(__file__).parents[3] / ".axe/node_modules/axe-core/axe.min.js"
pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.skipif(not AXE.exists(), reason=f"there is no {AXE.name}: `make axe` installs it"),
]
FAULTS = """async () => {
  const { violations } = await axe.run({ resultTypes: ["violations"] });
  return violations.map(({ impact, id, nodes }) => [impact, id, nodes.map((node) => node.target.join(" "))]);
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return every_page.pages(tmp_path_factory)


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
