"""What the ratios of a run are to, and how well each of them is known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from rnnbench.analysis.summary import SHARED
from rnnbench.store.parity import AGREES, IS_REFERENCE
from rnnbench.store.records import is_cell_reference
from rnnbench.text import printable

NO_REFERENCE = "no reference"
FAR_APART = 1.5  # the higher end of an interval over the lower: such a ratio is coarse
SAME_WORK = (AGREES, IS_REFERENCE)
STAR = "*"  # behind a number that was measured on a shared core, in a table where others are undisturbed
ABOUT_STAR = f"{STAR} {SHARED}; all other medians are of undisturbed cases alone."


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


def doubts(row: Mapping[Any, Any]) -> list[str]:
    """Return the doubts about a case's ratio: unclear, coarse, not that of the mean, of a shared core."""
    return [
        *(["unclear: the interval includes 1"] if is_unclear(row) else []),
        *(["coarse: the interval is wide"] if is_coarse(row) else []),
        *(["some calls are slow"] if has_slow_calls(row) else []),
        *([SHARED] if row["state"] == SHARED else []),
    ]


# What a letter beside a case says in a paper
DOUBTS: dict[str, tuple[str, Callable[[Mapping[Any, Any]], bool]]] = {
    "u": ("unclear, the interval includes 1", is_unclear),
    "w": ("the interval is wide", is_coarse),
    "m": ("only some calls are slow, so that the ratio of the means is another", has_slow_calls),
    "s": (f"measured {SHARED}", lambda row: row["state"] == SHARED),
    "n": (
        "not verified to do the reference's work",
        lambda row: row["parity"] not in SAME_WORK,
    ),
}


def is_shared(cases: pd.DataFrame) -> "pd.Series[bool]":
    """Return True for the cases that were measured on a shared core, which are never in a median with others."""
    shared: pd.Series[bool] = cases["state"].eq(SHARED)
    return shared


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
