"""What stands above all on the page of a run: who is how far from what, where, and how sure that is; the worst case."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from rnnbench.analysis.summary import SHARED
from rnnbench.report import cases
from rnnbench.report.headline import Headline, counted_in, headline, machine
from rnnbench.report.words.names import is_reference
from rnnbench.report.words.units import digits, half_width, span
from rnnbench.store.records import TORCH_OWN
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural, rounded_up

FEWEST = 3  # comparisons that are told by their median
OTHERS = {  # what is compared with a reference, by its name
    "torch.nn": "hand-written cells",
    "per_item": "other ways to load",
    "the fastest": "cells",
    "the reference": "the others",
}


@dataclass(frozen=True)
class RunAnswer:
    """Sentences, the most important first, and which of their words lead to which row of the summary."""

    sentences: list[str]
    leads: Mapping[str, int] = field(default_factory=dict)


def answer(summary: pd.DataFrame, info: RunInfo) -> RunAnswer:
    """Return the answer at the top of a run's page; of a few comparisons, or none, it is that of the terminal."""
    found = headline(summary)
    if found.total < FEWEST:
        return RunAnswer(found.sentences)
    measured = summary[summary["status"] == "measured"]
    counted, _ = counted_in(measured[~is_reference(measured) & ~measured["implementation"].isin(TORCH_OWN)])
    shared = cases.is_shared(counted)
    told = counted[~shared] if 0 < shared.sum() < len(counted) else counted  # no median is of both states
    extremes = {"Worst": found.worst, "Best": found.best}
    sentences = [
        *found.first,
        _median(told, counted, found, info),
        *(f"{word}: {case}." for word, case in extremes.items() if case),
        str(found.effect or ""),
        _precision(found, info),
        _of_shared(counted[shared]) if len(told) < len(counted) else "",
        *found.notes,
    ]
    leads = {case.name: case.row for case in extremes.values() if case}
    return RunAnswer(list(filter(None, sentences)), leads)


def _median(told: pd.DataFrame, counted: pd.DataFrame, found: Headline, info: RunInfo) -> str:
    """Say how far the cases are from their reference in the median, on which machine, and in how many that is clear."""
    name = cases.reference_name(counted)
    who = OTHERS.get(name, "other cells")
    is_all_shared = counted["state"].eq(SHARED).all()
    place = ", ".join(filter(None, [machine(counted, info), SHARED if is_all_shared else ""]))
    numbers = {"slower": 0, "faster": 0} | dict(found.counts)
    kinds = {"without an interval": "no interval"}
    slower, *others = (f"{kinds.get(kind, kind)} in {number:,}" for kind, number in numbers.items())
    clear = ", ".join([f"{slower} of {plural(found.total, 'comparison')}", *others])
    median = digits(told["ratio"].median())
    return f"{who[:1].upper()}{who[1:]} take {median} times as long as {name} in the median, on {place}: {clear}."


def _precision(found: Headline, info: RunInfo) -> str:
    """Say how wide a typical interval is, and how much more time would reach the precision that was asked for."""
    if found.half_width != found.half_width:
        return ""
    more = ""
    if info.seconds_needed is not None:
        more = f"; about {rounded_up(info.seconds_needed)} more would reach the precision that was asked for"
    return f"A typical interval is {half_width(found.half_width)}{more}."


def _of_shared(shared: pd.DataFrame) -> str:
    ends = span(digits(shared["ratio"].min()), digits(shared["ratio"].max()))
    verb = "was" if len(shared) == 1 else "were"
    return f"{plural(len(shared), 'comparison')} {verb} made {SHARED} and are not in the median: {ends} times."
