"""The palette: each colour has one meaning, and is legible on light and on dark."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import rnnbench.report.page
from rnnbench.report.colors import FASTER, HEAT, HUES, INKS, ON_AREAS, SIZES, SLOWER, VERDICTS, WORK
from tests.doubles.pages import contrast

LETTERS, MARKS = 4.5, 3.0  # contrast that WCAG 2.2 asks of letters (1.4.3) and of marks (1.4.11)
PAPER = INKS["card"]
MARKED = {**HUES, "faster": FASTER, "slower": SLOWER, **VERDICTS, **{f"size {n}": s for n, s in enumerate(SIZES)}}

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
        assert min(contrast(ON_AREAS, getattr(shade, form)) for shade in WORK.values()) >= LETTERS
    assert min(contrast(ON_AREAS, color) for color in HEAT) >= LETTERS


def test_the_pages_own_colours_are_those_that_figures_count_on() -> None:
    css = (Path(rnnbench.report.page.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    dark = dict(re.findall(r"--(\w+): light-dark\(#\w+, (#\w+)\)", css))
    assert {name: dark[name] for name in INKS} == {name: shade.dark for name, shade in INKS.items()}
