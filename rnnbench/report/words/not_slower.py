"""One module's time against another's, and the factor that it is held to, in two or three lines."""

import math
from typing import TYPE_CHECKING

from rnnbench.analysis.not_slower import CONFIDENCE
from rnnbench.report.words.units import duration, plural, ratio, round_percent

if TYPE_CHECKING:  # it imports torch
    from rnnbench.analysis.estimate import Estimate
    from rnnbench.harness.live.not_slower import NotSlowerResult

REMEDY = (
    "a larger budget, a factor further from the ratio or a quieter machine decides it; undecided='skip' or 'pass' lets "
    "it through"
)


def sentence(found: "NotSlowerResult", mine: str, than: str, *, is_shared: bool = False) -> str:
    """`slower: MyLSTM takes 1.38x as long as LSTM ...`, and below it what that rests on.

    `is_shared`: other tests ran at the same time.
    """
    if not found.rounds:
        return _unequal(found, mine, than)
    lines = [_answer(found, mine, than), _basis(found)]
    if found.answer is None:
        lines.append(f"{_why_undecided(found)}: {REMEDY}")
        if is_shared:
            lines.append("Other tests ran at the same time, in the other processes of pytest-xdist")
    return "\n".join([*lines, *found.notes])


def _unequal(found: "NotSlowerResult", mine: str, than: str) -> str:
    parity = found.parity.removesuffix(": times only")
    return (
        f"outputs differ: {mine}'s output is not {than}'s, and nothing was timed: {parity}\n"
        "Give both the same weights, or say equal_outputs=False to compare the time of unequal work"
    )


def _answer(found: "NotSlowerResult", mine: str, than: str) -> str:
    answer = found.answer or "undecided"
    shown, where = (found.mean_ratio, " in the mean") if found.by_the_mean else (found.ratio, "")
    said = f"{answer}{where}: {mine} takes {_ratio(shown.value)} as long as {than} ({_interval(shown)})"
    match found.answer:
        case "slower":
            said += f", more than the {found.factor:g}× allowed"
        case "not slower":
            said += f", at most the {found.factor:g}× allowed"
        case _:
            said += f"; {found.factor:g}× is allowed"
    if where:
        said += f"; by a low quantile of the calls {_ratio(found.ratio.value)} ({_interval(found.ratio)})"
    return said


def _interval(found: "Estimate") -> str:
    if math.isnan(found.lower):
        return "no interval"
    return f"{round_percent(CONFIDENCE)} interval {_ratio(found.lower)} to {_ratio(found.upper)}"


def _ratio(value: float) -> str:
    """With one digit more than elsewhere: an end of the interval may lie next to the factor."""
    return f"{value:.3f}×" if value < 10 else ratio(value)


def _basis(found: "NotSlowerResult") -> str:
    times = " against ".join(duration(seconds) for seconds in found.seconds.values())
    outputs = "outputs agree" if found.agrees else f"outputs: {found.parity.removesuffix(': times only')}"
    where = f"{found.phase} on {found.device}, {plural(found.threads, 'thread')}"
    spent = f"{plural(found.rounds, 'round')} in {duration(found.took_seconds)}"
    return f"{where}: {times}; {spent}, budget {duration(found.budget_seconds)}; {outputs}"


def _why_undecided(found: "NotSlowerResult") -> str:
    return "The ratio is known as precisely as asked" if found.precise_enough else "The budget is spent"
