"""A flame graph as a browser shows it: zooming, searching, and what is seen without its script."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from rnnbench.report.figures import flame
from tests.doubles.browser import started

pytestmark = pytest.mark.needs("chromium")

STACKS = {
    ("lstm.py(45): forward",): 100,
    ("lstm.py(45): forward", "lstm.py(34): project", "aten::linear"): 200,
    ("lstm.py(45): forward", "lstm.py(38): advance", "aten::linear", "aten::addmm"): 300,
    ("lstm.py(45): forward", "lstm.py(38): advance", "aten::tanh"): 100,
    ("<b>other</b>",): 300,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    svg = flame.render(STACKS, "lstm loop")
    assert svg is not None
    path = tmp_path_factory.mktemp("flame") / "flame.svg"
    path.write_text(svg, encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1230, "height": 400})
    opened = context.new_page()
    faults: list[str] = []
    requests: list[str] = []
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(file.as_uri())
    yield opened
    context.close()
    assert not faults
    assert requests == [file.as_uri()]


def width(page: Page, name: str) -> float:
    box = page.locator(f'g[data-name="{name}"] rect').first.bounding_box()
    return 0.0 if box is None else box["width"]


def test_a_click_zooms_in_and_escape_shows_the_whole_call_again(page: Page) -> None:
    before = width(page, "lstm.py(38): advance")
    assert before == pytest.approx(0.4 * flame.WIDTH, abs=2)
    expect(page.get_by_role("button", name="Whole call")).to_be_hidden()
    page.locator('g[data-name="lstm.py(38): advance"]').click()
    assert width(page, "lstm.py(38): advance") == pytest.approx(flame.WIDTH, abs=2)
    assert width(page, "lstm.py(45): forward") == pytest.approx(flame.WIDTH, abs=2)  # what encloses it stays
    assert width(page, "aten::tanh") == pytest.approx(0.25 * flame.WIDTH, abs=2)
    expect(page.locator('g[data-name="lstm.py(34): project"]')).to_be_hidden()
    page.keyboard.press("Escape")
    assert width(page, "lstm.py(38): advance") == pytest.approx(before, abs=1)
    page.locator('g[data-name="aten::tanh"]').focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Whole call").click()
    assert width(page, "lstm.py(38): advance") == pytest.approx(before, abs=1)


def test_a_search_marks_frames_and_says_how_much_time_they_take(page: Page) -> None:
    page.get_by_label("Search frames").fill("LINEAR")
    expect(page.get_by_role("status")).to_have_text("2 frames, 50.0% of the time")
    assert page.locator("g.hit").count() == 2
    page.get_by_label("Search frames").fill("aten::")
    expect(page.get_by_role("status")).to_have_text("4 frames, 60.0% of the time")  # addmm is part of its linear
    page.get_by_label("Search frames").fill("")
    assert page.locator("g.hit").count() == 0


def test_names_are_only_text_and_the_dark_has_its_own_background(browser: Browser, file: Path, page: Page) -> None:
    assert page.locator("b").count() == 0
    assert page.locator('g[data-name="<b>other</b>"] title').text_content() == "<b>other</b>: 300 ns, 30.0%"
    context = browser.new_context(color_scheme="dark")
    dark = context.new_page()
    dark.goto(file.as_uri())
    assert dark.locator(".paper").evaluate("part => getComputedStyle(part).fill") == "rgb(17, 22, 27)"
    context.close()


def test_without_scripts_the_whole_call_is_there(browser: Browser, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(file.as_uri())
    assert plain.locator("g[data-name]").count() == 8
    assert plain.locator("input").count() == 0
    context.close()
