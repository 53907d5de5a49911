"""Colours that follow the background: those of reports, and on the caller's axes those of the caller's style."""

from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba

from rnnbench.report.colors import INKS, Shade

BRIGHT = 0.18  # relative luminance of a background that is as far from white as from black
SOFT, LINE, FAINT = 1 / 3, 11 / 15, 14 / 15  # how far each is from the letters to the background


@dataclass(frozen=True)
class Ink:
    """The colours of letters and lines on one background, as `#rrggbb`."""

    text: str  # letters, and the mark of every reference
    soft: str  # letters and lines beside others
    line: str  # guides
    faint: str  # backgrounds of a part
    paper: str  # the background itself

    @property
    def is_dark(self) -> bool:
        """Whether the background is dark."""
        return luminance(self.paper) < BRIGHT

    def of(self, shade: Shade) -> str:
        """The form of a colour for this background. The ink of letters is that of the style."""
        if shade in (INKS["ink"], INKS["soft"]):
            return self.text if shade == INKS["ink"] else self.soft
        return shade.dark if self.is_dark else shade.light


def ink(axes: Axes) -> Ink:
    """The colours for the background of some axes, by the style in force."""
    paper = _background(axes)
    text = to_hex(matplotlib.rcParams["text.color"])
    return Ink(text, mixed(text, paper, SOFT), mixed(text, paper, LINE), mixed(text, paper, FAINT), paper)


def mixed(color: str, other: str, share: float) -> str:
    """A colour, with this share of another mixed in."""
    red, green, blue = (one + (two - one) * share for one, two in zip(to_rgb(color), to_rgb(other), strict=True))
    return str(to_hex((red, green, blue)))


def luminance(color: str) -> float:
    """Relative luminance from 0 (black) to 1 (white), as WCAG 2 defines it."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(color: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 (none) to 21, as WCAG 2 defines it."""
    low, high = sorted((luminance(color), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _background(axes: Axes) -> str:
    """The colour behind the axes: their own, that of their figure if they are transparent, or else white."""
    for color in (axes.get_facecolor(), axes.figure.get_facecolor()):
        *_, opacity = to_rgba(color)
        if opacity > 0.5:
            return str(to_hex(color))
    return "#ffffff"
