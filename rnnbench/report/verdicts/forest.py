"""A change with its interval as a few characters of equal width, for places that show only text."""

import math

from rnnbench.analysis.estimate import Estimate

CELLS_OF_MARGIN = 2
MARGINS = 4  # from no change to an end
CELLS = CELLS_OF_MARGIN * MARGINS  # on each side of no change
EMPTY, EDGE, NONE, INTERVAL, ACROSS, VALUE = "·", "┊", "│", "━", "┿", "●"  # across: an interval over a line
BEYOND = ("◀", "▶")  # the change itself lies beyond the end
HEAD = "faster │ slower"
LEGEND = f"Between the two {EDGE} lies the margin; an end of the line is four margins away."


def bar(estimate: Estimate | None, margin: float) -> str:
    """`······┊·│·┊━●━···`: no change in the middle, the margin on both sides of it, then the interval and the change.

    An end is four margins away, so that the bars of cases with equal margins can be compared. Empty without a change
    or its interval.
    """
    if estimate is None or not estimate.lower > 0 or margin <= 0:
        return ""
    cells = [EMPTY] * (2 * CELLS + 1)
    for edge in (-1, 1):
        cells[CELLS + edge * CELLS_OF_MARGIN] = EDGE
    cells[CELLS] = NONE
    value = _cell(estimate.value, margin)
    low, high = (min(max(_cell(end, margin), 0), 2 * CELLS) for end in (estimate.lower, estimate.upper))
    cells[low : high + 1] = [INTERVAL if cell == EMPTY else ACROSS for cell in cells[low : high + 1]]
    if 0 <= value <= 2 * CELLS:
        cells[value] = VALUE
    else:
        cells[min(max(value, 0), 2 * CELLS)] = BEYOND[value > 0]
    return "".join(cells)


def _cell(ratio: float, margin: float) -> int:
    """The place of a ratio; below 0 or above twice `CELLS` if it lies beyond an end."""
    place = CELLS_OF_MARGIN * math.log(ratio) / math.log1p(margin)
    return CELLS + round(min(max(place, -2 * CELLS), 2 * CELLS))
