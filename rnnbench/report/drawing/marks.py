"""Every colour of figures, with its one meaning; the mark of each cell, the same in every figure of every report.

A colour has a light form, for files and light pages, and a dark one. Pages hold each colour as a CSS variable, so a
figure follows the page from light to dark. The hues of cells stay apart under the common colour blindnesses (by 10 or
more in OKLab, times 100, with Machado's matrices of 2009).

Shipped cells have fixed marks. Any other cell gets a colour and a marker by its name alone, unless another cell of the
same figure has that colour.
"""

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from rnnbench.report.words.names import is_reference
from rnnbench.store.implementations import rung
from rnnbench.store.records import (
    TORCH_OWN,
)

# Boxes of the heat map, from faster to slower, and all letters on coloured areas are the same in light and dark.
HEAT_COLOURS = ("#4a9fd0", "#9ccbe8", "#fcfcfc", "#f4b48c", "#e8833a")
ON_AREAS = "#111111"
MAX_SERIES = 8  # in one panel, without the references
OF_TORCH = "d"  # the marker of all that torch.nn has itself, which no cell has
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*", "<", ">")
CELL_MARKS: dict[str, tuple[str, str]] = {  # hue and marker; the cells of one reference have different hues
    "vanilla": ("teal", "o"),
    "combined": ("indigo", "s"),
    "deep": ("olive", "v"),
    "deep-notebook": ("rose", "P"),
    "ind_rnn": ("red", "X"),
    "diagonal": ("green", "<"),
    "lstm": ("purple", "^"),
    "min_lstm": ("teal", ">"),
    "s_lstm": ("indigo", "D"),
    "lstm_layer_norm": ("rose", "s"),
    "lstm_peephole": ("olive", "P"),
    "lmu": ("red", "*"),
    "gru": ("green", "D"),
    "min_gru": ("plum", "o"),
    "ugrnn": ("purple", "v"),
}


@dataclass(frozen=True)
class Shade:
    """One colour, as `#rrggbb`."""

    light: str  # on white
    dark: str  # on a dark background


# Letters, lines and backgrounds. Their dark forms are those of `page.css`, which names them alike.
INKS = {
    "ink": Shade("#000000", "#e6eaee"),  # letters, and every reference
    "soft": Shade("#555555", "#a2acb6"),  # letters beside others, frames
    "line": Shade("#bbbbbb", "#3b444d"),  # guides
    "grid": Shade("#e3e3e3", "#2c343c"),
    "faint": Shade("#eeeeee", "#20272e"),  # backgrounds of a part
    "card": Shade("#ffffff", "#181e24"),  # what lies behind a figure
}

# The cells; which has which is in `CELLS`.
HUES = {
    "teal": Shade("#00a0a0", "#6ce5e8"),
    "indigo": Shade("#444698", "#5e78ea"),
    "olive": Shade("#919944", "#d9ec8a"),
    "rose": Shade("#9f4a6f", "#f2829f"),
    "red": Shade("#8f1600", "#dc4a34"),
    "purple": Shade("#9657c9", "#dd9cff"),
    "green": Shade("#447e00", "#8ccd32"),
    "plum": Shade("#6c325d", "#a55c9a"),
}

FASTER = Shade("#0072b2", "#4a9ee8")  # also `improved`, and time that a change saves
SLOWER = Shade("#d55e00", "#f2803a")  # also `regressed`, and time that a change costs

VERDICTS = {
    "regressed": SLOWER,
    "improved": FASTER,
    "accepted": INKS["soft"],
    "unchanged": INKS["soft"],
    "undecided": Shade("#a67c00", "#f0c040"),
    "incomparable": Shade("#b5609a", "#e3a0cf"),
}

# The kinds of work of a call, as areas. A fit's dispatch, arithmetic and memory have those of the work they stand for.
WORK_SHADES = {
    "products": Shade("#dcb04c", "#c79a38"),
    "pointwise": Shade("#b5e0c0", "#8fcba0"),
    "copies": Shade("#cf7d74", "#c2655c"),
    "layer": Shade("#a493ea", "#8b7ad6"),
    "other": Shade("#5fa8c4", "#4795b3"),
    "overhead": Shade("#b9b9b9", "#8a9199"),
    "whole": Shade("#8f8f8f", "#a9b0b8"),
}

# Sizes from small to large (viridis): on white from green to violet, on dark from blue to yellow.
SIZE_SHADES = (
    Shade("#20a386", "#21918c"),
    Shade("#20928c", "#1fa088"),
    Shade("#26818e", "#28ae80"),
    Shade("#2e6f8e", "#3fbc73"),
    Shade("#365d8d", "#5ec962"),
    Shade("#3f4889", "#84d44b"),
    Shade("#46337f", "#addc30"),
    Shade("#481b6d", "#d8e219"),
    Shade("#440154", "#fde725"),
)


def level(place: float) -> Shade:
    """Return the colour of a size by its place between the smallest (0) and the largest (1)."""
    return SIZE_SHADES[round(place * (len(SIZE_SHADES) - 1))]


def variables() -> dict[str, Shade]:
    """Return every colour that is not the same in light and dark, by the name of its CSS variable."""
    return {
        **INKS,
        **HUES,
        "faster": FASTER,
        "slower": SLOWER,
        **{verdict: VERDICTS[verdict] for verdict in ("undecided", "incomparable")},
        **{f"work-{kind}": shade for kind, shade in WORK_SHADES.items()},
        **{f"size-{index}": shade for index, shade in enumerate(SIZE_SHADES)},
    }


@dataclass(frozen=True)
class CellMark:
    """How a figure draws a series. Colour and marker tell the cell, filling tells the implementation."""

    shade: Shade
    marker: str
    filled: bool  # of a cell's plainest implementation in the frame, and of references


def marks(frame: pd.DataFrame) -> dict[str, CellMark]:
    """Return the mark of each series of a frame from `with_series`."""
    cases = frame[~is_reference(frame)]
    ladder = cases["implementation"].map(rung)
    plainest = ladder.groupby(cases["cell"]).min()
    hues = hues_of(cases["cell"].unique())
    references = zip(frame.loc[is_reference(frame), "series"].unique(), (OF_TORCH, *MARKERS), strict=False)
    look_of = {str(series): CellMark(INKS["ink"], marker, filled=True) for series, marker in references}
    columns = cases[["series", "cell", "implementation"]].drop_duplicates()
    for series, cell, implementation in columns.itertuples(index=False):
        if implementation in TORCH_OWN:
            look_of[series] = CellMark(INKS["soft"], OF_TORCH, filled=False)
        else:
            hue, marker = hues[cell]
            look_of[series] = CellMark(HUES[hue], marker, filled=rung(implementation) == plainest[cell])
    return look_of


def hues_of(cells: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the hue and the marker of each cell, whatever the order of `cells` is.

    A name that is not shipped takes one of the free hues. If none is free, it takes one of those that the fewest have,
    with a marker that none of these has, so that up to 80 cells look unlike.
    """
    names = set(cells)
    looks = {cell: CELL_MARKS[cell] for cell in CELL_MARKS if cell in names}
    for cell in sorted(names - looks.keys()):
        number = zlib.crc32(cell.encode(errors="replace"))
        used = Counter(hue for hue, _ in looks.values())
        fewest = min(used[hue] for hue in HUES)
        free = [hue for hue in HUES if used[hue] == fewest]
        hue = free[number % len(free)]
        # Begins where the name says, and goes on to the next marker that no other cell of this hue has.
        places = ((number // len(HUES) + step) % len(MARKERS) for step in range(len(MARKERS)))
        unlike = (MARKERS[place] for place in places if (hue, MARKERS[place]) not in looks.values())
        looks[cell] = hue, next(unlike, MARKERS[number // len(HUES) % len(MARKERS)])
    return looks


def of_cell(cell: str) -> Shade:
    """Return the colour of a cell that is the only one of its figure; black for those of torch."""
    return INKS["ink"] if cell.startswith("torch.nn") else HUES[hues_of([cell])[cell][0]]


def plain_and_fastest(cases: pd.DataFrame, value: str, most: int = MAX_SERIES) -> pd.DataFrame:
    """Return the cases of each cell's plainest implementation and of its fastest, and all references.

    The fastest has the lowest median of the column `value`. If that leaves more than `most` series, only the fastest of
    each cell stays. `cases` has a column `series`; cells without any value are left out.
    """
    compared = cases[~is_reference(cases) & cases[value].notna()]
    pair = ["cell", "implementation"]
    medians = compared.groupby(pair, sort=False)[value].median().reset_index()
    medians["rung"] = medians["implementation"].map(rung)
    fastest = medians.loc[medians.groupby("cell")[value].idxmin()]
    plainest = medians.loc[medians.groupby("cell")["rung"].idxmin()]
    selection = pd.concat([plainest, fastest]).drop_duplicates(pair)
    if len(selection) > most:
        selection = fastest
    return cases[is_reference(cases) | cases.set_index(pair).index.isin(selection.set_index(pair).index)]
