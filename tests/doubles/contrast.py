"""The contrast of letters and marks, as WCAG 2 asks for it."""

from matplotlib.colors import to_rgb


def contrast(color: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 (none) to 21."""
    low, high = sorted((luminance(color), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance from 0 (black) to 1 (white)."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
