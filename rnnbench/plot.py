"""Every figure of a report, from Python.

    cases = rnnbench.load("results/quick-20260101T120000Z-ab12").cases
    rnnbench.plot.ratio(cases, width=7).savefig("ratio.pdf")          # as in a report, for a page of a paper
    rnnbench.plot.ratio(cases[cases["phase"] == "training"], ax)      # on axes of yours, in your style

The first argument of most functions is the frame `.cases` of `rnnbench.load`, which `rnnbench.summarize` returns too,
or a selection of its rows; `replicates` takes `.replicates`, and `changes` the frame of `rnnbench.compare`. Without
`ax` they return a `matplotlib.figure.Figure` with the look of reports, whatever style is in force; `width` is in inches
(3.35 fits a column of a paper, 7 a page), and the height follows. With `ax` they draw on these axes in the style in
force, dark ones too, add no title, and return them. The same frame gives the same bytes as PNG, SVG and PDF.

Every function raises ValueError if the frame lacks a column or has nothing to show, if `ax` is not one rectilinear
`matplotlib.axes.Axes`, if the frame makes several panels and there is one `ax` (the message says what to select), or if
`width` is below 3 inches or given beside `ax`.
"""

import math
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, overload

from rnnbench.store.records import AXES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "changes",
    "latency",
    "parameters",
    "ratio",
    "ratio_by_size",
    "regions",
    "replicates",
    "roofline",
    "scaling",
]

MIN_WIDTH = 3.0  # inches
RATIOS = ("ratio", "ratio_low", "ratio_high")
CASES = ("run", "case", *AXES, "status", "seconds", "seconds_low", "seconds_high", *RATIOS)


@overload
def ratio(
    frame: "pd.DataFrame", ax: None = None, *, width: float | None = None, noise_floor: float = math.nan
) -> "Figure": ...
@overload
def ratio(frame: "pd.DataFrame", ax: "Axes", *, noise_floor: float = math.nan) -> "Axes": ...
def ratio(
    frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None, noise_floor: float = math.nan
) -> "Figure | Axes":
    """How far each cell is from its reference: a row for each cell and implementation, a mark for each workload.

    The colour is the size that explains most of the differences within the rows. `noise_floor`: how far a case differs
    from itself, as a share (0.01); a band around 1 shows it, and `rnnbench.load(...).plot("ratio")` knows it. A panel
    for each phase, device, data type and number of workers.
    """
    return _drawn("ratio", frame, ax, width, "no case has a ratio", noise_floor=noise_floor)


@overload
def ratio_by_size(frame: "pd.DataFrame", ax: None = None, *, width: float | None = None) -> "Figure": ...
@overload
def ratio_by_size(frame: "pd.DataFrame", ax: "Axes") -> "Axes": ...
def ratio_by_size(frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None) -> "Figure | Axes":
    """The ratio to the reference as a number in a coloured box, for each cell and size.

    A panel for each phase and setting. Raises ValueError also if the width has no room for the columns.
    """
    return _drawn("ratio_by_size", frame, ax, width, "no case has a ratio, or all have one size")


@overload
def latency(frame: "pd.DataFrame", ax: None = None, *, width: float | None = None) -> "Figure": ...
@overload
def latency(frame: "pd.DataFrame", ax: "Axes") -> "Axes": ...
def latency(frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None) -> "Figure | Axes":
    """How long a step of a stream takes, from p50 to p99.9: a row for each stream. It has one panel."""
    return _drawn("latency", frame, ax, width, "no case is a stream whose steps were timed")


@overload
def scaling(
    frame: "pd.DataFrame",
    ax: None = None,
    *,
    width: float | None = None,
    value: Literal["ratio", "seconds"] | None = None,
    along: Literal["batch_size", "seq_len", "hidden_size"] | None = None,
) -> "Figure": ...
@overload
def scaling(
    frame: "pd.DataFrame",
    ax: "Axes",
    *,
    value: Literal["ratio", "seconds"] | None = None,
    along: Literal["batch_size", "seq_len", "hidden_size"] | None = None,
) -> "Axes": ...
def scaling(
    frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None, value: Any = None, along: Any = None
) -> "Figure | Axes":
    """How the ratio to the reference, or the time, grows with batch, length and hidden size, on one scale.

    `value`: `ratio` (the default, if any is known) or `seconds` per call; `along`: the only size to vary. A panel for
    each reference, phase and size; of times one for each phase and size, with all cells and references in it. The
    result of `rnnbench.sweep` has it as `.plot("scaling")`.
    """
    _choice("value", value, ("ratio", "seconds"))
    _choice("along", along, ("batch_size", "seq_len", "hidden_size"))
    why = "no size was measured at two values with the others equal"
    return _drawn("scaling", frame, ax, width, why, value=value, along=along)


@overload
def regions(
    frame: "pd.DataFrame", ax: None = None, *, width: float | None = None, series: str | None = None
) -> "Figure": ...
@overload
def regions(frame: "pd.DataFrame", ax: "Axes", *, series: str | None = None) -> "Axes": ...
def regions(
    frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None, series: str | None = None
) -> "Figure | Axes":
    """What takes most of each cell's fitted time, by batch and hidden size: dispatch, arithmetic or memory.

    `series`: the only one to show, by its name in the figure, such as `lstm loop`. A panel for each series and phase.
    """
    why = "no series was fitted over three batch sizes and three hidden sizes"
    return _drawn("regions", frame, ax, width, f"{why}, or none has this name" if series else why, series=series)


@overload
def parameters(
    frame: "pd.DataFrame",
    ax: None = None,
    *,
    width: float | None = None,
    value: Literal["seconds", "peak_bytes"] | None = None,
) -> "Figure": ...
@overload
def parameters(
    frame: "pd.DataFrame", ax: "Axes", *, value: Literal["seconds", "peak_bytes"] | None = None
) -> "Axes": ...
def parameters(
    frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None, value: Any = None
) -> "Figure | Axes":
    """Time and peak memory of a call against the number of parameters: torch.nn, each cell's loop and its fastest.

    `value`: only `seconds` or only `peak_bytes`. A panel for each of them and each phase.
    """
    _choice("value", value, ("seconds", "peak_bytes"))
    why = "the number of parameters is not known, or is the same everywhere"
    return _drawn("parameters", frame, ax, width, why, value=value)


@overload
def roofline(frame: "pd.DataFrame", ax: None = None, *, width: float | None = None) -> "Figure": ...
@overload
def roofline(frame: "pd.DataFrame", ax: "Axes") -> "Axes": ...
def roofline(frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None) -> "Figure | Axes":
    """How near each case comes to the best rate of the machine, by arithmetic per byte moved.

    A panel for each phase, device, data type and number of threads.
    """
    return _drawn("roofline", frame, ax, width, "no case has both a count of its arithmetic and a limit of the machine")


@overload
def changes(frame: "pd.DataFrame", ax: None = None, *, width: float | None = None) -> "Figure": ...
@overload
def changes(frame: "pd.DataFrame", ax: "Axes") -> "Axes": ...
def changes(frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None) -> "Figure | Axes":
    """The change of every case with its interval, the margin as a band, and the verdict; the worst case on top.

    `frame`: that of `rnnbench.compare` for two stored runs, or some of its rows; the worst 40 are drawn. It has one
    panel.
    """
    columns = ("name", "verdict", "margin", *RATIOS, *(f"mean_{column}" for column in RATIOS), "described_by")
    source = "the frame of rnnbench.compare for stored runs"
    return _drawn("changes", frame, ax, width, "no time was compared", (columns, source))


@overload
def replicates(frame: "pd.DataFrame", ax: None = None, *, width: float | None = None) -> "Figure": ...
@overload
def replicates(frame: "pd.DataFrame", ax: "Axes") -> "Axes": ...
def replicates(frame: "pd.DataFrame", ax: Any = None, *, width: float | None = None) -> "Figure | Axes":
    """Every replicate over its case's median, in the order of measuring: a drift or a step shows there.

    `frame`: `.replicates` of `rnnbench.load`, or some of its rows. A panel for the times of the references, and one for
    the ratios to them.
    """
    from rnnbench.analysis.runs.drift import of_replicates

    columns = ("run", "case", "replicate", "seconds", "ratio")
    _check_frame(frame, columns, "the frame .replicates of rnnbench.load")
    why = "no case was measured in two replicates"
    shown = of_replicates(frame)
    return _drawn("replicates", shown, ax, width, why, ((), ""), at="replicate, in the order of measuring")


def _drawn(
    name: str,
    frame: Any,
    ax: Any,
    width: float | None,
    why: str,
    needs: tuple[Sequence[str], str] = (CASES, "the frame .cases of rnnbench.load"),
    **more: Any,
) -> "Figure | Axes":
    """Draw one figure after checking the arguments that all have; `why` it may have nothing to show.

    `needs`: the columns that the frame must have, and where such a frame is from.
    """
    from rnnbench.store.frames import without_categories

    _check_frame(frame, *needs)
    _check_axes(ax)
    if width is not None and ax is not None:
        raise ValueError("don't combine `width` with `ax`: the axes have a width")
    if width is not None and not width >= MIN_WIDTH:
        raise ValueError(f"width: expected {MIN_WIDTH:g} inches or more, got {width!r}")
    module = import_module(f"rnnbench.report.figures.figure_{name}")
    figure = module.render(without_categories(frame).reset_index(drop=True), ax=ax, width=width, **more)
    if figure is None:
        raise ValueError(f"nothing to show: {why}")
    drawn: Figure | Axes = figure if ax is None else ax
    for artist in drawn.findobj():
        if str(artist.get_gid()).startswith("cases"):  # a note for pages, which a file must not repeat as an id
            artist.set_gid(None)
    return drawn


def _check_frame(frame: Any, columns: Sequence[str], source: str) -> None:
    import pandas as pd

    is_frame = isinstance(frame, pd.DataFrame)
    if not is_frame:
        raise ValueError(f"frame: expected {source}, got {type(frame).__name__}")
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(f"frame has no column {missing[0]!r}: expected {source}")


def _check_axes(ax: Any) -> None:
    from matplotlib.axes import Axes

    if ax is None or (isinstance(ax, Axes) and ax.name == "rectilinear"):
        return
    got = f"{ax.name} axes" if isinstance(ax, Axes) else type(ax).__name__
    pick = ": pick one, such as ax.flat[0]" if hasattr(ax, "flat") else ""
    raise ValueError(f"ax: expected one rectilinear matplotlib Axes, got {got}{pick}")


def _choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, allowed))}, got {value!r}")
