"""Every figure of a report, from Python.

    cases = rnnbench.load("results/quick-20260101T120000Z-ab12").frame
    rnnbench.plot.ratio(cases, width=3.35).savefig("ratio.pdf")       # for a column of a paper
    rnnbench.plot.ratio(cases[cases["phase"] == "training"], ax)      # on axes of yours, in your style

The first argument of most functions is `.frame` of `rnnbench.load`, which `rnnbench.summarize` returns too, or a
selection of its rows; `changes` takes that of `rnnbench.compare`. `ratio` also takes `.frame` of `rnnbench.measure` and
`rnnbench.sweep`, and `scaling` that of `rnnbench.sweep`: the figures of their `.plot`, without `noise_floor`. Without
`ax` they return a `matplotlib.figure.Figure` in the style of reports, whatever style is in force. `width` and `height`
are in inches: 3.35 fits a column of a paper, 7 a page. A figure below 5 inches is at most 4 inches high: it shows of
several settings the one with the most cases, and of each cell the fastest implementation if there is no room for all.
With `ax` they draw on these axes in the style in force, dark ones too, add no title, and return them; a figure with
`layout="constrained"` gives the legend its room. The same frame gives the same bytes as PNG, SVG and PDF.

Every function raises ValueError if the frame lacks a column or has nothing to show, if `ax` is not one
`matplotlib.axes.Axes`, if the frame makes several panels and there is one `ax` (the message says what to select), or if
`width` is below 3 inches.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, cast

import pandas as pd
from matplotlib.axes import Axes

from rnnbench.report import growth, ratios
from rnnbench.report import latency as streams
from rnnbench.report import ratio_by_size as heat_map
from rnnbench.report.verdicts import page as verdicts
from rnnbench.store.frames import without_categories
from rnnbench.store.records import AXES

__all__ = ["changes", "latency", "ratio", "ratio_by_size", "scaling"]

P = ParamSpec("P")
RATIOS = ("ratio", "ratio_low", "ratio_high")
COLUMNS_OF_CASES = ("run", "case", *AXES, "status", "state", "seconds", "seconds_low", "seconds_high", *RATIOS)
COLUMNS_OF_LIVE = ("seconds", "parity", *RATIOS)  # of the frames of `measure` and `sweep`
COLUMNS_OF_CHANGES = ("name", "verdict", "margin", *verdicts.CHANGE_ENDS, "described_by")
MIN_INCHES = 3.0  # inches


def __dir__() -> list[str]:
    return __all__


def _figure(
    draw: Callable[P, Any],
    why: str,
    columns: Sequence[str] = COLUMNS_OF_CASES,
    source: str = ".frame of rnnbench.load",
    of_live: Callable[..., Any] | None = None,
) -> Callable[P, Any]:
    """Return the function with checks of the arguments that all figures have.

    `why`: it may have nothing to show; `columns`: those that the frame must have, and `source`, where it is from;
    `of_live`: draws the frame of live modules.
    """

    @functools.wraps(draw)
    def figure_of(frame: Any, ax: Any = None, *, width: float | None = None, **how: Any) -> Any:
        has = frame.columns if isinstance(frame, pd.DataFrame) else ()
        is_live = of_live is not None and ("module" in has or getattr(frame.index, "name", "") == "module")
        if missing := [column for column in (COLUMNS_OF_LIVE if is_live else columns) if column not in has]:
            raise ValueError(f"frame: expected {source}; this {type(frame).__name__} has no column {missing[0]!r}")
        if ax is not None and not isinstance(ax, Axes):
            pick = ": pick one, such as ax.flat[0]" if hasattr(ax, "flat") else ""
            raise ValueError(f"ax: expected one matplotlib Axes, got {type(ax).__name__}{pick}")
        if width is not None and not width >= MIN_INCHES:
            raise ValueError(f"width: expected {MIN_INCHES:g} inches or more, got {width!r}")
        if of_live is not None and is_live:
            figure = of_live(frame, ax=ax, width=width, **how)
        else:
            figure = cast("Any", draw)(without_categories(frame).reset_index(drop=True), ax, width=width, **how)
        if figure is None:
            raise ValueError(f"nothing to show: {why}")
        target = figure if ax is None else ax
        for artist in target.findobj():
            if str(artist.get_gid()).startswith("cases"):  # a note for pages, which a file must not repeat as an id
                artist.set_gid(None)
        return target

    return cast("Callable[P, Any]", figure_of)


def _ratio_of_live(frame: pd.DataFrame, **how: Any) -> Any:
    """Draw the ratios of the frame of `measure`, or of `sweep`, whose modules are a column."""
    return growth.of_sweep(frame, **how) if "module" in frame else ratios.measured(frame, **how)


def _times_of_live(frame: pd.DataFrame, *, value: growth.Quantity = "seconds", **how: Any) -> Any:
    """Draw the times, or the ratios, of the frame of `sweep`; None for that of `measure`, which has one size."""
    return growth.of_sweep(frame, value=value, **how) if "module" in frame else None


ratio = _figure(ratios.ratio, "no case has a ratio", of_live=_ratio_of_live)
ratio_by_size = _figure(heat_map.ratio_by_size, "no case has a ratio, or all have one size")
latency = _figure(streams.latency, "no case is a stream whose steps were timed")
scaling = _figure(growth.scaling, "no size was measured at two values with the others equal", of_live=_times_of_live)
changes = _figure(verdicts.changes, "no time was compared", COLUMNS_OF_CHANGES, ".frame of rnnbench.compare")
