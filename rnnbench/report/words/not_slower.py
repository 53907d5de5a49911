"""One module's time against another's, and the factor that it may reach, in two or three lines."""

from typing import TYPE_CHECKING

from rnnbench.analysis.not_slower import CONFIDENCE
from rnnbench.report.words.units import duration, ratio, round_digits, round_percent, span
from rnnbench.text import plural

if TYPE_CHECKING:  # it imports torch
    from rnnbench.analysis.estimate import Estimate
    from rnnbench.harness.live.not_slower import NotSlowerResult

REMEDY = (
    "a larger budget, a factor further from the ratio or a quieter machine decides it; undecided='skip' or 'pass' lets "
    "it through"
)


def sentence(found: "NotSlowerResult", mine: str, than: str, *, is_shared: bool = False) -> str:
    """`slower: MyLSTM takes 1.38x as long as LSTM ...`, and below it the measurements behind this answer.

    `is_shared` means that other tests ran at the same time.
    """
    if found.is_unequal:
        return _unequal(found, mine, than)
    lines = [_answer(found, mine, than), _basis(found)]
    if found.answer is None:
        lines.append(f"{_why_undecided(found)}: {REMEDY}")
        if is_shared:
            lines.append("Other tests ran at the same time, in the other processes of pytest-xdist")
    return "\n".join([*lines, *found.notes])


def _unequal(result: "NotSlowerResult", mine: str, than: str) -> str:
    parity = result.parity.removesuffix(": times only")
    timed = "so its time means nothing" if result.rounds else "and nothing was timed"
    return (
        f"outputs differ: {mine}'s output is not {than}'s, {timed}: {parity}\n"
        "Give both the same weights, or say equal_outputs=False to compare the time of unequal work"
    )


def _answer(result: "NotSlowerResult", mine: str, than: str) -> str:
    answer = result.answer or "undecided"
    shown, where = (result.mean_ratio, " in the mean of its calls") if result.by_the_mean else (result.ratio, "")
    text = f"{answer}{where}: {mine} takes {_ratio(shown.value)} as long as {than} ({_interval(shown)})"
    factor = f"{round_digits(result.factor)}×"
    match result.answer:
        case "slower":
            text += f", more than the {factor} allowed"
        case "not slower":
            text += f", at most the {factor} allowed"
        case _:
            text += f"; {factor} is allowed"
    if where:
        text += f"; by a low quantile of the calls {_ratio(result.ratio.value)} ({_interval(result.ratio)})"
    return text


def _interval(estimate: "Estimate") -> str:
    if not estimate.has_interval:
        return "no interval"
    return f"{round_percent(CONFIDENCE)} interval {span(_ratio(estimate.lower), _ratio(estimate.upper))}"


def _ratio(value: float) -> str:
    """A ratio with one digit more than elsewhere, since an end of the interval may lie next to the factor."""
    return f"{value:.3f}×" if 0.001 <= value < 10 else ratio(value)


def _basis(result: "NotSlowerResult") -> str:
    times = " against ".join(duration(seconds) for seconds in result.seconds.values())
    outputs = "outputs agree" if result.agrees else f"outputs: {result.parity.removesuffix(': times only')}"
    where = f"{result.phase} on {result.device}, {plural(result.threads, 'thread')}"
    spent = f"{plural(result.rounds, 'round')} in {duration(result.took_seconds)}"
    return f"{where}: {times}; {spent}, budget {duration(result.budget_seconds)}; {outputs}"


def _why_undecided(result: "NotSlowerResult") -> str:
    return "The ratio is known as precisely as asked" if result.precise_enough else "The budget is spent"
