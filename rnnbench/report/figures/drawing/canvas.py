"""What all figures share: one look, log axes with plain numbers, and files that are always the same bytes."""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from rnnbench.report.colors import INKS

LOOK: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INKS["soft"].light,
    "axes.axisbelow": True,
    "grid.color": INKS["grid"].light,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # a name may contain a $
    "svg.fonttype": "path",  # the same on every viewer, whatever fonts it has
    "svg.hashsalt": "rnnbench",  # the same ids every time
    "pdf.fonttype": 42,  # letters that can be searched and edited
}
METADATA: dict[str, dict[str, None]] = {  # without the date and the versions, so that files have the same bytes
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "png": {"Software": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}
DOTS_PER_INCH = 160
EDGE = 0.03  # inches around what is drawn beyond the figure
MAX_NAME_LENGTH = 40  # letters of a name beside a figure
ANCHORS = re.compile(r'\bid="|url\(#|href="#')  # where an SVG names an element or refers to one
MARKED = re.compile(r'\bid="cases((?:-\d+)+)"')
ROUND_STEPS = (
    (1, 10),
    (1, 3, 10),
    (1, 2, 5, 10),
    (1, 2, 3, 5, 7, 10),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10),
)  # from coarse to fine


@contextmanager
def look() -> Iterator[None]:
    """Apply the look of all figures, whatever the style in force is."""
    with style.context(["default", LOOK]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


class Shown(Figure):
    """A figure that keeps the look of reports in a notebook and in every file, whatever the caller's style is.

    The same figure gives the same bytes as PNG, SVG and PDF.
    """

    def draw(self, renderer: Any) -> None:
        """Draw it with the look of reports."""
        with look():
            super().draw(renderer)

    def savefig(self, fname: Any, **how: Any) -> None:
        """Save it with the look of reports, as `matplotlib.figure.Figure.savefig` does."""
        kind = how.get("format") or Path(str(fname)).suffix.removeprefix(".") or "png"
        with look():
            super().savefig(fname, **{"metadata": METADATA.get(kind)} | how)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return png(self)


def settle(figure: Figure) -> None:
    """Lay the figure out once for all formats: they differ by under a point, and layout takes as long as drawing."""
    engine = figure.get_layout_engine()
    with look():
        if engine is not None:
            engine.execute(figure)
        figure.set_layout_engine(None)  # "none" would leave a placeholder, for which every file is drawn twice


def svg(figure: Figure, name: str) -> str:
    """The figure as SVG. Every id starts with `name`, so that one page can hold several figures.

    The rows that `mark` noted are in attributes `data-cases`.
    """
    out = io.StringIO()
    with look():
        figure.savefig(out, format="svg", metadata=METADATA["svg"], bbox_inches=_paper(figure))
    marked = MARKED.sub(lambda match: f'data-cases="{match[1][1:].replace("-", " ")}"', out.getvalue())
    return ANCHORS.sub(rf"\g<0>{name}-", marked)


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    out = io.BytesIO()
    with look():
        figure.savefig(out, format="png", dpi=DOTS_PER_INCH, metadata=METADATA["png"], bbox_inches=_paper(figure))
    return out.getvalue()


def pdf(figure: Figure) -> bytes:
    """The figure as PDF."""
    out = io.BytesIO()
    with look():
        figure.savefig(out, format="pdf", metadata=METADATA["pdf"], bbox_inches=_paper(figure))
    return out.getvalue()


def _paper(figure: Figure) -> Bbox | None:
    """What to save: the figure, and around it what does not fit; None if all fits. A label is never cut."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):  # not yet settled
        figure.draw_without_rendering()
    drawn, size = figure.get_tightbbox(), figure.bbox_inches
    whole = Bbox.union([size, drawn.padded(EDGE)])
    is_inside = drawn.x0 >= size.x0 and drawn.y0 >= size.y0 and drawn.x1 <= size.x1 and drawn.y1 <= size.y1
    return None if is_inside else whole


def mark(drawn: Artist | ErrorbarContainer, cases: Iterable[int]) -> None:
    """Note which rows of the summary an artist shows, in drawing order. Pages select by these rows."""
    noted = "-".join(["cases", *map(str, cases)])
    if isinstance(drawn, ErrorbarContainer):
        line, caps, bars = drawn.lines
        parts: list[Artist] = [*([line] if line else []), *caps, *bars]
    else:
        parts = [drawn]
    for part in parts:
        part.set_gid(noted)


def log_axis(axis: Axis, low: float, high: float, label: Callable[[float], str], *, most: int = 7) -> None:
    """A log axis with a few round, plainly written numbers between `low` and `high`."""
    fixed_ticks(axis, round_numbers(low, high, most), label)


def fixed_ticks(axis: Axis, places: Sequence[float], label: Callable[[float], str]) -> None:
    """Set ticks at exactly these values of a log axis."""
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def legible(sizes: Sequence[float], most: int, ends: tuple[float, float] | None = None) -> list[float]:
    """Select the sizes whose numbers have room on a log axis: both ends, and what fits between them.

    `sizes` are in rising order. `ends` are the ends of the axis if it goes beyond the sizes.
    """
    first, last = ends or (sizes[0], sizes[-1])
    room = math.log(last / first) / most
    kept = [sizes[0]]
    for size in sizes[1:-1]:
        if min(math.log(size / kept[-1]), math.log(sizes[-1] / size)) >= room:
            kept.append(size)
    return kept if len(sizes) == 1 else [*kept, sizes[-1]]


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """The finest set of at most `most` round numbers between two positive ones."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for steps in ROUND_STEPS:
        numbers = sorted({float(f"{step}e{decade}") for decade in decades for step in steps})
        within = [number for number in numbers if low <= number <= high]
        if len(within) <= most or not best:
            best = within
    if len(best) < min(3, most):  # a span too short for these steps
        even = MaxNLocator(max(1, most - 2)).tick_values(low, high)
        best = [float(f"{tick:.6g}") for tick in even if low <= tick <= high]
    return best


def short(name: str, most: int = MAX_NAME_LENGTH) -> str:
    """Shorten a name to `most` letters. It loses letters before its end, since the end tells names apart."""
    if len(name) <= most:
        return name
    head = most // 3
    return f"{name[:head]}…{name[head + 1 - most :]}"


def beside(axes: Axes, place: float, points: float, text: str, **how: Any) -> None:
    """Write text to the right of a row, `points` away from the axes because their width is not known yet."""
    axes.annotate(
        text,
        (1, place),
        (points, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        **how,
    )


def quiet(axes: Axes) -> None:
    """Remove frame and tick marks, for panels that do not need them."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
