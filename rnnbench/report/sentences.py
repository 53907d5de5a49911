"""The first sentences of a run and of live modules, from facts.

The terminal and `rnnbench.load` show `of_run`, the page of a run `of_page`, and results in Python `of_measure` and
`of_sweep`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rnnbench.analysis.summary import SHARED
from rnnbench.report.environment import machine
from rnnbench.report.facts import ExtremeCase, Headline, SizeEffect, counted, is_shared, reference_name, tally
from rnnbench.report.words.names import one_line, say, word
from rnnbench.report.words.units import (
    MISSING,
    digits,
    duration,
    half_width,
    ratio,
    ratio_interval,
    ratio_with_interval,
    span,
)
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural, rounded_up

if TYPE_CHECKING:  # what imports torch, which a stored run does not need
    from rnnbench.harness.live.measuring import LiveComparison

MAX_MEDIANS = 4  # of a size whose medians are told
MIN_FOR_MEDIAN = 3  # comparisons that are told by their median
MAX_SENTENCES = 4  # modules that have a sentence of their own
MAX_SIZES_LISTED = 6  # of a size that are listed
SUBJECT_OF = {  # what is compared with a reference, by its name
    "torch.nn": "hand-written cells",
    "per_item": "other ways to load",
    "the fastest": "cells",
    "the reference": "the others",
}


def of_run(facts: Headline) -> list[str]:
    """Return the answer, then who, where, and what is not counted; each is a line of the terminal."""
    candidates = [
        *facts.first,
        answer(facts),
        *_most_telling(facts),
        _state(facts),
        *facts.notes,
    ]
    return [sentence for sentence in candidates if sentence]


def _most_telling(facts: Headline) -> Iterator[str]:
    """Yield the worst case, the best one, and the size that matters most, as far as there are any."""
    if facts.worst:
        yield f"Worst: {_extreme(facts.worst)}."
    if facts.best:
        yield f"Best: {_extreme(facts.best)}."
    if facts.effect:
        yield effect_sentence(facts.effect)


def warning(facts: Headline) -> str:
    """Return how far a typical interval reaches, if the run is noisy; otherwise empty."""
    if not facts.is_noisy:
        return ""
    low, high = map(digits, facts.typical)
    return f"NOISY: a typical interval reaches from {low} to {high} times its ratio."


def answer(facts: Headline) -> str:
    """Return `Slower than torch.nn in 112 of 114 comparisons, faster in 0, unclear in 2.`"""
    if facts.nothing:
        return facts.nothing
    if facts.only:
        return _of_one(facts, facts.only)
    if facts.counts.get("without an interval") == facts.total:
        ends = span(digits(facts.lowest), digits(facts.highest))
        who = f"{facts.subject} takes " if facts.subject else ""
        comparisons = plural(facts.total, "comparison")
        return f"No interval is known: {who}{ends} times as long as {facts.reference} in {comparisons}."
    slower = facts.counts.get("slower", 0)
    faster = facts.counts.get("faster", 0)
    unclear = facts.counts.get("unclear", 0)
    first, second = ("faster", "slower") if faster > slower else ("slower", "faster")
    who = f"{facts.subject} is {first}" if facts.subject else first.capitalize()
    more = f", without an interval in {number:,}" if (number := facts.counts.get("without an interval")) else ""
    return (
        f"{who} than {facts.reference} in {max(slower, faster):,} of {facts.total:,} comparisons, "
        f"{second} in {min(slower, faster):,}, unclear in {unclear:,}{more}."
    )


def _of_one(facts: Headline, case: Mapping[str, Any]) -> str:
    """Return `gru loop, training, batch 1: 2.31× (2.28–2.35) the time of torch.nn.GRU: slower; 409 µs a call.`"""
    interval = ratio_interval(case["ratio_low"], case["ratio_high"])
    interval_text = "no interval" if interval == MISSING else interval
    [kind] = facts.counts
    verdict = "" if kind == "without an interval" else f": {kind}"
    times = f"{ratio(case['ratio'])} ({interval_text}) the time of {facts.reference}"
    return f"{case['name']}: {times}{verdict}; {duration(case['seconds'])} a call."


def _extreme(case: ExtremeCase) -> str:
    """Return `lstm loop, training, batch 1: 12.2× (12.0–12.5)`."""
    where = f", {SHARED}" if case.is_shared else ""
    return f"{case.name}: {ratio(case.ratio)} ({ratio_interval(case.low, case.high)}){where}"


def effect_sentence(effect: SizeEffect) -> str:
    """Return `Batch matters most: median 1.74× at batch 1, 1.18× at batch 32.`"""
    name = word(effect.axis)
    values = list(effect.medians)
    ends = values if len(values) <= MAX_MEDIANS else [values[0], values[-1]]
    medians = ", ".join(f"{ratio(effect.medians[value])} at {say(effect.axis, value)}" for value in ends)
    phase = f" in {effect.phase}" if effect.phase else ""
    return f"{name.capitalize()} matter{'' if name.endswith('s') else 's'} most{phase}: median {medians}."


def _state(facts: Headline) -> str:
    """Return how many comparisons were made on a shared core; empty if none was."""
    if not facts.shared:
        return ""
    if facts.shared == facts.total:
        return f"All of it was measured {SHARED}: another run may find other ratios."
    return f"{facts.shared:,} of {facts.total:,} comparisons were made {SHARED}; the others are undisturbed."


def of_page(summary: pd.DataFrame, facts: Headline, info: RunInfo) -> list[str]:
    """Return the answer at the top of a run's page; of a few comparisons, or none, it is that of the terminal."""
    if facts.total < MIN_FOR_MEDIAN:
        return of_run(facts)
    candidates = [
        *facts.first,
        _median_of_run(summary, facts, info),
        *_most_telling(facts),
        _precision(facts, info),
        _of_shared(facts),
        *facts.notes,
    ]
    return [sentence for sentence in candidates if sentence]


def _median_of_run(summary: pd.DataFrame, facts: Headline, info: RunInfo) -> str:
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


def of_measure(comparison: "LiveComparison", frame: pd.DataFrame) -> str:
    """Return a sentence on each module, in a line each, and a last one that says what was measured.

    `frame`: that of `measure`, without modules that were left out.
    """
    reference = comparison.reference
    lines = []
    others = [name for name in frame.index if name != reference]
    for name in others[:MAX_SENTENCES]:
        row = frame.loc[name]
        takes = f"{ratio_with_interval(row['ratio'], row['ratio_low'], row['ratio_high'])} as long as"
        doubt = "" if comparison.parity[name].is_equal_work else ", but may do other work"
        unclear = ", so which is faster is unclear" if row["ratio_low"] <= 1 <= row["ratio_high"] else ""
        seconds = duration(row["seconds"])
        lines.append(f"{one_line(name)} takes {takes} {one_line(reference)}{doubt}{unclear}: {seconds} a call.")
    if len(others) > MAX_SENTENCES:
        lines.append(f"{plural(len(others) - MAX_SENTENCES, 'more module')}: see the table.")
    return "\n".join([*lines, about(comparison)])


def about(comparison: "LiveComparison") -> str:
    """Return `Training, input (32, 8, 64) float32, 1 thread on cpu.`: the phase, the size and the place."""
    parts = [
        comparison.phase.capitalize(),
        comparison.sizes,
        f"{say('threads', comparison.threads)} on {comparison.device}",
    ]
    return f"{', '.join(filter(None, parts))}."


def of_sweep(frame: pd.DataFrame, axes: Mapping[str, Sequence[Any]], reference: str, device: str) -> str:
    """Return a line for each phase and module, with the median of its ratios, and a last one with the sizes.

    Ratios that were measured on a shared core are in no median beside others. `axes`: the values of each size, of
    `phase` and of `threads`.
    """
    with_ratio = frame[frame["ratio"].notna()]
    ratios = with_ratio[with_ratio["module"].ne(reference)]
    lines = []
    for (phase, name), rows in ratios.groupby(["phase", "module"], sort=False):
        words = f"{one_line(name)} {_median_of_module(counted(rows), one_line(reference))}"
        shared = int(is_shared(rows).sum())
        where = f" {shared:,} more {SHARED}, not in the median." if 0 < shared < len(rows) else ""
        lines.append(f"{str(phase).capitalize()}: {words}{f', {SHARED}' if shared == len(rows) else ''}.{where}")
    return "\n".join([*lines, _sizes(axes, device)])


def _median_of_module(rows: pd.DataFrame, reference: str) -> str:
    """Return `takes 1.9x as long as torch in the median of 8 cases (1.2 to 3.1): slower in 7, unclear in 1`."""
    if len(rows) == 1:
        row = rows.iloc[0]
        return f"takes {ratio_with_interval(row['ratio'], row['ratio_low'], row['ratio_high'])} as long as {reference}"
    tallies = ", ".join(f"{word} in {number:,}" for word, number in tally(rows).items())
    ends = span(ratio(rows["ratio"].min()), ratio(rows["ratio"].max()))
    median = f"{ratio(rows['ratio'].median())} as long as {reference} in the median of {len(rows):,} cases"
    return f"takes {median} ({ends}): {tallies}"


def _sizes(axes: Mapping[str, Sequence[Any]], device: str) -> str:
    """Return `Sizes: batch_size 1, 32; seq_len 16, 64; threads 1; on cpu.`; a long list of values is cut."""
    words = []
    for axis, values in axes.items():
        if axis == "phase":
            continue
        texts = ["torch's own" if value is None else one_line(value) for value in values[:MAX_SIZES_LISTED]]
        if len(values) > MAX_SIZES_LISTED:
            texts.append("...")
        words.append(f"{one_line(axis)} {', '.join(texts)}")
    return f"Sizes: {'; '.join(words)}; on {device}."
