"""Which cases an answer counts, and how many of them are slower or faster: every sentence and table counts here."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from rnnbench.report.words.precision import is_known, is_suspect
from rnnbench.report.words.reference import is_reference
from rnnbench.store.records import TORCH_OWN


@dataclass(frozen=True)
class CountedCases:
    """The measured cases of a run: the references, the cases that the answer counts, and the others."""

    measured: int
    references: int
    own: pd.DataFrame  # hand-written cases, with and without a ratio
    suspects: pd.DataFrame  # those of `own` whose time may be that of less work
    trusted: pd.DataFrame  # those of `own` with a ratio that are not suspect; all, if all are
    counted: pd.DataFrame  # those of `trusted` that do the reference's work; all, if none was checked
    left_out: Mapping[str, int]  # why cases are not counted -> how many


def compared(summary: pd.DataFrame) -> CountedCases:
    """Sort the cases of a run by what the answer does with them.

    The answer is not about torch's own cells and padded layers, which are rungs beside the hand-written cells. Cells
    that were not checked to do the reference's work do not count if others were.
    """
    measured = summary[summary["status"] == "measured"]
    references = is_reference(measured)
    is_torch_own = measured["implementation"].isin(TORCH_OWN) & ~references
    own = measured[~is_torch_own & ~references]
    with_ratio = own.dropna(subset=["ratio"])
    is_doubtful = is_suspect(with_ratio)
    trusted = with_ratio if is_doubtful.all() else with_ratio[~is_doubtful]
    same_work = trusted[trusted["parity"] == "agrees"]
    counted = trusted if same_work.empty else same_work
    left_out = {
        "of torch's own cells": int(is_torch_own.sum()),
        "suspect": len(with_ratio) - len(trusted),
        "not checked to do the same work": len(trusted) - len(counted),
        "without a ratio": len(own) - len(with_ratio),
    }
    return CountedCases(
        len(measured),
        int(references.sum()),
        own,
        with_ratio[is_doubtful],
        trusted,
        counted,
        {reason: number for reason, number in left_out.items() if number},
    )


@dataclass(frozen=True)
class Tally:
    """How many cases are slower and faster than their reference, by the 95% intervals of their ratios."""

    slower: int
    faster: int
    undecided: pd.DataFrame  # the interval includes 1, or is too wide
    without_interval: int

    @property
    def cases(self) -> int:
        """Cases whose ratio has an interval."""
        return self.slower + self.faster + len(self.undecided)

    @property
    def below_one(self) -> int:
        """Undecided cases with a ratio below 1: they seem to be faster, and nothing shows that they are."""
        return int((self.undecided["ratio"] < 1).sum())


def tally(cases: pd.DataFrame) -> Tally:
    """Count cases that have a ratio; the fastest of a group, to which the ratios may be, is left out."""
    cases = cases[cases["ratio"].notna() & ~(cases["ratio_low"].eq(1) & cases["ratio_high"].eq(1))]
    slower, faster = (is_known(cases) & mask for mask in (cases["ratio_low"] > 1, cases["ratio_high"] < 1))
    has_interval = cases["ratio_low"].notna()
    return Tally(
        int(slower.sum()), int(faster.sum()), cases[has_interval & ~slower & ~faster], int((~has_interval).sum())
    )


def known_ratios(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases whose ratio may stand in a range or a median: the known ones, or all if none has an interval."""
    return cases[is_known(cases)] if cases["ratio_low"].notna().any() else cases
