"""The first sentences of the results of live modules: how far each is from the reference, and what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rnnbench.analysis.summary import SHARED
from rnnbench.harness.live.measuring import LiveComparison
from rnnbench.report.certainty import counted, is_shared, tally
from rnnbench.report.words.names import one_line, say
from rnnbench.report.words.units import duration, ratio, ratio_with_interval, span
from rnnbench.text import plural

MAX_SENTENCES = 4  # modules that have a sentence of their own
MAX_SIZES_LISTED = 6  # of a size that are listed


def of_measure(comparison: LiveComparison, frame: pd.DataFrame) -> str:
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


def about(comparison: LiveComparison) -> str:
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
        words = f"{one_line(name)} {_median(counted(rows), one_line(reference))}"
        shared = int(is_shared(rows).sum())
        where = f" {shared:,} more {SHARED}, not in the median." if 0 < shared < len(rows) else ""
        lines.append(f"{str(phase).capitalize()}: {words}{f', {SHARED}' if shared == len(rows) else ''}.{where}")
    return "\n".join([*lines, _sizes(axes, device)])


def _median(rows: pd.DataFrame, reference: str) -> str:
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
