"""What `assert_not_slower` and `fastest` say about modules of the caller's own process."""

import math
from statistics import median
from typing import Any

import pandas as pd

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.rounds import CONFIDENCE
from rnnbench.harness.live.loop import MINE, Factor
from rnnbench.harness.live.measuring import LiveComparison
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import duration, ratio, ratio_with_interval, round_digits, round_percent, span
from rnnbench.speedup.ways import SHAPE
from rnnbench.text import as_budget, plural

AS_GIVEN = "as given"
PASS = "or undecided='pass' to let it through"


def unequal_outputs(found: LiveComparison, names: tuple[str, str]) -> str:
    """Return why the times mean nothing: the outputs of `mine` and `than`, which have these names, differ."""
    timed = "so its time means nothing" if found.turns.calls_made else "and nothing was timed"
    return (
        f"outputs differ: {names[0]}'s output is not {names[1]}'s, {timed}: {_parity(found)}\n"
        "Give both the same weights (rnnbench.same_weights), or say equal_outputs=False to compare unequal work"
    )


def _parity(found: LiveComparison) -> str:
    return found.parity[MINE].partition(": times only")[0]


def sentence(found: LiveComparison, stop: Factor, budget_seconds: float, names: tuple[str, str]) -> str:
    """Return `slower: MyLSTM takes 1.38x as long as LSTM ...`, and below it the measurements behind this answer.

    `names`: of `mine` and `than`.
    """
    question, turns = stop.question, found.turns
    by_mean = question.by_the_mean
    shown, where = (question.mean, " in the mean of its calls") if by_mean else (question.low, "")
    limits = {"slower": "more than the {} allowed", "not slower": "at most the {} allowed"}
    limit = limits.get(question.answer or "", "{} allowed").format(f"{round_digits(question.factor)}×")
    answer = f"{question.answer or 'undecided'}{where}: {names[0]} takes {_ratio(shown)} as long as {names[1]}, {limit}"
    times = " against ".join(duration(median(each.median for each in of)) for of in turns.times.values())
    agrees = found.parity[MINE].startswith("agrees")
    lines = [
        f"{answer}; by the typical call {_ratio(question.low)}" if by_mean else answer,
        f"{found.phase} on {found.device}, {plural(found.threads, 'thread')}: {times}; "
        f"{plural(len(turns.times[MINE]), 'round')} in {duration(turns.seconds)}, budget {duration(budget_seconds)}; "
        f"{'outputs agree' if agrees else f'outputs: {_parity(found)}'}",
    ]
    if question.answer == "not slower":
        lines.append(f"Each was called {plural(turns.calls_made, 'time')}: slow calls that are rarer can't be seen")
    elif stop.is_precise:
        lines.append(f"The ratio is known as precisely as asked. Give a smaller precision, another factor, {PASS}")
    elif question.answer is None:
        threads = f"With {found.threads} threads every call waits for the slowest core: give threads=1, or "
        more = f"budget='{as_budget(4 * budget_seconds)}', a factor further from the ratio, {PASS}"
        lines.append(f"The budget is spent. {threads if found.threads > 1 else 'Give '}{more}")
    return "\n".join([*lines, *found.notes])


def _ratio(estimate: Estimate) -> str:
    """Return `1.380x (99% interval 1.310x to 1.457x)`: one digit more than elsewhere, to tell it from the factor."""
    value, low, high = (
        f"{each:.3f}×" if 0.001 <= each < 10 else ratio(each)
        for each in (estimate.value, estimate.lower, estimate.upper)
    )
    interval = f"{round_percent(CONFIDENCE)} interval {span(low, high)}" if estimate.has_interval else "no interval"
    return f"{value} ({interval})"


def names(mine: object, than: object) -> tuple[str, str]:
    """Return the names of both classes or functions, or other words if these do not tell them apart."""
    one, other = (
        getattr(side, "__qualname__", type(side).__name__).rpartition("<locals>.")[2] for side in (mine, than)
    )
    return ("mine", "the other") if one == other or "<lambda>" in one + other else (one, other)


def described(given: str, ways: pd.DataFrame) -> str:
    """Return a line for the module, and one for each shape of its table of ways."""
    lines = [f"Fastest way to run {one_line(given)}"]
    for _, rows in ways.groupby(list(SHAPE), sort=False):
        chosen: Any = next(rows[rows["is_chosen"]].itertuples())
        phase = chosen.phase + (f" in {chosen.dtype}" if "autocast" in chosen.dtype else "")
        way = chosen.way
        if is_timed := math.isfinite(chosen.seconds):
            way += f", {duration(chosen.seconds)}"
        if is_timed and chosen.way != AS_GIVEN:
            way += f", {ratio_with_interval(chosen.ratio, chosen.ratio_low, chosen.ratio_high)} the time as given"
        if is_timed and not chosen.is_sure:
            way += "; another way may be faster: give it more time"
        lines.append(f"  batch {chosen.batch_size}, length {chosen.seq_len}, {phase}: {way}")
        lines += [
            f"    {other.way}{'' if other.is_chosen else ' is not used'}: {one_line(other.reason)}"
            for other in rows[rows["reason"] != ""].itertuples()
        ]
    lines.append("  other sizes: as the nearest of these; anything else as given")
    return "\n".join(lines)
