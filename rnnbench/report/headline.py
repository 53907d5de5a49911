"""What a run says first: how often its cells are slower, the worst case, the size that matters most, how sure all is.

The terminal and `rnnbench.load` say it by `Headline.sentences`, the page of a run by `run_answer`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from rnnbench.analysis.size_fit import explained_shares
from rnnbench.analysis.summary import SHARED
from rnnbench.report.case_tables import (
    ALONE,
    NO_REFERENCE,
    half_width_of,
    has_slow_calls,
    is_coarse,
    is_shared,
    reference_name,
    tally,
)
from rnnbench.report.words.names import (
    ALWAYS,
    CONTEXT,
    SETTINGS,
    SIZES,
    is_reference,
    one_line,
    say,
    say_all,
    several,
    swept,
    with_series,
    with_short_cells,
    word,
)
from rnnbench.report.words.units import (
    MISSING,
    digits,
    duration,
    percent,
    ratio,
    ratio_interval,
    span,
)
from rnnbench.store.records import (
    DEFAULTS,
    LOADS,
    OF_DATA,
    TORCH_OWN,
    WORKLOAD_AXES,
    reference_cell,
)
from rnnbench.text import plural

NOISY = 0.1  # half-width of the typical interval; ratios that are known no better are guesses
FEW_FASTER = 0.05  # of the comparisons: the best one is no news then
MIN_SHARE = 0.1  # of the variance of ratios, for a size to matter
MIN_APART = 1.1  # from the lowest of these medians to the highest
MAX_VALUES = 4  # of a size whose medians are told


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
        shown = values if len(values) <= MAX_VALUES else [values[0], values[-1]]
        told = ", ".join(f"{ratio(self.medians[value])} at {say(self.axis, value)}" for value in shown)
        phase = f" in {self.phase}" if self.phase else ""
        return f"{name.capitalize()} matter{'' if name.endswith('s') else 's'} most{phase}: median {told}."


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
    only: Mapping[str, Any] | None = None  # the case, if there is one comparison: name, its and the reference's seconds
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
        """Return `gru loop, training, batch 1, length 16: 2.31× (2.28–2.35) the time of torch.nn.GRU, unclear.`"""
        interval = ratio_interval(case["ratio_low"], case["ratio_high"])
        known = "no interval" if interval == MISSING else interval
        basis = case["reference_seconds"]
        times = "" if math.isnan(basis) else f", {duration(case['seconds'])} against {duration(basis)}"
        [kind] = self.counts
        verdict = "" if kind == "without an interval" else f": {kind}"
        return f"{case['name']}: {ratio(case['ratio'])} ({known}) the time of {self.reference}{times}{verdict}."

    @property
    def sentences(self) -> list[str]:
        """Return the answer, then who, where, and what is not counted; each is a line of the terminal."""
        told = [
            *self.first,
            self.answer,
            f"Worst: {self.worst}." if self.worst else "",
            f"Best: {self.best}." if self.best else "",
            str(self.effect or ""),
            self.state,
            *self.notes,
        ]
        return [sentence for sentence in told if sentence]


def headline(summary: pd.DataFrame) -> Headline:
    """Find out what a run says first, from the rows of `summarize`."""
    named = with_series(with_short_cells(summary))
    measured = named[named["status"] == "measured"]
    name = reference_name(summary)
    first = _late_steps(measured)
    own = measured[~is_reference(measured) & ~measured["implementation"].isin(TORCH_OWN)]
    if nothing := _nothing(measured, own, name):
        return Headline(name, nothing=nothing, first=first)
    counted, notes = _counted(own)
    if counted.empty:
        nothing = "No case was measured that does all of its work in each call."
        return Headline(name, nothing=nothing, first=first, notes=notes)
    counts = tally(counted)
    ratios = counted["ratio"]
    is_single = sum(counts.values()) == 1
    shared = is_shared(counted)
    return Headline(
        _whom(counted, name),
        _subject(counted),
        counts,
        int(shared.sum()),
        float(ratios.min()),
        float(ratios.max()),
        float((ratios if shared.all() else ratios[~shared]).median()),
        (float(ratios[shared].min()), float(ratios[shared].max())),
        worst=None if is_single else _extreme(counted, counted["ratio_low"] > 1, is_worst=True),
        best=_best(counted, counts),
        effect=size_effect(counted),
        typical=_typical(counted),
        half_width=float(half_width_of(counted).median()),
        only=_only(counted, measured) if is_single else None,
        first=first,
        notes=(*_slow_calls(counted), *notes),
    )


def _nothing(measured: pd.DataFrame, own: pd.DataFrame, name: str) -> str:
    """Say why nothing of a run can be compared; empty if something can."""
    if measured.empty:
        return "No case was measured."
    if own.empty:
        return f"Only {name} was measured, so there is nothing to compare it with."
    if name == NO_REFERENCE:
        return ALONE
    if own["ratio"].isna().all():
        return f"{name} was not measured beside these, so how far they are from it can't be said."
    return ""


def _counted(own: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the comparisons that count, and sentences about those that do not, and why."""
    compared = own.dropna(subset=["ratio"])
    notes: list[str] = []
    keeps = compared["parity"].map(lambda parity: parity.kind == "cached").astype(bool)
    if keeps.any():
        cells = ", ".join(map(one_line, compared.loc[keeps, "cell"].unique()))
        notes.append(f"Not counted, since less than half of the work is done when values come again: {cells}.")
        compared = compared[~keeps]
    doubtful = compared[~compared["parity"].map(lambda parity: parity.is_equal_work).astype(bool)]
    if len(doubtful):  # not counted if there are others
        cells = ", ".join(map(one_line, doubtful["cell"].unique()))
        is_all = len(doubtful) == len(compared)
        if is_all:
            notes.append("Counted though not verified to do the same work.")
        else:
            notes.append(f"Not counted, since not verified to do the same work: {cells}.")
            compared = compared.drop(doubtful.index)
    alone = own.loc[own["reference"] == "none", "cell"].unique()
    if len(alone) and not own["reference"].eq("none").all():
        notes.append(f"Time only, without a reference: {', '.join(map(one_line, alone))}.")
    return compared, tuple(notes)


def _whom(counted: pd.DataFrame, name: str) -> str:
    """Return to what the ratios of these comparisons are: `torch.nn.GRU` if it is one layer."""
    references = counted["reference"].unique()
    return reference_cell(references[0]) if name == "torch.nn" and len(references) == 1 else name


def _subject(counted: pd.DataFrame) -> str:
    """Return the only series of these comparisons, or their only cell; empty if there are several cells."""
    for column in ("series", "cell"):
        names = counted[column].unique()
        if len(names) == 1:
            return one_line(names[0])
    return ""


def _name(case: Mapping[Any, Any], axes: Sequence[str]) -> str:
    """Return `lstm loop, training, batch 1, length 64`; a data set's axes only of a case that loads data."""
    own = [axis for axis in axes if case["phase"] in LOADS or axis not in OF_DATA]
    return ", ".join(filter(None, [case["series"], case["phase"], say_all(own, map(case.get, own))]))


def _extreme(counted: pd.DataFrame, which: "pd.Series[bool]", *, is_worst: bool) -> ExtremeCase | None:
    """Return the case with the highest or the lowest ratio of those chosen, if possible one that is not coarse."""
    chosen = counted[which]
    if chosen.empty:
        return None
    rows: list[dict[Any, Any]] = chosen.assign(row=chosen.index).to_dict("records")
    known = [row for row in rows if not is_coarse(row)] or rows
    case = (max if is_worst else min)(known, key=lambda row: float(row["ratio"]))
    return ExtremeCase(
        _name(case, swept(counted, (*SETTINGS, *SIZES))),
        int(case["row"]),
        case["ratio"],
        case["ratio_low"],
        case["ratio_high"],
        case["state"] == SHARED and not is_shared(counted).all(),
    )


def _best(counted: pd.DataFrame, counts: Mapping[str, int]) -> ExtremeCase | None:
    """Return the case with the lowest ratio, if more than a few comparisons are faster, and more than one is made."""
    total = sum(counts.values())
    if total == 1 or counts.get("faster", 0) <= FEW_FASTER * total:
        return None
    return _extreme(counted, counted["ratio_high"] < 1, is_worst=False)


def _only(counted: pd.DataFrame, measured: pd.DataFrame) -> dict[str, Any]:
    """Return the only comparison: its row with its `name` and `reference_seconds`, which are NaN if not known."""
    is_basis = counted["ratio_low"].eq(1) & counted["ratio_high"].eq(1)  # the fastest itself
    case: dict[Any, Any] = counted[~is_basis].iloc[0].to_dict()
    same = measured[list(WORKLOAD_AXES)].eq([case[axis] for axis in WORKLOAD_AXES]).all(axis=1)
    basis = is_reference(measured) if case["reference"] != "none" else measured["ratio"].eq(1)
    sizes = [axis for axis in ALWAYS if case["phase"] not in LOADS]
    others = [axis for axis in SETTINGS if case[axis] != DEFAULTS.get(axis, case[axis])]
    return {
        **case,
        "name": _name(case, [*sizes, *others]),
        "reference_seconds": float(measured.loc[same & basis, "seconds"].min()),
    }


def _typical(counted: pd.DataFrame) -> tuple[float, float]:
    """Return how far intervals reach, as shares of their ratios: the medians of the lower and of the higher ends."""
    known = counted[half_width_of(counted).reindex(counted.index).notna()]
    return float((known["ratio_low"] / known["ratio"]).median()), float((known["ratio_high"] / known["ratio"]).median())


def size_effect(counted: pd.DataFrame) -> SizeEffect | None:
    """Find the size or setting on which ratios depend most, within each series and phase; None if chance is enough.

    Medians are over cases of one state of the core that were measured at all values of the axis, so that nothing else
    differs between them. If phases have other values, they are of the phase with the most cases.
    """
    if several(counted, CONTEXT):
        return None  # a median over CPU and GPU would describe neither
    shared = is_shared(counted)
    cases = counted[shared if shared.mean() > 0.5 else ~shared]
    axes = [axis for axis in swept(cases, (*SIZES, *SETTINGS)) if axis not in CONTEXT]
    shares = explained_shares(cases, ["series", "phase"], axes)
    axis = max(axes, key=lambda axis: shares.get(axis, 0.0), default=None)
    if axis is None or shares.get(axis, 0.0) < MIN_SHARE:
        return None
    values = {str(phase): frozenset(own[axis]) for phase, own in cases.groupby("phase", sort=False)}
    phase = ""
    if len(set(values.values())) > 1:
        phase = str(cases["phase"].mode()[0])
        cases = cases[cases["phase"] == phase]
    others = ["series", "phase", *(other for other in axes if other != axis)]
    at_all = cases.groupby(others)[axis].transform("nunique") == cases[axis].nunique()
    medians = cases[at_all].groupby(axis)["ratio"].median()
    is_seen = len(medians) > 1 and medians.max() >= MIN_APART * medians.min()
    return SizeEffect(axis, medians.to_dict(), phase) if is_seen else None


def _slow_calls(counted: pd.DataFrame) -> list[str]:
    """Say how many comparisons have another ratio in the mean than by their typical call, and which differs most."""
    apart = counted[[has_slow_calls(row) for row in counted.to_dict("records")]]
    if apart.empty:
        return []
    farthest = max(apart.to_dict("records"), key=lambda row: abs(math.log(row["mean_ratio"] / row["ratio"])))
    name = _name(farthest, swept(counted, (*SETTINGS, *SIZES)))
    return [
        f"In {len(apart):,} of {plural(len(counted), 'comparison')} only some calls are slow; farthest apart is "
        f"{name}: typically {ratio(farthest['ratio'])}, in the mean {ratio(farthest['mean_ratio'])}."
    ]


def _late_steps(measured: pd.DataFrame) -> tuple[str, ...]:
    """Say how many streams had late steps, and which had most of them, if the steps have a period."""
    if "late_share" not in measured or measured["late_share"].isna().all():
        return ()
    frame = measured.dropna(subset=["late_share"])
    periods = " or ".join(map(duration, frame["period_seconds"].unique()))
    late = int(frame["late_share"].gt(0).sum())
    if not late:
        return (f"No step of {plural(len(frame), 'stream')} took longer than {periods}.",)
    worst = frame.nlargest(1, "late_share").iloc[0]
    most = ", ".join([worst["series"], *(say(axis, worst[axis]) for axis in several(frame, (*SETTINGS, *SIZES)))])
    share = percent(worst["late_share"])
    return (
        f"{late:,} of {plural(len(frame), 'stream')} had steps longer than {periods}. The worst is {most}: {share}.",
    )
