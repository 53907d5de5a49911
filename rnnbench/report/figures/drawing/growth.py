"""Lines along one size with the other sizes held twice: at their smallest and at their largest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import from_logs
from rnnbench.analysis.scaling.crossing import along
from rnnbench.analysis.scaling.fit import SERIES, Fits, SizeFit
from rnnbench.analysis.scaling.held_out import MIN_VALUES, MOVING
from rnnbench.analysis.scaling.predict import interval, ratios
from rnnbench.report.figures.drawing.chosen import plain_and_fastest
from rnnbench.report.words.axes import SETTINGS, SIZES, say, say_all, swept
from rnnbench.report.words.reference import is_reference

GrowthValue = Literal["ratio", "seconds"]
GROWING = ("batch_size", "seq_len", "hidden_size")
STEPS = 60  # along a curve
MAX_SPREAD = 2.25  # upper over lower end of a fit's interval: about 1.5 times as much or as little
# How figures draw these lines, by whether the other sizes are at their largest.
MARK_POINTS = {False: 3.2, True: 6.0}
LINE: dict[bool, Any] = {False: "-", True: (0, (1, 1.2))}
DOTS: Any = (0, (1, 3))  # between two measured points, which show no law


@dataclass(frozen=True)
class Curve:
    """A fit along one axis: the sizes, the fitted values and the ends of their intervals."""

    fit: SizeFit
    sizes: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def within(self, axis: str) -> np.ndarray:
        """The fitted values between the smallest and the largest measured size."""
        measured = self.fit.levels[axis]
        return self.values[(self.sizes >= measured[0]) & (self.sizes <= measured[-1])]


@dataclass(frozen=True)
class Growth:
    """The cases of one series that differ in one size alone."""

    series: str
    is_large: bool  # the other sizes are at their largest
    held: Mapping[str, Any]  # the other sizes
    cases: pd.DataFrame  # sorted by the size
    curve: Curve | None = None  # if the series can be fitted


@dataclass(frozen=True)
class GrowthPanel:
    """The lines of one family and phase along one size."""

    family: str
    phase: str
    setting: str  # in words; empty if the run has one
    axis: str
    growths: Sequence[Growth]

    @property
    def sizes(self) -> list[int]:
        """The measured values of the axis."""
        return sorted({int(size) for growth in self.growths for size in growth.cases[self.axis]})

    def held(self, *, is_large: bool) -> str:
        """The sizes at which the others are held, in words: `length 16, hidden 64 or 128`; empty if none vary."""
        held = [growth.held for growth in self.growths if growth.is_large == is_large]
        texts = []
        for axis in held[0] if held else ():
            first, *others = sorted({int(sizes[axis]) for sizes in held})
            texts.append(" or ".join([say(axis, first), *map(str, others)]))
        return ", ".join(texts)


def panels(measured: pd.DataFrame, fitted: Fits, value: GrowthValue) -> Iterator[GrowthPanel]:
    """A panel for each family, phase and axis with two measured values. `measured` comes from `with_series`.

    Of several settings, that with the most cases is shown.
    """
    for (family, phase), of_phase in measured.groupby(["family", "phase"], sort=False):
        settings, setting, cases = swept(of_phase, SETTINGS), "", of_phase
        if settings:
            keys = of_phase[settings].apply(tuple, axis=1)
            most: Any = keys.value_counts(sort=False).idxmax()
            setting, cases = say_all(settings, most), of_phase[keys == most]
        cases = plain_and_fastest(cases, value)
        axes = swept(cases, SIZES)
        for axis in (axis for axis in GROWING if axis in axes):
            shown = cases if value == "seconds" else cases[~is_reference(cases)]
            growths = [
                growth
                for series, own in shown.groupby("series", sort=False)
                for growth in _growths(str(series), own, axis, [other for other in axes if other != axis])
            ]
            if growths:
                with_curves = [_with_curve(growth, axis, fitted, value) for growth in growths]
                yield GrowthPanel(str(family), str(phase), setting, axis, with_curves)


def _growths(series: str, cases: pd.DataFrame, axis: str, others: list[str]) -> Iterator[Growth]:
    """The line of one series with the other sizes at their smallest, and that with them at their largest.

    Both are among the sizes at which the axis has the most values; there is one line if these are one combination.
    """
    if not others:
        ends: list[tuple[Any, ...]] = [()] if cases[axis].nunique() > 1 else []
    else:
        counts = cases.groupby(others, sort=True)[axis].nunique()
        longest = counts.index[(counts == counts.max()) & (counts > 1)]
        keys = [key if isinstance(key, tuple) else (key,) for key in longest]
        ends = [keys[0], keys[-1]] if len(keys) > 1 else keys
    for is_large, sizes in enumerate(ends):
        own = cases[cases[others].eq(list(sizes)).all(axis=1)] if others else cases
        yield Growth(series, bool(is_large), dict(zip(others, sizes, strict=True)), own.sort_values(axis))


def _with_curve(growth: Growth, axis: str, fitted: Fits, value: GrowthValue) -> Growth:
    """The line with its fit, if the series has one that says something, and enough values of the axis.

    Beyond the measured sizes, the fit ends where its interval becomes too wide.
    """
    first = growth.cases.iloc[0]
    key = tuple(first[SERIES])
    fit = next((fit for fit in fitted.found if tuple(fit.axes.values()) == key), None)
    if fit is None or len(fit.levels[axis]) < MIN_VALUES:
        return growth
    sizes = along(axis, {other: int(first[other]) for other in MOVING}, fit.levels, STEPS)
    if value == "seconds":
        values, low, high = interval(fit, sizes)
    else:
        values, half = ratios(fit, fitted.reference_of(fit), sizes)
        low, high = values * from_logs(-half), values * from_logs(half)
    places = sizes[axis].to_numpy(dtype=float)
    is_known = np.isfinite(values) & (high <= MAX_SPREAD * low)
    is_measured = (places >= fit.levels[axis][0]) & (places <= fit.levels[axis][-1])
    if not is_known[is_measured].all():
        return growth
    curve = Curve(fit, places, *(np.where(is_known, line, np.nan) for line in (values, low, high)))
    return Growth(growth.series, growth.is_large, growth.held, growth.cases, curve)
