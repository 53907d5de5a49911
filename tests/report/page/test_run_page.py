"""The page of a run: what stands on it, and what a reader sees, clicks, types and prints in a browser."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import Noise, summarize
from rnnbench.report.case_tables import table_of_cases
from rnnbench.report.facts import counted
from rnnbench.report.page.page import html
from rnnbench.report.reports import run_page
from rnnbench.report.table import Table
from rnnbench.report.words.units import digits
from rnnbench.store.run_info import RunInfo
from tests.doubles.browser import Opened
from tests.doubles.every_page import QUICK
from tests.report.conftest import (
    info_with,
    with_none_measured,
    with_one_replicate,
    without_any_reference,
)

NOISE = Noise(0.01, 0.02, 20, 0.003)
IDS = ["cases", "measured", "environment", "missing"]
CASES = 70  # of `quick`, with its references


@cache
def table_of_quick() -> Table:
    """The table of all cases of `quick` as its page has it."""
    return table_of_cases(summarize(read_run_times(QUICK)), is_worst_first=True)


@cache
def parts_of_quick() -> list[tuple[str, int]]:
    """The parts of the table of `quick` that are seen at first: the series of each and its cases; no references."""
    table = table_of_quick()
    return [(head[0], len(rows)) for head, rows in table.parts() if rows[0][0] not in table.hidden]


@cache
def part_with_both_units() -> tuple[str, int]:
    """The series of a part with times in microseconds and in milliseconds, and which part of this series it is."""
    table = table_of_quick()
    time, seen = table.headers.index("time"), list[str]()
    for head, rows in table.parts():
        if {row[time].split()[-1] for _, row in rows if row[time].strip("—")} >= {"µs", "ms"}:
            return head[0], seen.count(head[0])
        seen.append(head[0])
    raise AssertionError("the times of each part have one unit")


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="([^"]*)"', page)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("change", "ids"),
    [
        (lambda quick: quick, IDS),
        (with_one_replicate, IDS),
        (with_none_measured, IDS),
        (without_any_reference, IDS),
        (lambda quick: quick[quick["status"] == "measured"], IDS[:-1]),
        (lambda quick: quick.head(0), IDS[1:-1]),
    ],
)
def test_a_section_is_there_only_if_it_has_content(quick: pd.DataFrame, info: RunInfo, change, ids: list[str]) -> None:
    page = html(run_page(change(quick), NOISE, info, again="rnnbench report here --out there"))
    assert sections(page) == ids
    assert "nan" not in re.findall(r"[a-z]+", re.sub("<[^>]*>", " ", page.partition("<body")[2]))
    assert "rnnbench report here --out there" in page


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_what_a_reader_must_know_first(notebook: pd.DataFrame, info: RunInfo) -> None:
    page = html(run_page(notebook.head(3), NOISE, info_with(info, status="interrupted")))
    assert "this run was interrupted" in page
    for cold, count in ((True, 1), (False, 0)):
        page = html(run_page(notebook.assign(caches="cold" if cold else "warm"), NOISE, info))
        assert page.count("caches flushed before every call") >= count
        assert ("flushed" in page) == cold


@pytest.fixture
def opened(browser: Browser, pages: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Opened]:
    opened = Opened(browser, pages["run"].as_uri(), **getattr(request, "param", {}))
    yield opened
    opened.close()


@pytest.fixture
def page(opened: Opened) -> Page:
    return opened.page


def cells(table: Locator, header: str) -> list[str]:
    """The texts of the visible rows in the column with this header."""
    index = [text.split("\n")[0] for text in table.locator("thead th:visible").all_inner_texts()].index(header)
    return [row.split("\t")[index] for row in table.locator("tbody tr:visible").all_inner_texts()]


def numbers(table: Locator, header: str) -> list[float]:
    return [float(re.sub("[^0-9.]", "", text) or "nan") for text in cells(table, header)]


in_a_browser = pytest.mark.needs("chromium")


@in_a_browser
def test_the_first_screen_has_the_answer_and_the_whole_figure_and_every_link_leads_somewhere(
    page: Page, pages: dict[str, Path]
) -> None:
    expect(page.locator(".answer")).to_contain_text("times as long as torch.nn")
    for panel in page.locator("#figure-ratio svg").all():
        box = panel.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800
    for link in page.locator("nav a").all():
        link.click()
        expect(page.locator(link.get_attribute("href") or "")).to_be_in_viewport()
        expect(page.locator("nav a[aria-current]")).to_have_count(1)
    files = [link.get_attribute("href") or "" for link in page.locator(".files a").all()]
    assert len(files) == 2 * 2 * 2 + 4 * 3  # two figures of two panels; fastest, cases, medians, environment
    assert all((pages["run"].parent / name).is_file() for name in files)


@in_a_browser
def test_heads_fold_their_cases_and_a_click_on_a_heading_sorts_both(page: Page) -> None:
    table = page.locator("#table-cases table")
    heads = len(parts_of_quick())
    assert len(cells(table, "cell")) == heads
    page.get_by_role("button", name="lstm hoisted", exact=True).first.click()
    assert len(cells(table, "cell")) == heads + next(size for name, size in parts_of_quick() if name == "lstm hoisted")
    page.get_by_role("button", name="Show all cases").click()
    assert len(cells(table, "cell")) == heads + sum(size for _, size in parts_of_quick())
    page.get_by_role("button", name="Show medians alone").click()
    as_it_was = cells(table, "cell")
    for direction in (1, -1):
        table.get_by_role("button", name="ratio", exact=True).click()
        ratios = numbers(table, "ratio")
        known = sorted((ratio for ratio in ratios if not np.isnan(ratio)), reverse=direction < 0)
        assert ratios[: len(known)] == known  # skipped cases come last, up and down
        assert len(known) < len(ratios)
    expect(page.get_by_role("status")).to_contain_text("sorted by ratio, descending")
    table.get_by_role("button", name="ratio", exact=True).click()
    assert cells(table, "cell") == as_it_was
    assert table.locator("th[aria-sort=ascending], th[aria-sort=descending]").count() == 0


@in_a_browser
def test_times_are_sorted_across_units_and_costs_are_shown_when_asked_for(page: Page) -> None:
    table = page.locator("#table-cases table")
    name, place = part_with_both_units()
    page.get_by_role("button", name=name, exact=True).nth(place).click()
    table.get_by_role("button", name="time", exact=True).click()
    place = [text.split("\n")[0] for text in table.locator("thead th:visible").all_inner_texts()].index("time")
    rows = table.locator("tbody tr:not(.head):visible").all_inner_texts()
    times = [row.split("\t")[place] for row in rows if row.split("\t")[place].strip()]
    assert {text.split()[-1] for text in times} == {"µs", "ms"}
    seconds = [float(text.split()[0]) * {"µs": 1e-6, "ms": 1e-3}[text.split()[1]] for text in times]
    assert seconds == sorted(seconds)
    assert "parameters" not in " ".join(table.locator("thead th:visible").all_inner_texts())
    page.get_by_label("Costs beside time").first.check()
    assert "backend" in " ".join(table.locator("thead th:visible").all_inner_texts())


QUERIES = {
    "HOISTED": 16,
    "25": 0,  # a whole number is no part of another
    "lstm 32": 10,  # in different cells, in any order
    "absent": 0,
    "lstm batch 32": 10,  # a heading is no value
    "hoisted training 32 64": 4,
}


@in_a_browser
def test_a_search_leaves_the_rows_that_have_every_word_and_the_marks_of_their_cases(page: Page) -> None:
    for query, rows in QUERIES.items():
        page.get_by_role("searchbox").fill(query)
        expect(page.locator("#table-cases .count")).to_have_text(f"{rows} of {CASES} rows")
        assert page.locator("#table-cases tbody tr:not(.head):visible").count() == rows, query
        bright = page.locator("#figure-ratio use[data-case]:not(.out)")
        names = bright.evaluate_all("marks => marks.map((mark) => mark.dataset.title.split(';')[0])")
        assert len(names) <= rows, query
        assert all("hoisted" in name for name in names) or query != "HOISTED"


@in_a_browser
def test_buttons_choose_a_phase_and_a_batch_and_heads_say_the_medians_of_what_is_chosen(page: Page) -> None:
    table = page.locator("#table-cases table")
    frame = summarize(read_run_times(QUICK))
    page.get_by_role("button", name="inference", exact=True).click()
    heads = table.locator(".head:visible")
    assert set(cells(table, "phase")) == {"inference"}
    own = frame.query("cell == 'gru' and implementation == 'loop' and phase == 'inference'")
    gru = heads.filter(has_text="gru loop")
    expect(gru).to_contain_text(f"{digits(counted(own)['ratio'].median())}×")
    page.get_by_role("button", name="batch 32", exact=True).click()
    own = counted(own[own["batch_size"] == 32])
    shown = gru.inner_text().split("\t")
    assert float(shown[1].rstrip("×*")) == pytest.approx(own["ratio"].median(), rel=0.005)
    assert [float(end) for end in shown[2].split("–")] == pytest.approx(
        [own["ratio"].min(), own["ratio"].max()], rel=0.005
    )
    assert shown[-1].startswith(f"{len(own)} of ")
    expect(page.get_by_role("button", name="batch 32", exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="batch 32", exact=True).click()
    page.get_by_role("button", name="inference", exact=True).click()
    assert len(cells(table, "cell")) == len(parts_of_quick())


@in_a_browser
def test_references_are_shown_when_they_are_asked_for_and_the_worst_case_is_a_link(page: Page) -> None:
    table = page.locator("#table-cases table")
    assert not [name for name in cells(table, "cell") if name.startswith("torch.nn")]
    page.get_by_role("button", name="references").click()
    assert [name for name in cells(table, "cell") if name.startswith("torch.nn")]
    page.locator(".more a").first.click()
    expect(page.locator("tr:target")).to_be_in_viewport()
    ratios = numbers(table, "ratio")
    assert max(ratio for ratio in ratios if not np.isnan(ratio)) == float(
        page.locator("tr:target td").first.inner_text().rstrip("×*")
    )


@in_a_browser
@pytest.mark.parametrize(
    ("opened", "are_stacked"),
    [({"viewport": {"width": wide, "height": 800}}, wide == 390) for wide in (390, 830, 1280)],
    indirect=["opened"],
)
def test_panels_stand_beside_each_other_or_stack_and_none_is_cut_off(page: Page, *, are_stacked: bool) -> None:
    panels = page.locator("#figure-ratio svg")
    expect(panels).to_have_count(2)
    first, second = (panel.bounding_box() for panel in panels.all())
    assert first is not None
    assert second is not None
    assert (second["y"] >= first["y"] + first["height"]) == are_stacked
    assert (second["x"] >= first["x"] + first["width"]) == (not are_stacked)
    card = page.locator("#figure-ratio .card")
    assert card.evaluate("card => card.scrollWidth <= card.clientWidth + 1")


@in_a_browser
def test_a_mark_leads_to_its_row_and_the_row_back_by_pointer_and_keyboard(page: Page) -> None:
    card = page.get_by_role("region", name="How far each cell is from torch.nn")
    card.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tip")).to_contain_text("vanilla loop, inference")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#case="))  # the address is known only a moment after the key
    case = page.url.partition("#case=")[2]
    row = page.locator(f'[id="case={case}"]')
    expect(row).to_be_in_viewport()
    row.get_by_role("link").click()
    expect(page).to_have_url(re.compile(f"#mark={case}$"))
    expect(page.locator(".lit")).to_be_in_viewport()
    page.keyboard.press("Tab")
    card.focus()
    page.keyboard.press("Escape")
    expect(page.locator(".tip")).to_be_hidden()
    page.goto(page.url.partition("#")[0] + "#environment")
    expect(page.locator("#table-environment")).to_be_visible()


@in_a_browser
@pytest.mark.parametrize("opened", [{"viewport": {"width": 390, "height": 800}, "has_touch": True}], indirect=True)
def test_a_touch_on_a_mark_shows_what_it_is(page: Page) -> None:
    box = page.locator("#figure-ratio use[data-case]").first.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator(".tip")).to_contain_text("inference")
    page.locator(".tip a").click()
    expect(page.locator("tr:target")).to_be_in_viewport()
    ratio = page.locator("#table-cases .head td").first.bounding_box()
    assert ratio is not None
    assert ratio["x"] + ratio["width"] < 390  # without scrolling


def brightness(page: Page) -> float:
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3


@in_a_browser
@pytest.mark.parametrize("opened", [{"color_scheme": "dark"}], indirect=True)
def test_dark_follows_the_system_until_the_reader_chooses_and_there_is_a_way_back(page: Page) -> None:
    assert brightness(page) < 40
    page.get_by_role("button", name="auto").click()
    assert brightness(page) > 250
    for _ in range(5):  # Chromium does not always have what a page on disk stored at the next load, but at one after it
        page.reload()
        if brightness(page) > 250:
            break
    assert brightness(page) > 250
    page.get_by_role("button", name="light").click()
    page.get_by_role("button", name="dark").click()
    expect(page.get_by_role("button", name="auto")).to_be_visible()
    assert brightness(page) < 40


@in_a_browser
def test_the_page_loads_nothing_and_no_other_script_runs(opened: Opened, pages: dict[str, Path]) -> None:
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))"
    )
    assert opened.page.evaluate("window.ran") is None
    assert "Content Security Policy" in opened.faults.pop()
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", pages["run"].read_text(encoding="utf-8"))


@in_a_browser
@pytest.mark.parametrize("opened", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_all_is_there_to_read(page: Page) -> None:
    parts = len(list(table_of_quick().parts()))
    assert page.locator("#table-cases tbody tr:visible").count() == parts + CASES
    assert page.locator("button").count() == 0
    expect(page.locator(".answer")).to_be_visible()
