"""What a run says first, as facts and as sentences.

The terminal and `rnnbench.load` say it by `Headline.sentences`, the page of a run by `run_answer`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnbench.analysis.summary import SHARED
from rnnbench.report.words.names import (
    say,
    word,
)
from rnnbench.report.words.units import (
    MISSING,
    digits,
    duration,
    ratio,
    ratio_interval,
    span,
)
from rnnbench.text import plural

NOISY = 0.1  # half-width of the typical interval; ratios that are known no better are guesses
MAX_MEDIANS = 4  # of a size whose medians are told


@dataclass(frozen=True)
class ExtremeCase:
    """The comparison with the highest ratio of those that are slower, or with the lowest of those that are faster."""

    name: str  # `lstm loop, training, batch 1`
    row: int  # of the summary
    ratio: float
    low: float
    high: float
    is_shared: bool  # it was measured on a shared core, and others were not

    def __str__(self) -> str:
        """Return `lstm loop, training, batch 1: 12.2× (12.0–12.5)`."""
        where = f", {SHARED}" if self.is_shared else ""
        return f"{self.name}: {ratio(self.ratio)} ({ratio_interval(self.low, self.high)}){where}"


@dataclass(frozen=True)
class SizeEffect:
    """The size or setting that explains most of the differences between the ratios of a series."""

    axis: str
    medians: Mapping[Any, float]  # by its values in ascending order, over cases with the same other sizes
    phase: str = ""  # of these cases, if the values differ by phase

    def __str__(self) -> str:
        """Return `Batch matters most: median 1.74× at batch 1, 1.18× at batch 32.`"""
        name = word(self.axis)
        values = list(self.medians)
        ends = values if len(values) <= MAX_MEDIANS else [values[0], values[-1]]
        medians = ", ".join(f"{ratio(self.medians[value])} at {say(self.axis, value)}" for value in ends)
        phase = f" in {self.phase}" if self.phase else ""
        return f"{name.capitalize()} matter{'' if name.endswith('s') else 's'} most{phase}: median {medians}."


@dataclass(frozen=True)
class Headline:
    """What a run says first, as values; `sentences` says them. A run without comparisons has only `nothing`."""

    reference: str  # to what the ratios are: see `reference_name`
    subject: str = ""  # the only cell, or its only implementation; empty if there are several cells
    counts: Mapping[str, int] = field(default_factory=dict)  # comparisons: slower, faster, unclear, without an interval
    shared: int = 0  # comparisons on a shared core
    lowest: float = math.nan  # of the ratios
    highest: float = math.nan
    median: float = math.nan  # of the ratios, without those on a shared core if there are others
    of_shared: tuple[float, float] = (math.nan, math.nan)  # the lowest and the highest ratio on a shared core
    worst: ExtremeCase | None = None
    best: ExtremeCase | None = None
    effect: SizeEffect | None = None
    typical: tuple[float, float] = (math.nan, math.nan)  # the ends of the median interval over its ratio: 0.98, 1.02
    half_width: float = math.nan  # of the median interval, as a share of the ratio
    only: Mapping[str, Any] | None = None  # the case, if there is one comparison: its row and its name
    nothing: str = ""  # why there is no comparison
    first: tuple[str, ...] = ()  # of late steps
    notes: tuple[str, ...] = ()  # slow calls, and what is not counted

    @property
    def total(self) -> int:
        """Return the number of comparisons."""
        return sum(self.counts.values())

    @property
    def is_noisy(self) -> bool:
        """Return True if the typical ratio is known so roughly that it is a guess."""
        return self.half_width > NOISY

    @property
    def warning(self) -> str:
        """Return how far a typical interval reaches, if the run is noisy; otherwise empty."""
        if not self.is_noisy:
            return ""
        low, high = map(digits, self.typical)
        return f"NOISY: a typical interval reaches from {low} to {high} times its ratio."

    @property
    def answer(self) -> str:
        """Return `Slower than torch.nn in 112 of 114 comparisons, faster in 0, unclear in 2.`"""
        if self.nothing:
            return self.nothing
        if self.only:
            return self._of_one(self.only)
        if self.counts.get("without an interval") == self.total:
            ends = span(digits(self.lowest), digits(self.highest))
            who = f"{self.subject} takes " if self.subject else ""
            comparisons = plural(self.total, "comparison")
            return f"No interval is known: {who}{ends} times as long as {self.reference} in {comparisons}."
        slower = self.counts.get("slower", 0)
        faster = self.counts.get("faster", 0)
        unclear = self.counts.get("unclear", 0)
        first, second = ("faster", "slower") if faster > slower else ("slower", "faster")
        who = f"{self.subject} is {first}" if self.subject else first.capitalize()
        more = f", without an interval in {number:,}" if (number := self.counts.get("without an interval")) else ""
        return (
            f"{who} than {self.reference} in {max(slower, faster):,} of {self.total:,} comparisons, "
            f"{second} in {min(slower, faster):,}, unclear in {unclear:,}{more}."
        )

    @property
    def state(self) -> str:
        """Return how many comparisons were made on a shared core; empty if none was."""
        if not self.shared:
            return ""
        if self.shared == self.total:
            return f"All of it was measured {SHARED}: another run may find other ratios."
        return f"{self.shared:,} of {self.total:,} comparisons were made {SHARED}; the others are undisturbed."

    def _of_one(self, case: Mapping[str, Any]) -> str:
        """Return `gru loop, training, batch 1: 2.31× (2.28–2.35) the time of torch.nn.GRU: slower; 409 µs a call.`"""
        interval = ratio_interval(case["ratio_low"], case["ratio_high"])
        interval_text = "no interval" if interval == MISSING else interval
        [kind] = self.counts
        verdict = "" if kind == "without an interval" else f": {kind}"
        times = f"{ratio(case['ratio'])} ({interval_text}) the time of {self.reference}"
        return f"{case['name']}: {times}{verdict}; {duration(case['seconds'])} a call."

    @property
    def sentences(self) -> list[str]:
        """Return the answer, then who, where, and what is not counted; each is a line of the terminal."""
        candidates = [
            *self.first,
            self.answer,
            f"Worst: {self.worst}." if self.worst else "",
            f"Best: {self.best}." if self.best else "",
            str(self.effect or ""),
            self.state,
            *self.notes,
        ]
        return [sentence for sentence in candidates if sentence]
