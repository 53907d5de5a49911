"""The contrast of letters and marks, as WCAG 2 asks for it."""

from rnnbench.report.drawing.sheet import luminance


def contrast(color: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 (none) to 21."""
    low, high = sorted((luminance(color), luminance(other)))
    return (high + 0.05) / (low + 0.05)
