"""Every colour of figures, with its one meaning. Each has a light form, for files and light pages, and a dark one.

Pages hold each colour as a CSS variable, so a figure follows the page from light to dark. The hues of cells stay apart
under the common colour blindnesses (by 10 or more in OKLab, times 100, with Machado's matrices of 2009).
"""

from dataclasses import dataclass


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

# The cells; which has which is in `drawing/marks.py`.
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
    "unchanged": INKS["soft"],
    "undecided": Shade("#a67c00", "#f0c040"),
    "incomparable": Shade("#b5609a", "#e3a0cf"),
}

# The kinds of work of a call, as areas. A fit's dispatch, arithmetic and memory have those of the work they stand for.
WORK = {
    "products": Shade("#dcb04c", "#c79a38"),
    "pointwise": Shade("#b5e0c0", "#8fcba0"),
    "copies": Shade("#cf7d74", "#c2655c"),
    "layer": Shade("#a493ea", "#8b7ad6"),
    "other": Shade("#5fa8c4", "#4795b3"),
    "overhead": Shade("#b9b9b9", "#8a9199"),
    "whole": Shade("#8f8f8f", "#a9b0b8"),
}

# Sizes from small to large (viridis): on white from green to violet, on dark from blue to yellow.
SIZES = (
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

# Boxes of the heat map, from faster to slower, and all letters on coloured areas are the same in light and dark.
HEAT = ("#4a9fd0", "#9ccbe8", "#fcfcfc", "#f4b48c", "#e8833a")
ON_AREAS = "#111111"


def level(place: float) -> Shade:
    """The colour of a size by its place between the smallest (0) and the largest (1)."""
    return SIZES[round(place * (len(SIZES) - 1))]


def variables() -> dict[str, Shade]:
    """Every colour that is not the same in light and dark, by the name of its CSS variable."""
    return {
        **INKS,
        **HUES,
        "faster": FASTER,
        "slower": SLOWER,
        **{verdict: VERDICTS[verdict] for verdict in ("undecided", "incomparable")},
        **{f"work-{kind}": shade for kind, shade in WORK.items()},
        **{f"size-{index}": shade for index, shade in enumerate(SIZES)},
    }
