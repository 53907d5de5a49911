"""Every figure of a report, from Python.

    cases = rnnbench.load("results/quick-20260101T120000Z-ab12").cases
    rnnbench.plot.ratio(cases, width=3.35).savefig("ratio.pdf")       # for a column of a paper
    rnnbench.plot.ratio(cases[cases["phase"] == "training"], ax)      # on axes of yours, in your style

The first argument of most functions is the frame `.cases` of `rnnbench.load`, which `rnnbench.summarize` returns too,
or a selection of its rows; `changes` takes the frame of `rnnbench.compare`. Without
`ax` they return a `matplotlib.figure.Figure` with the look of reports, whatever style is in force. `width` and `height`
are in inches: 3.35 fits a column of a paper, 7 a page. A figure below 5 inches is at most 4 inches high: it shows of
several settings the one with the most cases, and of each cell the fastest implementation if there is no room for all.
With `ax` they draw on these axes in the style in force, dark ones too, add no title, and return them; a figure with
`layout="constrained"` gives the legend its room. The same frame gives the same bytes as PNG, SVG and PDF.

Every function raises ValueError if the frame lacks a column or has nothing to show, if `ax` is not one
`matplotlib.axes.Axes`, if the frame makes several panels and there is one `ax` (the message says what to select), or if
`width` is below 3 inches.
"""

import math as _math
from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any, Literal

from rnnbench.store.records import AXES as _AXES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["changes", "latency", "ratio", "ratio_by_size", "scaling"]

_RATIOS = ("ratio", "ratio_low", "ratio_high")
_CASES = ("run", "case", *_AXES, "status", "seconds", "seconds_low", "seconds_high", *_RATIOS)
_MIN_WIDTH = 3.0  # inches


def __dir__() -> list[str]:
    return __all__


def ratio(
    frame: "pd.DataFrame",
    ax: Any = None,
    *,
    width: float | None = None,
    height: float | None = None,
    noise_floor: float = _math.nan,
) -> Any:
    """Draw how far each cell is from its reference: a row for each cell and implementation, a mark for each workload.

    The colour is the size that explains most of the differences within the rows. `noise_floor`: how far a case differs
    from itself, as a share (0.01); a band around 1 shows it, and `rnnbench.load(...).plot("ratio")` knows it. A panel
    for each phase, device, data type and number of workers.
    """
    why = "no case has a ratio"
    return _drawn("ratios", "ratio", frame, ax, why, width=width, height=height, noise_floor=noise_floor)


def ratio_by_size(
    frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None, height: float | None = None
) -> Any:
    """Draw the ratio to the reference as a number in a coloured box, for each cell and size.

    A panel for each phase and setting. Where there is no room for all sizes, the numbers are medians over some.
    """
    why = "no case has a ratio, or all have one size"
    return _drawn("ratios", "ratio_by_size", frame, ax, why, width=width, height=height)


def latency(frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None, height: float | None = None) -> Any:
    """Draw how long a step of a stream takes, from p50 to p99.9: a row for each stream. It has one panel."""
    why = "no case is a stream whose steps were timed"
    return _drawn("latency", "latency", frame, ax, why, width=width, height=height)


def scaling(
    frame: "pd.DataFrame",
    ax: Any = None,
    *,
    width: float | None = None,
    height: float | None = None,
    value: Literal["ratio", "seconds"] | None = None,
    along: Literal["batch_size", "seq_len", "hidden_size"] | None = None,
) -> Any:
    """Draw how the ratio to the reference, or the time, grows with batch, length and hidden size, on one scale.

    `value`: `ratio` (the default, if any is known) or `seconds` per call; `along`: the only size to vary. A panel for
    each phase and size, with all cells in it, and for times their references too. In a column of a paper it is the size
    with the most values. The other sizes are held at those that stand below the panel: select rows for others. The
    result of `rnnbench.sweep` has it as `.plot("scaling")`.
    """
    if value not in (None, "ratio", "seconds"):
        raise ValueError(f"value: expected 'ratio' or 'seconds', got {value!r}")
    why = "no size was measured at two values with the others equal"
    return _drawn("growth", "growth", frame, ax, why, width=width, height=height, value=value, along=along)


def changes(frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None, height: float | None = None) -> Any:
    """Draw the change of every case with its interval, the margin as a band, and the verdict; the worst case on top.

    `frame`: that of `rnnbench.compare` for two stored runs, or some of its rows; the worst are drawn. It has one panel.
    """
    columns = ("name", "verdict", "margin", "change", "change_low", "change_high", "described_by")
    needs = (columns, "the frame of rnnbench.compare for stored runs")
    return _drawn("verdicts.page", "changes", frame, ax, "no time was compared", needs, width=width, height=height)


def _drawn(
    module: str,
    name: str,
    frame: Any,
    ax: Any,
    why: str,
    needs: tuple[tuple[str, ...], str] = (_CASES, "the frame .cases of rnnbench.load"),
    **how: Any,
) -> Any:
    """Draw one figure after checking the arguments that all have; `why` it may have nothing to show.

    `needs`: the columns that the frame must have, and where such a frame is from.
    """
    import pandas as pd
    from matplotlib.axes import Axes

    from rnnbench.store.frames import without_categories

    columns, source = needs
    has = frame.columns if isinstance(frame, pd.DataFrame) else ()
    if missing := [column for column in columns if column not in has]:
        raise ValueError(f"frame: expected {source}; this {type(frame).__name__} has no column {missing[0]!r}")
    if ax is not None and not isinstance(ax, Axes):
        pick = ": pick one, such as ax.flat[0]" if hasattr(ax, "flat") else ""
        raise ValueError(f"ax: expected one matplotlib Axes, got {type(ax).__name__}{pick}")
    if how["width"] is not None and not how["width"] >= _MIN_WIDTH:
        raise ValueError(f"width: expected {_MIN_WIDTH:g} inches or more, got {how['width']!r}")
    draw = getattr(_import_module(f"rnnbench.report.{module}"), name)
    figure = draw(without_categories(frame).reset_index(drop=True), ax=ax, **how)
    if figure is None:
        raise ValueError(f"nothing to show: {why}")
    drawn = figure if ax is None else ax
    for artist in drawn.findobj():
        if str(artist.get_gid()).startswith("cases"):  # a note for pages, which a file must not repeat as an id
            artist.set_gid(None)
    return drawn
