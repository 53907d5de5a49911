"""What stands above all on the page of a run: who is how far from what, where, and how sure that is; the worst case."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from rnnbench.analysis.summary import SHARED
from rnnbench.report.certainty import reference_name
from rnnbench.report.environment import machine
from rnnbench.report.headline import headline
from rnnbench.report.words.first_sentences import Headline
from rnnbench.report.words.units import digits, half_width, span
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural, rounded_up

MIN_FOR_MEDIAN = 3  # comparisons that are told by their median
SUBJECT_OF = {  # what is compared with a reference, by its name
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
    facts = headline(summary)
    if facts.total < MIN_FOR_MEDIAN:
        return RunAnswer(facts.sentences)
    extremes = {"Worst": facts.worst, "Best": facts.best}
    sentences = [
        *facts.first,
        _median(summary, facts, info),
        *(f"{word}: {case}." for word, case in extremes.items() if case),
        str(facts.effect or ""),
        _precision(facts, info),
        _of_shared(facts),
        *facts.notes,
    ]
    leads = {case.name: case.row for case in extremes.values() if case}
    return RunAnswer(list(filter(None, sentences)), leads)


def _median(summary: pd.DataFrame, facts: Headline, info: RunInfo) -> str:
    """Say how far the cases are from their reference in the median, on which machine, and in how many that is clear."""
    who = SUBJECT_OF.get(reference_name(summary), "other cells")
    subject = f"{facts.subject} takes" if facts.subject else f"{who[:1].upper()}{who[1:]} take"
    state = SHARED if facts.shared == facts.total else ""
    place = ", ".join(filter(None, [machine(summary, info), state]))
    clear = f"{plural(facts.total, 'comparison')}, all without an interval"
    numbers = {"slower": 0, "faster": 0} | dict(facts.counts)
    kinds = {"without an interval": "no interval"}
    slower, *others = (f"{kinds.get(kind, kind)} in {number:,}" for kind, number in numbers.items())
    if numbers.get("without an interval") != facts.total:
        clear = ", ".join([f"{slower} of {plural(facts.total, 'comparison')}", *others])
    return f"{subject} {digits(facts.median)} times as long as {facts.reference} in the median, on {place}: {clear}."


def _precision(facts: Headline, info: RunInfo) -> str:
    """Say how wide a typical interval is, and how much more time would reach the precision that was asked for."""
    if math.isnan(facts.half_width):
        return ""
    more = ""
    if info.seconds_needed is not None:
        more = f"; about {rounded_up(info.seconds_needed)} more would reach the precision that was asked for"
    return f"A typical interval is {half_width(facts.half_width)}{more}."


def _of_shared(facts: Headline) -> str:
    """Say how many comparisons are not in the median, since they were made on a shared core; empty if all are in it."""
    if facts.shared in (0, facts.total):
        return ""
    ends = span(*map(digits, facts.of_shared))
    verb = "was" if facts.shared == 1 else "were"
    return f"{plural(facts.shared, 'comparison')} {verb} made {SHARED} and are not in the median: {ends} times."
