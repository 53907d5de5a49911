"""The mark of each cell, the same in every figure of every report, and which series a crowded figure shows.

Shipped cells have fixed ones. Any other cell gets a colour and a marker by its name alone, unless another cell of the
same figure has that colour.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

import pandas as pd

from rnnbench.report.colors import HUES, INKS, Shade
from rnnbench.report.words.names import is_reference
from rnnbench.store.records import TORCH_OWN, Swept

LADDER: tuple[str, ...] = get_args(Swept)  # implementations, the plainest first
MAX_SERIES = 8  # in one panel, without the references
OF_TORCH = "d"  # the marker of all that torch.nn has itself, which no cell has
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*", "<", ">")
CELLS: dict[str, tuple[str, str]] = {  # hue and marker; the cells of one reference have different hues
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
class CellMark:
    """How a figure draws a series. Colour and marker tell the cell, filling tells the implementation."""

    shade: Shade
    marker: str
    filled: bool  # of a cell's plainest implementation in the frame, and of references


def marks(frame: pd.DataFrame) -> dict[str, CellMark]:
    """Return the mark of each series of a frame from `with_series`."""
    own = frame[~is_reference(frame)]
    ladder = own["implementation"].map(rung)
    plainest = ladder.groupby(own["cell"]).min()
    hues = hues_of(own["cell"].unique())
    references = zip(frame.loc[is_reference(frame), "series"].unique(), (OF_TORCH, *MARKERS), strict=False)
    drawn = {str(series): CellMark(INKS["ink"], marker, filled=True) for series, marker in references}
    columns = own[["series", "cell", "implementation"]].drop_duplicates()
    for series, cell, implementation in columns.itertuples(index=False):
        if implementation in TORCH_OWN:
            drawn[series] = CellMark(INKS["soft"], OF_TORCH, filled=False)
        else:
            hue, marker = hues[cell]
            drawn[series] = CellMark(HUES[hue], marker, filled=rung(implementation) == plainest[cell])
    return drawn


def hues_of(cells: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the hue and the marker of each cell, whatever the order of `cells` is.

    A name that is not shipped takes one of the free hues; if none is free, any hue.
    """
    names = set(cells)
    taken = {cell: CELLS[cell] for cell in CELLS if cell in names}
    for cell in sorted(names - taken.keys()):
        number, used = zlib.crc32(cell.encode(errors="replace")), {hue for hue, _ in taken.values()}
        free = [hue for hue in HUES if hue not in used] or list(HUES)
        taken[cell] = free[number % len(free)], MARKERS[number // len(HUES) % len(MARKERS)]
    return taken


def of_cell(cell: str) -> Shade:
    """Return the colour of a cell that is the only one of its figure; black for those of torch."""
    return INKS["ink"] if cell.startswith("torch.nn") else HUES[hues_of([cell])[cell][0]]


def rung(implementation: str) -> int:
    """Return the place of an implementation on the ladder, from the plainest up."""
    return LADDER.index(implementation) if implementation in LADDER else len(LADDER)


def plain_and_fastest(cases: pd.DataFrame, value: str, most: int = MAX_SERIES) -> pd.DataFrame:
    """Return the cases of each cell's plainest implementation and of its fastest, and all references.

    The fastest has the lowest median of the column `value`. If that leaves more than `most` series, only the fastest of
    each cell stays. `cases` has a column `series`; cells without any value are left out.
    """
    own, pair = cases[~is_reference(cases) & cases[value].notna()], ["cell", "implementation"]
    medians = own.groupby(pair, sort=False)[value].median().reset_index()
    medians["rung"] = medians["implementation"].map(rung)
    fastest, plainest = (medians.loc[medians.groupby("cell")[by].idxmin()] for by in (value, "rung"))
    kept = pd.concat([plainest, fastest]).drop_duplicates(pair)
    if len(kept) > most:
        kept = fastest
    return cases[is_reference(cases) | cases.set_index(pair).index.isin(kept.set_index(pair).index)]
