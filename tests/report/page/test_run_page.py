"""The page as a browser shows it: what a reader sees, clicks, types and prints."""

import csv
import io
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from rnnbench.analysis.runs.noise import Noise, noise
from rnnbench.analysis.runs.run_times import read
from rnnbench.analysis.runs.summary import summarize
from rnnbench.report.page.compact import FIRST_ROWS, MAX_OPEN_ROWS
from rnnbench.report.page.page import PAGE
from rnnbench.store.folder import read_info
from rnnbench.store.records import Case, Measurement, Phase, Workload
from rnnbench.store.run_info import RunInfo
from tests.doubles import stored
from tests.doubles.browser import Opened
from tests.doubles.once import made_once
from tests.doubles.pages import written
from tests.report.conftest import Summaries

pytestmark = pytest.mark.needs("chromium")

HOSTILE = "x.py:<script>alert(1)</script>"
SLOW = {"torch.nn": 1.0, "loop": 3.0, "hoisted": 2.0}
SHOWN = "tbody tr:not([hidden])"


def cases() -> dict[Case, list[list[float]]]:
    """torch.nn and three hand-written series at two batch and hidden sizes; larger batches are nearer to torch.nn."""
    generator = np.random.default_rng(3)
    times: dict[Case, list[list[float]]] = {}
    for phase in get_args(Phase)[:2]:
        for batch, hidden in ((1, 64), (1, 256), (32, 64), (32, 256)):
            workload = Workload("lstm", phase, "many_to_many", batch, 16, 64, hidden, 10, 1, "float32", "cpu", 1)
            plain = 1e-6 * batch * hidden
            variants = [("torch.nn.LSTM", "torch.nn"), ("lstm", "loop"), ("lstm", "hoisted"), (HOSTILE, "loop")]
            for cell, implementation in variants:
                slow = 1 + (SLOW[implementation] - 1) / batch**0.5
                case = Case(cell, implementation, workload)  # type: ignore[arg-type]
                times[case] = [list(plain * slow * generator.uniform(1, 1.03, 5)) for _ in range(4)]
    return times


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    measured = cases()
    workload = next(iter(measured)).workload
    skipped = Measurement(Case("combined", "hoisted", workload), "skipped", reason="=nothing, to hoist")

    def make(folder: Path) -> None:
        run = stored.folder(folder / "results", measured, [skipped])
        times = read(run)
        written(summarize(times), noise(times), read_info(run), folder / "report")

    return made_once(tmp_path_factory, "report-in-a-browser", make) / "report" / PAGE


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    opened = Opened(browser, report.as_uri(), permissions=["clipboard-read", "clipboard-write"])
    yield opened.page
    opened.close()


def column(table: Locator, header: str) -> list[str]:
    """The texts of the visible rows in the first column with this header."""
    index = table.locator("thead th").all_inner_texts().index(header)
    return [row.split("\t")[index] for row in table.locator(SHOWN).all_inner_texts()]


def numbers(table: Locator, header: str) -> list[float]:
    return [float(re.sub("[^0-9.]", "", text) or "nan") for text in column(table, header)]


def test_the_first_screen_has_the_answer_and_the_whole_figure(page: Page) -> None:
    expect(page.locator(".answer")).to_contain_text("times as long as torch.nn")
    box = page.locator("#figure-ratio svg").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 800
    assert page.locator("#figure-ratio svg").count() == 1


def test_a_click_on_a_heading_sorts_by_number_up_then_down_then_not(page: Page) -> None:
    table = page.locator("#table-ratios table")
    as_it_was = column(table, "cell")
    button = table.get_by_role("button", name="ratio", exact=True)
    button.click()
    ratios = numbers(table, "ratio")
    assert ratios[:-1] == sorted(ratios[:-1])
    assert np.isnan(ratios[-1])  # the skipped case comes last, up and down
    expect(table.locator("th[aria-sort=ascending]")).to_have_text("ratio")
    expect(page.get_by_role("status")).to_contain_text("sorted by ratio, ascending")
    button.click()
    ratios = numbers(table, "ratio")
    assert ratios[:-1] == sorted(ratios[:-1], reverse=True)
    assert np.isnan(ratios[-1])
    button.click()
    assert column(table, "cell") == as_it_was
    assert table.locator("th[aria-sort=ascending], th[aria-sort=descending]").count() == 0


def test_times_are_sorted_across_units_and_equal_rows_keep_their_order(page: Page) -> None:
    table = page.locator("#table-ratios table")
    table.get_by_role("button", name="time", exact=True).click()
    assert {"ms", "µs"} <= {text.split()[-1] for text in column(table, "time") if " " in text}
    values = [float(value) for value in table.locator("tbody td:nth-child(5)[data-value]").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)")]  # fmt: skip
    assert values == sorted(values)
    table.get_by_role("button", name="batch", exact=True).click()
    small = page.locator("#table-ratios tbody tr").evaluate_all(
        "rows => rows.map(row => row.dataset.cases.split(' ').map(Number)[0])"
    )
    assert sorted(small[:17]) != small[:17]  # within a batch size, the order of the page: by workload
    assert column(table, "batch") == ["1"] * 17 + ["32"] * 16


def test_the_keyboard_sorts_and_keeps_its_place(page: Page) -> None:
    table = page.locator("#table-medians table")
    table.get_by_role("button", name="cell", exact=True).focus()
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(table.locator("th[aria-sort=ascending]")).to_have_text("median ratio")
    page.keyboard.press("Space")
    expect(table.locator("th[aria-sort=descending]")).to_have_text("median ratio")
    assert page.evaluate("document.activeElement.textContent") == "median ratio"


def choose(page: Page, axis: str, value: str) -> None:
    page.get_by_role("group", name=axis, exact=True).get_by_text(value, exact=True).click()


def test_a_filter_acts_on_every_table_and_figure_and_stays_in_the_address(page: Page) -> None:
    page.get_by_role("button", name="Filter").click()
    choose(page, "batch", "32")
    choose(page, "implementation", "hoisted")
    expect(page.get_by_role("button", name="Filter")).to_have_text("Filter: 8 of 33 cases")  # the references stay
    for name in ("ratios", "costs"):
        table = page.locator(f"#table-{name} table")
        assert set(column(table, "batch")) == {"32"}
        assert set(column(table, "cell")) == {"torch.nn.LSTM", "lstm hoisted"}
    assert set(column(page.locator("#table-medians table"), "cell")) == {"lstm hoisted"}
    expect(page.locator("#table-medians .count")).to_have_text("2 of 7 rows")
    expect(page.locator("#table-medians .whole")).to_contain_text("Each row is over all of its sizes")
    for figure in ("ratio", "ratio_by_size"):
        marks = page.locator(f"#figure-{figure} svg [data-cases]:has(> title)")
        bright = marks.locator("xpath=self::*[not(contains(@class, 'out'))]").locator("title").all_text_contents()
        assert {text.split(";")[0] for text in bright} == {
            f"lstm hoisted, {phase}, batch 32, hidden {hidden}"
            for phase in ("inference", "training")
            for hidden in (64, 256)
        }
        assert marks.count() >= 24
    assert "implementation=hoisted&batch_size=32" in page.url
    page.reload()
    expect(page.get_by_role("button", name="Filter")).to_have_text("Filter: 8 of 33 cases")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#table-ratios").locator(SHOWN).count() == 33
    assert page.locator("svg .out").count() == 0
    page.keyboard.press("Escape")
    expect(page.locator("#filters")).to_be_hidden()


def test_a_search_leaves_the_rows_that_hold_it_and_tells_how_many(page: Page) -> None:
    page.get_by_role("searchbox", name="case by case").fill("HOISTED")
    assert set(column(page.locator("#table-ratios table"), "cell")) == {"lstm hoisted", "combined hoisted"}
    expect(page.locator("#table-ratios .count")).to_have_text("9 of 33 rows")
    expect(page.get_by_role("status")).to_contain_text("9 of 33 rows")
    expect(page.locator("#table-not_measured .count")).to_have_text("1 row")


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("lstm 32", 12),  # in different cells, in any order
        ("32 LSTM", 12),
        ("lstm batch 32", 12),  # a heading is no value
        ("hoisted training 32 64", 1),
        ("3", 0),  # a whole number is no part of another
        ("absent", 0),
    ],
)
def test_a_search_for_several_words_finds_the_rows_that_have_each_of_them_in_some_cell(
    page: Page, query: str, rows: int
) -> None:
    page.get_by_role("searchbox", name="case by case").fill(query)
    expect(page.locator("#table-ratios .count")).to_have_text(f"{rows} of 33 rows")


def test_a_table_is_copied_as_csv_with_the_numbers_in_full_as_it_is_seen(page: Page) -> None:
    page.get_by_role("searchbox", name="case by case").fill("hoisted")
    page.locator("#table-ratios").get_by_role("button", name="ratio", exact=True).click()
    page.get_by_role("button", name="Copy as CSV: Time per call").click()
    expect(page.locator("#table-ratios").get_by_text("Copied")).to_be_visible()
    rows = list(csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))
    assert {"cell", "batch_size", "seconds", "seconds_low", "seconds_high", "ratio", "ratio_low"} <= set(rows[0])
    ratios = [float(row["ratio"]) for row in rows[:-1]]
    assert ratios == sorted(ratios)
    assert all(float(row["ratio_low"]) < float(row["ratio"]) < float(row["ratio_high"]) for row in rows[:-1])
    assert len(rows[0]["seconds"]) > 6
    assert (rows[-1]["cell"], rows[-1]["seconds"], rows[-1]["batch_size"]) == ("combined hoisted", "", "1")
    page.get_by_role("button", name="Copy as CSV: Skipped").click()
    expect(page.locator("#table-not_measured").get_by_text("Copied")).to_be_visible()
    assert '"\'=nothing, to hoist"' in page.evaluate("navigator.clipboard.readText()")


def test_every_link_leads_to_what_it_names(page: Page, report: Path) -> None:
    for link in page.locator("nav a").all():
        link.click()
        target = page.locator(f"#{(link.get_attribute('href') or '')[1:]}")
        expect(target).to_be_in_viewport()
        expect(page.locator("nav a[aria-current]")).to_have_count(1)
    files = [link.get_attribute("href") or "" for link in page.locator("#files li a").all()]
    assert len(files) == 27
    assert all((report.parent / name).is_file() for name in files)


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_is_wider_than_the_window(browser: Browser, report: Path, width: int) -> None:
    opened = Opened(browser, report.as_uri(), viewport={"width": width, "height": 800})
    opened.page.get_by_role("button", name="Filter").click()
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.close()


def brightness(page: Page) -> float:
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3


def test_dark_follows_the_system_until_the_reader_chooses_which_is_kept(browser: Browser, report: Path) -> None:
    opened = Opened(browser, report.as_uri(), color_scheme="dark")
    page = opened.page
    assert brightness(page) < 40
    letters = page.locator("#figure-ratio svg").first
    assert letters.evaluate("svg => getComputedStyle(svg).fill") == "rgb(230, 234, 238)"
    page.get_by_role("button", name="Light").click()
    assert brightness(page) > 250
    page.reload()
    assert brightness(page) > 250
    opened.close()


def test_a_cell_named_like_a_script_is_text_everywhere(page: Page, report: Path) -> None:
    assert HOSTILE.removeprefix("x.py:") in column(page.locator("#table-ratios table"), "cell")[3]
    titles = page.locator("#figure-ratio title").all_text_contents()
    assert any(HOSTILE in title for title in titles)
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#filters")).to_contain_text(HOSTILE)
    for file in report.parent.rglob("*.md"):
        assert "<script>" not in file.read_text(encoding="utf-8")
    for file in report.parent.rglob("*.svg"):
        assert "<script" not in file.read_text(encoding="utf-8").replace("<!--", "")


def test_no_other_script_runs_on_the_page(browser: Browser, report: Path) -> None:
    opened = Opened(browser, report.as_uri())
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))"
    )
    assert opened.page.evaluate("window.ran") is None
    assert "Content Security Policy" in opened.faults.pop()
    opened.close()


def test_without_scripts_all_is_there_to_read_and_no_button_is_dead(browser: Browser, report: Path) -> None:
    opened = Opened(browser, report.as_uri(), java_script_enabled=False)
    page = opened.page
    assert page.locator("#table-ratios tbody tr:visible").count() == 33
    assert page.locator("button, input").count() == 0
    expect(page.locator(".answer")).to_be_visible()
    opened.close()


def test_on_paper_there_are_no_controls_and_tables_are_whole(page: Page) -> None:
    page.emulate_media(media="print")
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator(".tools").first).to_be_hidden()
    is_cut = "boxes => boxes.some(box => box.scrollHeight > box.clientHeight + 1)"
    assert not page.locator(".scroll").evaluate_all(is_cut)
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 2


def test_headings_regions_and_figures_have_names(page: Page) -> None:
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for image in page.get_by_role("img").all():
        assert len(image.get_attribute("aria-label") or "") > 40
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the answer")


@pytest.mark.usefixtures("undrawn")
def test_a_long_table_is_complete_as_soon_as_it_is_opened(
    browser: Browser, made_up: Summaries, info: RunInfo, tmp_path: Path
) -> None:
    summary = made_up("cpu").head(MAX_OPEN_ROWS + 60)
    opened = Opened(browser, written(summary, Noise(0.01, 0.02, 0, 9, 0.0), info, tmp_path).as_uri())
    page = opened.page
    rows = page.locator("#table-ratios tbody tr")
    assert rows.count() == FIRST_ROWS
    assert "has all 260" in (page.locator("#table-ratios noscript").text_content() or "")
    page.get_by_text(f"case by case ({len(summary)} rows)").click()
    expect(rows).to_have_count(len(summary))
    expect(page.locator("#table-ratios .count")).to_have_text(f"{len(summary)} rows")
    whole = page.locator("#table-ratios table")
    whole.get_by_role("button", name="ratio", exact=True).click()
    ratios = [value for value in numbers(whole, "ratio") if not np.isnan(value)]
    assert ratios == sorted(ratios)
    assert len(ratios) > FIRST_ROWS
    page.get_by_role("button", name="Filter").click()
    choose(page, "implementation", "hoisted")
    cells = column(whole, "cell")
    assert any(cell.endswith("hoisted") for cell in cells)
    assert not any(cell.endswith("loop") for cell in cells)
    opened.close()
