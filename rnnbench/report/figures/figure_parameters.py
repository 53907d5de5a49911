"""Figure: time and peak memory of a call against the parameters of its model, phases beside each other.

Batch and length, on which the parameters do not depend, are held twice: at their smallest and at their largest.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.figures.drawing.canvas import log_axis, mark, short
from rnnbench.report.figures.drawing.chosen import plain_and_fastest
from rnnbench.report.figures.drawing.growth import DOTS, LINE, MARK_POINTS
from rnnbench.report.figures.drawing.marks import OF_TORCH, CellMark, marks
from rnnbench.report.figures.drawing.sheet import MIN_LETTERS, Sheet, legend_columns, refuse_several, sheet
from rnnbench.report.words.axes import SETTINGS, say_all, several
from rnnbench.report.words.reference import is_reference
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import duration_tick, memory_tick, number_tick
from rnnbench.store.records import TORCH_OWN

Quantity = Literal["seconds", "peak_bytes"]
QUANTITIES: dict[Quantity, tuple[str, Any]] = {
    "seconds": ("time per call", duration_tick),
    "peak_bytes": ("peak memory of a call", memory_tick),
}
OF_CALL = ("batch_size", "seq_len")
USUAL = 0.7  # of the series: a batch and length at which fewer were measured is not shown
MAX_SHOWN = 10  # series, without the references
PANEL = 3.0, 2.6  # inches of a panel's axes
NARROWEST = 2.0  # inches of a panel
AXIS_WIDE, LEGEND_WIDE = 0.75, 1.7  # inches: the numbers of the first panel, and the names beside the panels
LINE_HIGH = 0.19  # inches of a line of the legend
MAX_NAME = 30  # letters in the legend
BESIDE = {"LSTM": "bottom", "GRU": "top"}  # where the name of a layer stands: their lines often end together


def render(
    summary: pd.DataFrame, *, ax: Axes | None = None, width: float | None = None, value: Quantity | None = None
) -> Figure | None:
    """The figure, or None if the number of parameters is not known, or is the same in all cases.

    `width` in inches; `value`: only time or only memory. Raises ValueError if there are several panels for one `ax`.
    """
    if not {"parameters", *QUANTITIES} <= set(summary.columns):
        return None
    cases = _shown(with_series(summary))
    quantities = [name for name in QUANTITIES if value in (None, name) and cases[name].gt(0).any()]
    if cases["parameters"].nunique() < 2 or not quantities:
        return None
    phases = list(cases["phase"].unique())
    refuse_several(ax, cases, ["phase"], len(phases))
    if ax is not None and len(quantities) > 1:
        raise ValueError(f"time and memory make 2 panels: choose one, such as value={quantities[0]!r}, or leave ax out")
    ends = _ends(cases)
    cases = cases[pd.concat([_at(cases, held) for held in ends], axis=1).any(axis=1)]
    look_of = marks(cases)
    is_beside = width is None or width >= AXIS_WIDE + NARROWEST * len(phases) + LEGEND_WIDE
    beside = AXIS_WIDE + (LEGEND_WIDE if is_beside else 0)
    wide = width or beside + PANEL[0] * len(phases)
    columns = len(phases) if wide >= beside + NARROWEST * len(phases) else 1
    keys = [(quantity, phase) for quantity in quantities for phase in phases]
    lines = len(look_of) + len(ends)
    below = 0.0 if is_beside else LINE_HIGH * -(-lines // legend_columns(wide))
    height = max((PANEL[1] + 0.35) * len(keys) / columns + 0.4 + below, LINE_HIGH * lines if is_beside else 0.0)
    with sheet(ax, (wide, height), (len(keys) // columns, columns), sharex=True) as drawn:
        for axes, (quantity, phase) in zip(drawn.grid.flat, keys, strict=True):
            of_phase = cases[cases["phase"] == phase]
            for is_large, held in enumerate(ends):
                _lines(drawn, axes, of_phase[_at(of_phase, held)], quantity, look_of, bool(is_large))
            _logarithmic(axes)
            drawn.title(axes, phase if quantity == quantities[0] or columns == 1 else "")
        for quantity, line in zip([quantity for quantity, _ in keys[::columns]], drawn.grid, strict=True):
            _across(
                line, [axes for axes, key in zip(drawn.grid.flat, keys, strict=True) if key[0] == quantity], quantity
            )
        for axes in drawn.grid[-1]:
            axes.set_xlabel("parameters")
        lowest, highest = drawn.axes.get_xlim()
        log_axis(drawn.axes.xaxis, lowest, highest, number_tick, most=5)
        handles = list(_legend(drawn, look_of, ends))
        drawn.long_legend(handles, wide, is_beside=is_beside)
    return drawn.figure


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The measured cases to draw, of the setting with the most cases: torch.nn, and of each cell the plainest and the
    fastest implementation. torch's own cells, which take as long as a loop, are left out.
    """
    known = frame[frame["parameters"].gt(0) & frame["seconds"].notna()]
    known = known[is_reference(known) | ~known["implementation"].isin(list(TORCH_OWN))]
    settings = several(known, SETTINGS)
    if settings:
        keys = known[settings].apply(tuple, axis=1)
        known = known[keys == keys.value_counts(sort=False).idxmax()]
    return plain_and_fastest(known, "seconds", MAX_SHOWN)


def _ends(cases: pd.DataFrame) -> list[tuple[int, ...]]:
    """The smallest and the largest batch and length at which most series were measured; one if they are the same."""
    counts = cases.groupby(list(OF_CALL), sort=True)["series"].nunique()
    usual = [tuple(map(int, held)) for held in counts.index[counts >= USUAL * counts.max()]]
    return [usual[0], usual[-1]] if len(usual) > 1 else usual


def _at(cases: pd.DataFrame, held: Sequence[int]) -> "pd.Series[bool]":
    """Boolean mask of the cases with this batch and length."""
    return cases[list(OF_CALL)].eq(list(held)).all(axis=1)


def _lines(
    drawn: Sheet, axes: Axes, cases: pd.DataFrame, quantity: Quantity, look_of: Mapping[str, CellMark], is_large: bool
) -> None:
    """Draw a line for each series, with batch and length held."""
    for series, own in cases[cases[quantity].gt(0)].sort_values("parameters").groupby("series", sort=False):
        look = look_of[str(series)]
        color, sizes, values = drawn.ink.of(look.shade), own["parameters"], own[quantity]
        (points,) = axes.plot(
            sizes,
            values,
            color=color,
            linestyle=LINE[is_large] if sizes.nunique() > 2 else DOTS,
            linewidth=1.2,
            marker=look.marker,
            markersize=MARK_POINTS[is_large],
            markerfacecolor=color if look.filled else drawn.ink.paper,
            zorder=3,
        )
        mark(points, own.index)
        if quantity == "seconds":
            reach = np.abs(own[["seconds_low", "seconds_high"]].to_numpy(dtype=float).T - values.to_numpy(dtype=float))
            axes.errorbar(sizes, values, yerr=reach, fmt="none", ecolor=color, elinewidth=0.9, zorder=2)
        if look.marker == OF_TORCH:
            name = str(series).removeprefix("torch.nn.").partition(",")[0]
            axes.annotate(
                short(name, MAX_NAME), (sizes.iloc[-1], values.iloc[-1]), (6, 0), textcoords="offset points",
                va=BESIDE.get(name, "center"), fontsize=MIN_LETTERS, weight="bold", color=color,
            )  # fmt: skip


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(x=0.12, y=0.1)
    axes.grid(visible=True)


def _across(line: Sequence[Axes], panels: Sequence[Axes], quantity: Quantity) -> None:
    """The scale that all panels of a quantity share, with its label at the left of one row."""
    about, tick = QUANTITIES[quantity]
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
        log_axis(axes.yaxis, low, high, tick, most=6)
    for axes in line[1:]:
        axes.tick_params(labelleft=False)
    line[0].set_ylabel(about)


def _legend(drawn: Sheet, look_of: Mapping[str, CellMark], ends: Sequence[tuple[int, ...]]) -> Iterator[Artist]:
    """A line for each series, and what large and small marks are. The layers of torch.nn share a line."""
    shared: dict[str, CellMark] = {}
    for name, look in look_of.items():
        shared.setdefault("torch.nn" if name.startswith("torch.nn.") else name, look)
    for name, look in shared.items():
        color = drawn.ink.of(look.shade)
        yield Line2D(
            [], [], color=color, linestyle="", marker=look.marker, markersize=4.5,
            markerfacecolor=color if look.filled else drawn.ink.paper, label=short(name, MAX_NAME),
        )  # fmt: skip
    for is_large, held in enumerate(ends):
        yield Line2D(
            [], [], color=drawn.ink.soft, linestyle="", marker="o", markersize=MARK_POINTS[bool(is_large)],
            label=say_all(OF_CALL, held),
        )  # fmt: skip
