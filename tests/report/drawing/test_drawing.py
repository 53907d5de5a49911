"""Colours, marks of cells, files that are always the same bytes, ticks and names that have room."""

import io
import re
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import rnnbench.report.page
from rnnbench.cells import CELLS as SHIPPED
from rnnbench.report.drawing import pictures
from rnnbench.report.drawing.draw import among, short
from rnnbench.report.drawing.marks import (
    CELL_MARKS,
    FASTER,
    HEAT_COLOURS,
    HUES,
    INKS,
    MARKERS,
    ON_AREAS,
    SIZE_SHADES,
    SLOWER,
    VERDICTS,
    WORK_SHADES,
    hues_of,
    marks,
    of_cell,
    plain_and_fastest,
)
from rnnbench.report.drawing.pictures import picture, png, svg
from rnnbench.report.drawing.sheet import PANEL, sheet
from rnnbench.report.ratios import ratio
from rnnbench.report.words.names import with_series
from tests.doubles.pages import contrast
from tests.report.conftest import Summaries


def test_on_a_dark_background_letters_are_light_and_colours_have_their_dark_form() -> None:
    with plt.style.context("dark_background"):
        figure, axes = plt.subplots()
        with sheet(axes, 5, 5) as dark:
            assert (dark.ink(), dark.paper, dark.ink(FASTER)) == (INKS["ink"].dark, "#000000", FASTER.dark)
            assert contrast(dark.ink("soft"), dark.paper) > 4.5
    plt.close(figure)


def test_drawing_twice_gives_the_same_bytes_whose_letters_are_text_and_which_need_no_other_file(
    quick: pd.DataFrame,
) -> None:
    first, second = (ratio(quick[quick["phase"] == "training"]) for _ in range(2))
    assert first is not None
    assert second is not None
    text = svg(first)
    assert text == svg(second)
    assert png(first) == png(second)
    assert ">vanilla loop</text>" in text
    assert "'DejaVu Sans', Verdana, sans-serif" in text  # whatever fonts the viewer has
    assert not [part for part in ("<image", 'href="http') if part in text]


def test_a_picture_is_the_same_drawing_as_svg_and_as_png(quick: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "png", png)  # elsewhere in the tests a PNG is a pixel
    figure = ratio(quick[quick["phase"] == "training"])
    assert figure is not None
    [drawn] = picture("ratio", "Ratios", "All of them", figure).panels
    height, width = plt.imread(io.BytesIO(drawn.png)).shape[:2]
    [(wide, high)] = re.findall(r'<svg [^>]*width="([\d.]+)pt" height="([\d.]+)pt"', drawn.svg)
    assert width / height == pytest.approx(float(wide) / float(high), rel=0.01)


def test_numbers_below_an_axis_keep_both_ends_and_do_not_touch() -> None:
    assert among([1, 32], 1, 32, 10) == [1, 32]
    assert among([8], 7, 9, 10) == [8]
    kept = among([1, 2, 4, 8, 16, 32, 64, 100, 128, 256, 512, 1000], 1, 1000, 10)
    assert (kept[0], kept[-1]) == (1, 1000)
    assert not {100, 512} & set(kept)


def test_a_long_name_keeps_both_ends() -> None:
    assert short("lstm loop") == "lstm loop"
    assert short(f"package.{'x' * 200}.cells:MyLSTM loop", 30) == "package.xx…x.cells:MyLSTM loop"


# Marks of cells


def test_every_shipped_cell_has_a_mark_of_its_own() -> None:
    assert set(CELL_MARKS) == set(SHIPPED)
    assert len(set(CELL_MARKS.values())) == len(CELL_MARKS)
    assert {hue for hue, _ in CELL_MARKS.values()} <= set(HUES)
    assert {marker for _, marker in CELL_MARKS.values()} <= set(MARKERS)
    for reference in ("rnn", "lstm", "gru"):  # the cells of one reference have different hues
        hues = [CELL_MARKS[cell][0] for cell, spec in SHIPPED.items() if spec.reference == reference]
        assert len(set(hues)) == len(hues)


def test_a_cell_has_the_same_mark_whatever_else_is_shown(made_up: Summaries) -> None:
    whole = marks(with_series(made_up("ladder")))
    for cell in ("lstm", "gru", "vanilla", "combined"):
        summary = made_up("ladder")
        alone = marks(with_series(summary[summary["cell"].eq(cell) | summary["implementation"].eq("torch.nn")]))
        own = {name: mark for name, mark in alone.items() if name.startswith(cell)}
        assert own
        assert own == {name: whole[name] for name in own}


def test_only_the_plainest_implementation_of_a_cell_is_filled(made_up: Summaries) -> None:
    summary = made_up("ladder")
    later = summary[summary["implementation"].isin(["torch.nn", "prepacked", "compiled"])]
    for cases, plainest in ((summary, "lstm loop"), (later, "lstm compiled")):
        own = {name: mark for name, mark in marks(with_series(cases)).items() if "lstm" in name}
        assert [name for name in own if own[name].filled] == [plainest]


def test_another_cell_has_a_mark_by_its_name_and_a_free_hue_if_that_is_taken() -> None:
    own = [f"mine.py:Cell{number}" for number in range(7)]
    together = hues_of([*own, "lstm"])
    assert together == hues_of(["lstm", *reversed(own)])
    assert len({hue for hue, _ in together.values()}) == len(HUES)
    assert together["lstm"] == CELL_MARKS["lstm"]
    assert of_cell(own[0]) == HUES[hues_of(own[:1])[own[0]][0]]
    assert len(set(hues_of([f"cell {number}" for number in range(200)]).values())) > 40


def test_of_each_cell_the_plainest_and_the_fastest_are_left_or_of_many_the_fastest(made_up: Summaries) -> None:
    summary = made_up("ladder").query("reference == 'lstm' and phase == 'training'")
    fastest = summary[summary["cell"] == "lstm"].groupby("implementation")["ratio"].median().idxmin()
    kept = plain_and_fastest(with_series(summary), "ratio")
    assert set(kept["series"]) == {"torch.nn.LSTM", "lstm loop", f"lstm {fastest}", "torch.nn.LSTMCell"}
    summary = made_up("ladder").query("reference == 'rnn' and phase == 'training' and cell != 'torch.nn.RNNCell'")
    few = set(plain_and_fastest(with_series(summary), "ratio", 1)["series"])
    assert len(few) == 3  # vanilla, combined and the reference
    assert not any(name.endswith(" loop") for name in few)
    summary["ratio"] = float("nan")
    assert set(plain_and_fastest(with_series(summary), "ratio")["series"]) == {"torch.nn.RNN"}


# Colours

LETTERS, MARKS = 4.5, 3.0  # contrast that WCAG 2.2 asks of letters (1.4.3) and of marks (1.4.11)
PAPER = INKS["card"]
MARKED = {**HUES, "faster": FASTER, "slower": SLOWER, **VERDICTS, **{f"size {n}": s for n, s in enumerate(SIZE_SHADES)}}

# Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113, at full severity; on linear RGB.
BLIND = {
    "none": np.eye(3),
    "protan": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deutan": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritan": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


def oklab(color: str, kind: str) -> np.ndarray:
    """Ottosson's OKLab of a colour as somebody with this kind of colour blindness sees it."""
    parts = np.array([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    cones = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]])
    mixed = np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]])
    seen: np.ndarray = mixed @ np.cbrt(cones @ np.clip(BLIND[kind] @ linear, 0, 1))
    return seen


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("form", ["light", "dark"])
def test_the_hues_of_cells_stay_apart_under_every_colour_blindness(kind: str, form: str) -> None:
    seen = [oklab(getattr(shade, form), kind) for shade in HUES.values()]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 0.085


@pytest.mark.parametrize("name", MARKED)
def test_every_mark_stands_out_from_the_page_in_light_and_dark(name: str) -> None:
    assert contrast(MARKED[name].light, PAPER.light) >= MARKS
    assert contrast(MARKED[name].dark, PAPER.dark) >= MARKS


def test_letters_stand_out_from_the_page_and_from_areas_in_light_and_dark() -> None:
    for form in ("light", "dark"):
        backgrounds = [getattr(INKS[name], form) for name in ("card", "faint")]
        letters = [getattr(INKS[name], form) for name in ("ink", "soft")]
        assert min(contrast(letter, paper) for letter in letters for paper in backgrounds) >= LETTERS
        assert min(contrast(ON_AREAS, getattr(shade, form)) for shade in WORK_SHADES.values()) >= LETTERS
    assert min(contrast(ON_AREAS, color) for color in HEAT_COLOURS) >= LETTERS


def test_the_pages_own_colours_are_those_that_figures_count_on() -> None:
    css = (Path(rnnbench.report.page.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    dark = dict(re.findall(r"--(\w+): light-dark\(#\w+, (#\w+)\)", css))
    assert {name: dark[name] for name in INKS} == {name: shade.dark for name, shade in INKS.items()}


def test_each_panel_of_a_page_is_a_picture_of_its_own(quick: pd.DataFrame) -> None:
    phases = list(quick["phase"].unique())
    assert len(phases) > 1
    figure = ratio(quick, width=PANEL, is_apart=True)
    assert figure is not None
    drawn = picture("ratio", "Ratios", "All of them", figure)
    assert [panel.name for panel in drawn.panels] == [f"ratio_{number}" for number in range(1, len(phases) + 1)]
    for phase, panel in zip(phases, drawn.panels, strict=True):
        assert f'width="{72 * PANEL:g}pt"' in panel.svg
        assert [title for title in phases if f">{title}</text>" in panel.svg] == [phase]
        assert ">95% intervals</text>" in panel.svg  # each has the legend
