"""Facts about a run: what its ratios are to, how well each of them is known, and what the run says first.

`sentences` puts the last into words.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from rnnbench.analysis.derived import explained_shares
from rnnbench.analysis.summary import SHARED
from rnnbench.report.words.names import (
    CONTEXT,
    MAIN_SIZES,
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
)
from rnnbench.report.words.units import duration, percent
from rnnbench.store.parity import AGREES, IS_REFERENCE
from rnnbench.store.records import DEFAULTS, LOADS, OF_DATA, TORCH_OWN, is_cell_reference, reference_cell
from rnnbench.text import plural, printable

NO_REFERENCE = "no reference"
NO_RATIOS = "Time only: no reference is named, so there are no ratios and nothing was compared."
FAR_APART = 1.5  # the higher end of an interval over the lower: such a ratio is coarse
SAME_WORK = (AGREES, IS_REFERENCE)
STAR = "*"  # behind a number that was measured on a shared core, in a table where others are undisturbed
ABOUT_CASE_STAR = f"{STAR} {SHARED}."
ABOUT_STAR = f"{STAR} {SHARED}; all other medians are of undisturbed cases alone."
OTHER_WORK = "n"  # the letter of this doubt in a paper
NOISY = 0.1  # half-width of the typical interval; ratios that are known no better are guesses
FEW_FASTER = 0.05  # of the comparisons: the best one is no news then
MIN_EXPLAINED = 0.1  # of the variance of ratios, for a size to matter
MIN_MEDIANS_APART = 1.1  # from the lowest of these medians to the highest


@dataclass(frozen=True)
class ExtremeCase:
    """The comparison with the highest ratio of those that are slower, or with the lowest of those that are faster."""

    name: str  # `lstm loop, training, batch 1`
    row: int  # of the summary
    ratio: float
    low: float
    high: float
    is_shared: bool  # it was measured on a shared core, and others were not


@dataclass(frozen=True)
class SizeEffect:
    """The size or setting that explains most of the differences between the ratios of a series."""

    axis: str
    medians: Mapping[Any, float]  # by its values in ascending order, over cases with the same other sizes
    phase: str = ""  # of these cases, if the values differ by phase


@dataclass(frozen=True)
class Headline:
    """What a run says first, as values. A run without comparisons has only `nothing`."""

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


def half_width_of(cases: pd.DataFrame) -> "pd.Series[float]":
    """Return half of the width of each ratio's interval, as a share of the ratio; NaN where there is no interval."""
    with_interval = cases[~cases["ratio_low"].eq(cases["ratio_high"])]
    ends: pd.Series[float] = with_interval["ratio_high"].astype(float) / with_interval["ratio_low"].astype(float)
    return ends.pow(0.5) - 1


def reference_name(summary: pd.DataFrame) -> str:
    """Return the name of what the ratios of a run are to: `torch.nn`, a cell, or `per_item` for data sets.

    It is `the reference` if cases have several, such as a cell and torch.nn. Without references it is
    `the fastest` of each group, or `NO_REFERENCE` if there are no ratios.
    """
    references = [str(reference) for reference in summary["reference"].unique()]
    if references == ["none"]:
        return "the fastest" if "ratio" in summary and summary["ratio"].notna().any() else NO_REFERENCE
    if any(map(is_cell_reference, references)):
        return printable(references[0]) if len(references) == 1 else "the reference"
    loads = summary["phase"] == "loading"
    if not loads.any():
        return "torch.nn"
    return "per_item" if loads.all() else "the reference"


def is_unclear(row: Mapping[Any, Any]) -> bool:
    """Return True if the 95% interval of a case includes 1, so that it may be slower or faster than its reference."""
    return bool(row["ratio_low"] <= 1 <= row["ratio_high"] != row["ratio_low"])


def is_coarse(row: Mapping[Any, Any]) -> bool:
    """Return True if the ends of the 95% interval of a case are far apart: its ratio is known only roughly."""
    return bool(row["ratio_high"] > FAR_APART * row["ratio_low"])


def has_slow_calls(row: Mapping[Any, Any]) -> bool:
    """Return True if the ratio of a case's mean times is surely above its ratio: only some calls are slow.

    Such are calls with a garbage collection, or every tenth one.
    """
    return bool(row["has_slow_calls"])


# What a letter beside a case says in a paper, and its words beside the case elsewhere.
DOUBTS: dict[str, tuple[str, Callable[[Mapping[Any, Any]], bool]]] = {
    "u": ("unclear, the interval includes 1", is_unclear),
    "w": ("coarse, the interval is wide", is_coarse),
    "m": ("only some calls are slow", has_slow_calls),
    "s": (SHARED, lambda row: row["state"] == SHARED),
    OTHER_WORK: ("may do other work than the reference", lambda row: row["parity"] not in SAME_WORK),
}


def doubts(row: Mapping[Any, Any]) -> list[str]:
    """Return the doubts about a case's ratio, but for other work, which the case's parity says in more words."""
    return [words for letter, (words, is_so) in DOUBTS.items() if letter != OTHER_WORK and is_so(row)]


def is_shared(cases: pd.DataFrame) -> "pd.Series[bool]":
    """Return True for the cases that were measured on a shared core, which are never in a median with others."""
    shared: pd.Series[bool] = cases["state"].eq(SHARED)
    return shared


def star(cases: pd.DataFrame, *, has_both_states: bool) -> str:
    """Return STAR for a number of these cases if all were measured on a shared core, and others of the table not."""
    return STAR if has_both_states and len(cases) and is_shared(cases).all() else ""


def counted(cases: pd.DataFrame, keys: Sequence[str] = ()) -> pd.DataFrame:
    """Return the cases of which medians are: the undisturbed ones, or all of them if there are no others.

    `keys`: this holds for each group of cases that have these in common.
    """
    shared = is_shared(cases)
    if keys and len(cases):
        are_all_shared = shared.groupby([cases[key] for key in keys]).transform("all")
        return cases[~shared | are_all_shared]
    return cases if shared.all() else cases[~shared]


def tally(cases: pd.DataFrame) -> dict[str, int]:
    """Count the cases with a ratio by its 95% interval, without the zeros.

    The fastest case of a group, to which the ratios may be, is left out. `unclear`: the interval includes 1.
    """
    cases = cases[cases["ratio"].notna() & ~(cases["ratio_low"].eq(1) & cases["ratio_high"].eq(1))]
    slower = cases["ratio_low"] > 1
    faster = cases["ratio_high"] < 1
    has_interval = cases["ratio_low"].notna()
    masks = {
        "slower": slower,
        "faster": faster,
        "unclear": has_interval & ~slower & ~faster,
        "without an interval": ~has_interval,
    }
    return {word: number for word, mask in masks.items() if (number := int(mask.sum()))}


def agreed(words: Iterable[str]) -> str:
    """Return the one word for the outputs of several cases, `not all agree`, or `not measured` for none."""
    different = {*words}
    if not different:
        return "not measured"
    return different.pop() if len(different) == 1 else "not all agree"


def headline(summary: pd.DataFrame) -> Headline:
    """Find out what a run says first, from the rows of `summarize`."""
    rows = with_series(with_short_cells(summary))
    measured = rows[rows["status"] == "measured"]
    name = reference_name(summary)
    first = _late_steps(measured)
    cases = measured[~is_reference(measured) & ~measured["implementation"].isin(TORCH_OWN)]
    if nothing := _nothing(measured, cases, name):
        return Headline(name, nothing=nothing, first=first)
    comparisons, notes = _counted(cases)
    if comparisons.empty:
        nothing = "No case was measured that does all of its work in each call."
        return Headline(name, nothing=nothing, first=first, notes=notes)
    counts = tally(comparisons)
    ratios = comparisons["ratio"]
    is_single = sum(counts.values()) == 1
    shared = is_shared(comparisons)
    return Headline(
        _whom(comparisons, name),
        _subject(comparisons),
        counts,
        int(shared.sum()),
        float(ratios.min()),
        float(ratios.max()),
        float(counted(comparisons)["ratio"].median()),
        (float(ratios[shared].min()), float(ratios[shared].max())),
        worst=None if is_single else _extreme(comparisons, comparisons["ratio_low"] > 1, is_worst=True),
        best=_best(comparisons, counts),
        effect=size_effect(comparisons),
        typical=_typical(comparisons),
        half_width=float(half_width_of(comparisons).median()),
        only=_only(comparisons) if is_single else None,
        first=first,
        notes=(*_slow_calls(comparisons), *notes),
    )


def _nothing(measured: pd.DataFrame, cases: pd.DataFrame, name: str) -> str:
    """Say why nothing of a run can be compared; empty if something can."""
    if measured.empty:
        return "No case was measured."
    if cases.empty:
        return f"Only {name} was measured, so there is nothing to compare it with."
    if name == NO_REFERENCE:
        return NO_RATIOS
    if cases["ratio"].isna().all() and not _keeps_results(cases).any():
        return f"{name} was not measured beside these, so how far they are from it can't be said."
    return ""


def _keeps_results(cases: pd.DataFrame) -> "pd.Series[bool]":
    """Return True for cases whose time on known values shows a cache; they have no ratio."""
    return cases["parity"].map(lambda parity: parity.kind == "cached").astype(bool)


def _counted(cases: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the comparisons that count, and sentences about those that do not, and why."""
    compared = cases.dropna(subset=["ratio"])
    notes: list[str] = []
    keeps = _keeps_results(cases)
    if keeps.any():
        cells = ", ".join(map(one_line, cases.loc[keeps, "cell"].unique()))
        notes.append(f"Not counted, because a call is faster when it gets the same values again: {cells}.")
    doubtful = compared[~compared["parity"].map(lambda parity: parity.is_equal_work).astype(bool)]
    if len(doubtful):  # not counted if there are others
        cells = ", ".join(map(one_line, doubtful["cell"].unique()))
        is_all = len(doubtful) == len(compared)
        if is_all:
            notes.append(f"These ratios may compare different work{_because(doubtful)}.")
        else:
            notes.append(f"Not counted, because they may do other work than their reference: {cells}.")
            compared = compared.drop(doubtful.index)
    alone = cases.loc[cases["reference"] == "none", "cell"].unique()
    if len(alone) and not cases["reference"].eq("none").all():
        notes.append(f"Time only, without a reference: {', '.join(map(one_line, alone))}.")
    return compared, tuple(notes)


def _because(doubtful: pd.DataFrame) -> str:
    """Return the only reason why outputs were not compared, in brackets; nothing if there are several."""
    reasons = {one_line(parity.why) for parity in doubtful["parity"] if parity.kind == "uncompared"}
    return f" ({reasons.pop()})" if len(reasons) == 1 else ""


def _whom(comparisons: pd.DataFrame, name: str) -> str:
    """Return to what the ratios of these comparisons are: `torch.nn.GRU` if it is one layer."""
    references = comparisons["reference"].unique()
    return reference_cell(references[0]) if name == "torch.nn" and len(references) == 1 else name


def _subject(comparisons: pd.DataFrame) -> str:
    """Return the only series of these comparisons, or their only cell; empty if there are several cells."""
    for column in ("series", "cell"):
        names = comparisons[column].unique()
        if len(names) == 1:
            return one_line(names[0])
    return ""


def _name(case: Mapping[Any, Any], axes: Sequence[str]) -> str:
    """Return `lstm loop, training, batch 1, length 64`; a data set's axes only of a case that loads data."""
    axes_of_case = [axis for axis in axes if case["phase"] in LOADS or axis not in OF_DATA]
    return ", ".join(filter(None, [case["series"], case["phase"], say_all(axes_of_case, map(case.get, axes_of_case))]))


def _extreme(comparisons: pd.DataFrame, which: "pd.Series[bool]", *, is_worst: bool) -> ExtremeCase | None:
    """Return the case with the highest or the lowest ratio of those chosen, if possible one that is not coarse."""
    candidates = comparisons[which]
    if candidates.empty:
        return None
    rows: list[dict[Any, Any]] = candidates.assign(row=candidates.index).to_dict("records")
    precise = [row for row in rows if not is_coarse(row)] or rows
    case = (max if is_worst else min)(precise, key=lambda row: float(row["ratio"]))
    return ExtremeCase(
        _name(case, swept(comparisons, (*SETTINGS, *SIZES))),
        int(case["row"]),
        case["ratio"],
        case["ratio_low"],
        case["ratio_high"],
        case["state"] == SHARED and not is_shared(comparisons).all(),
    )


def _best(comparisons: pd.DataFrame, counts: Mapping[str, int]) -> ExtremeCase | None:
    """Return the case with the lowest ratio, if more than a few comparisons are faster, and more than one is made."""
    total = sum(counts.values())
    if total == 1 or counts.get("faster", 0) <= FEW_FASTER * total:
        return None
    return _extreme(comparisons, comparisons["ratio_high"] < 1, is_worst=False)


def _only(comparisons: pd.DataFrame) -> dict[str, Any]:
    """Return the only comparison: its row with its `name`."""
    is_basis = comparisons["ratio_low"].eq(1) & comparisons["ratio_high"].eq(1)  # the fastest itself
    case: dict[Any, Any] = comparisons[~is_basis].iloc[0].to_dict()
    sizes = [axis for axis in MAIN_SIZES if case["phase"] not in LOADS]
    others = [axis for axis in SETTINGS if case[axis] != DEFAULTS.get(axis, case[axis])]
    return {**case, "name": _name(case, [*sizes, *others])}


def _typical(comparisons: pd.DataFrame) -> tuple[float, float]:
    """Return how far intervals reach, as shares of their ratios: the medians of the lower and of the higher ends."""
    with_interval = comparisons[half_width_of(comparisons).reindex(comparisons.index).notna()]
    return float((with_interval["ratio_low"] / with_interval["ratio"]).median()), float(
        (with_interval["ratio_high"] / with_interval["ratio"]).median()
    )


def size_effect(comparisons: pd.DataFrame) -> SizeEffect | None:
    """Find the size or setting on which ratios depend most, within each series and phase; None if chance is enough.

    Medians are over cases of one state of the core that were measured at all values of the axis, so that nothing else
    differs between them. If phases have other values, they are of the phase with the most cases.
    """
    if several(comparisons, CONTEXT):
        return None  # a median over CPU and GPU would describe neither
    shared = is_shared(comparisons)
    cases = comparisons[shared if shared.mean() > 0.5 else ~shared]
    axes = [axis for axis in swept(cases, (*SIZES, *SETTINGS)) if axis not in CONTEXT]
    shares = explained_shares(cases, ["series", "phase"], axes)
    axis = max(axes, key=lambda axis: shares.get(axis, 0.0), default=None)
    if axis is None or shares.get(axis, 0.0) < MIN_EXPLAINED:
        return None
    values = {
        str(phase): frozenset(cases_of_phase[axis]) for phase, cases_of_phase in cases.groupby("phase", sort=False)
    }
    phase = ""
    if len(set(values.values())) > 1:
        phase = str(cases["phase"].mode()[0])
        cases = cases[cases["phase"] == phase]
    others = ["series", "phase", *(other for other in axes if other != axis)]
    at_all = cases.groupby(others)[axis].transform("nunique") == cases[axis].nunique()
    medians = cases[at_all].groupby(axis)["ratio"].median()
    is_seen = len(medians) > 1 and medians.max() >= MIN_MEDIANS_APART * medians.min()
    return SizeEffect(axis, medians.to_dict(), phase) if is_seen else None


def _slow_calls(comparisons: pd.DataFrame) -> list[str]:
    """Say in how many comparisons only some calls are slow, and in which the mean is farthest above the ratio."""
    apart = comparisons[[has_slow_calls(row) for row in comparisons.to_dict("records")]]
    if apart.empty:
        return []
    farthest = max(apart.to_dict("records"), key=lambda row: row["mean_ratio"] / row["ratio"])
    name = _name(farthest, swept(comparisons, (*SETTINGS, *SIZES)))
    return [
        f"In {len(apart):,} of {plural(len(comparisons), 'comparison')} only some calls are slow; the mean is "
        f"farthest above the ratio in {name}."
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
