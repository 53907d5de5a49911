"""What a run says first, found in its summary: how often its cells are slower, the worst case, what matters most."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rnnbench.analysis.explained import explained_shares
from rnnbench.analysis.summary import SHARED
from rnnbench.report.case_tables import NO_RATIOS
from rnnbench.report.certainty import (
    NO_REFERENCE,
    counted,
    half_width_of,
    has_slow_calls,
    is_coarse,
    is_shared,
    reference_name,
    tally,
)
from rnnbench.report.words.first_sentences import ExtremeCase, Headline, SizeEffect
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
from rnnbench.report.words.units import (
    duration,
    percent,
)
from rnnbench.store.records import (
    DEFAULTS,
    LOADS,
    OF_DATA,
    TORCH_OWN,
    reference_cell,
)
from rnnbench.text import plural

FEW_FASTER = 0.05  # of the comparisons: the best one is no news then
MIN_EXPLAINED = 0.1  # of the variance of ratios, for a size to matter
MIN_MEDIANS_APART = 1.1  # from the lowest of these medians to the highest


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
        notes.append(f"Not counted, since less time is taken when values come again: {cells}.")
    doubtful = compared[~compared["parity"].map(lambda parity: parity.is_equal_work).astype(bool)]
    if len(doubtful):  # not counted if there are others
        cells = ", ".join(map(one_line, doubtful["cell"].unique()))
        is_all = len(doubtful) == len(compared)
        if is_all:
            notes.append("Counted though not verified to do the same work.")
        else:
            notes.append(f"Not counted, since not verified to do the same work: {cells}.")
            compared = compared.drop(doubtful.index)
    alone = cases.loc[cases["reference"] == "none", "cell"].unique()
    if len(alone) and not cases["reference"].eq("none").all():
        notes.append(f"Time only, without a reference: {', '.join(map(one_line, alone))}.")
    return compared, tuple(notes)


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
