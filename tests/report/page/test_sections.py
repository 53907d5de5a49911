from dataclasses import replace

import pandas as pd
import pytest

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.figures import all_figures
from rnnbench.report.page import run_page, sections
from rnnbench.report.page.page import html
from rnnbench.report.page.section import Commands, Drawn, Listed, Paragraph, Section, Warnings
from rnnbench.report.page.sections import Content
from rnnbench.report.tables import all_tables
from rnnbench.store.run_info import RunInfo
from tests.report.conftest import info_with, with_none_measured

NOISE = Noise(0.01, 0.02, 1, 20, 0.003)


@pytest.fixture
def content(notebook: pd.DataFrame, info: RunInfo) -> Content:
    few = notebook[notebook["phase"] == "training"].reset_index(drop=True)
    return Content(few, NOISE, info, {}, all_tables.render(few, info))


def words(section: Section) -> str:
    return " ".join(part.text for part in section.parts if isinstance(part, Paragraph))


def test_every_table_and_figure_stands_in_one_section(quick: pd.DataFrame, info: RunInfo) -> None:
    pictures = {name: all_figures.Picture(name, name, name, "", b"") for name, *_ in all_figures.FIGURES}
    everything = Content(quick, NOISE, info, pictures, all_tables.render(quick, info))
    parts = [part for section in sections.of(everything) for part in section.parts]
    assert sorted(part.table.name for part in parts if isinstance(part, Listed)) == sorted(everything.tables)
    drawn = [part.picture.name for part in parts if isinstance(part, Drawn)]
    assert sorted([run_page.FIRST, *drawn]) == sorted(pictures)


def test_ids_are_stable_since_links_name_them(content: Content) -> None:
    assert [section.id for section in sections.of(content)] == [
        "far", "grows", "costs", "limit", "missing", "measured"
    ]  # fmt: skip


def test_another_section_takes_one_function_and_its_place(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    def why(_: Content) -> Section:
        return Section("why", "Why is it slower?", "Why", [Paragraph("Dispatch & more.")])

    monkeypatch.setattr(sections, "SECTIONS", (*sections.SECTIONS, why, lambda _: None))
    page = html(run_page.run_page(content))
    assert '<a href="#why">Why</a>' in page
    assert "<p>Dispatch &amp; more.</p>" in page


def test_how_it_was_measured_has_commands_precision_noise_and_notes(content: Content) -> None:
    with_target = info_with(content.info, resolved={"measure": {"precision": 0.02}})
    measured = sections.measured(replace(content, info=with_target))
    (commands,) = (part for part in measured.parts if isinstance(part, Commands))
    assert commands.lines == ("rnnbench run quick", "rnnbench report results/made-up")
    assert "The target was ±2% for every ratio; " in words(measured)
    assert "Noise floor: a case differs from itself by ±1.0%" in words(measured)
    (notes,) = (part for part in measured.parts if isinstance(part, Warnings))
    assert notes.lines == tuple(with_target.notes)


def test_what_is_not_known_is_said_in_its_place(content: Content) -> None:
    nothing = with_none_measured(content.summary)
    empty = replace(content, summary=nothing, tables=all_tables.render(nothing, content.info))
    texts = {section.id: words(section) for section in sections.of(empty)}
    assert texts["grows"].startswith("No batch, length or hidden size")
    assert "is not known" in texts["limit"]
    assert "0 replicates" in texts["measured"]
    whole = content.summary[content.summary["status"] == "measured"]
    done = replace(content, summary=whole, tables=all_tables.render(whole, content.info))
    assert {section.id: words(section) for section in sections.of(done)}["missing"].startswith("Nothing: every case")
