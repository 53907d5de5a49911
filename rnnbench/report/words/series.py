"""A series is a cell run in one way: its name, its place in the order, and how figures draw it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from rnnbench.report.words.axes import SETTINGS, SIZES, one_line, say_all, several, swept
from rnnbench.report.words.reference import is_reference
from rnnbench.store.records import reference_cell

# Okabe and Ito's palette, which stays apart under every common colour blindness; black is kept for references.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one more than there are colours: 42 cells before a pair repeats

# As matplotlib takes them: words, or an offset and the lengths of dashes and gaps.
LineStyle = Literal["-", "--", ":", "-."] | tuple[int, tuple[int, ...]]
LINES: tuple[LineStyle, ...] = ("-", "--", ":", "-.", (0, (8, 2)), (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)))


@dataclass(frozen=True)
class Style:
    """Colour and marker tell the cell; filling and line tell the implementation."""

    color: str
    marker: str
    filled: bool
    line: LineStyle


def series_name(cell: str, implementation: str) -> str:
    """`lstm hoisted`; `torch.nn.LSTM`, `torch.nn.LSTMCell`, `torch.nn.LSTM padded`; a cell that is the reference."""
    own = {"torch.nn": "", "reference": "", "torch.nn-cell": "", "torch.nn-padded": "padded"}.get(
        implementation, implementation
    )
    return f"{one_line(cell)} {own}".rstrip()


def with_series(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with each row's `series` and `family`, sorted so that rows to compare stand together.

    A family shares one reference: `torch.nn.RNN`, or `torch.nn.RNN, 3 layers` if that number belongs to the cell, or
    a data set. Rows of torch.nn have the family's name as their series.
    """
    frame = summary.copy()
    fixed = [axis for axis in several(summary, SIZES) if axis not in swept(summary, SIZES)]
    plain = frame[fixed].eq(frame[fixed].min()).all(axis=1)
    frame["is_plain"] = plain

    def family(reference: Any, is_plain: bool, *sizes: Any) -> str:
        return reference_cell(reference) if is_plain else f"{reference_cell(reference)}, {say_all(fixed, sizes)}"

    def series(family: str, cell: str, implementation: str) -> str:
        return family if implementation in ("torch.nn", "reference") else series_name(cell, implementation)

    frame["family"] = _each(frame, ["reference", "is_plain", *fixed], family)
    frame["series"] = _each(frame, ["family", "cell", "implementation"], series)
    del frame["is_plain"]
    own = ~is_reference(frame).to_numpy()
    by_family, by_cell, by_implementation = (
        pd.factorize(frame[key])[0] for key in ("family", "cell", "implementation")
    )
    # By family first; within it the reference, then each cell as it came.
    order = np.lexsort((by_implementation, by_cell, own, by_family))
    return frame.iloc[order]


def _each(frame: pd.DataFrame, columns: list[str], say: Callable[..., str]) -> list[str]:
    """Apply `say` to some columns of each row, but only once for each set of values."""
    number = frame.groupby(columns, sort=False, dropna=False).ngroup().to_numpy()
    firsts = np.unique(number, return_index=True)[1]
    texts = [say(*values) for values in frame[columns].iloc[firsts].itertuples(index=False, name=None)]
    return [texts[index] for index in number]


def by_workload(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases with their `series`, sorted by workload, with the reference first."""
    frame = with_series(summary)
    frame["group"] = _group_numbers(frame)
    return frame.sort_values("group", kind="stable")


def _group_numbers(frame: pd.DataFrame) -> Any:
    """Number the workloads by phase, settings and sizes; phases and settings count in order of appearance."""
    ranks = {axis: pd.factorize(frame[axis])[0] for axis in ("phase", *SETTINGS, "family")}
    keys = pd.DataFrame(ranks | {axis: frame[axis].to_numpy() for axis in SIZES}, index=frame.index)
    order = [*("phase", *SETTINGS), *SIZES, "family"]
    return keys.groupby(order, sort=True).ngroup()


def styles(frame: pd.DataFrame) -> dict[str, Style]:
    """How to draw each series of a frame from `with_series`."""
    own = frame[~is_reference(frame)]
    cells = {cell: index for index, cell in enumerate(own["cell"].unique())}
    implementations = {implementation: index for index, implementation in enumerate(own["implementation"].unique())}
    drawn = {series: Style("black", "d", filled=True, line="-") for series in frame.loc[is_reference(frame), "series"]}
    for series, cell, implementation in (
        own[["series", "cell", "implementation"]].drop_duplicates().itertuples(index=False)
    ):
        index = cells[cell]
        drawn[series] = Style(
            COLORS[index % len(COLORS)],
            MARKERS[index % len(MARKERS)],
            filled=implementations[implementation] == 0,
            line=LINES[implementations[implementation] % len(LINES)],
        )
    return drawn
