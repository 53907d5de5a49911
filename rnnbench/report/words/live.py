"""What `assert_not_slower` and `fastest` say about modules of the caller's own process."""

from typing import TYPE_CHECKING

from rnnbench.analysis.rounds import CONFIDENCE
from rnnbench.report.words.units import duration, ratio, round_digits, round_percent, span
from rnnbench.text import as_budget, plural

if TYPE_CHECKING:  # it imports torch
    from rnnbench.analysis.estimate import Estimate
    from rnnbench.harness.live.measuring import NotSlowerResult
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import ratio_with_interval

if TYPE_CHECKING:
    from rnnbench.speedup.module import TimedWay


def sentence(found: "NotSlowerResult", mine: str, than: str) -> str:
    """Return `slower: MyLSTM takes 1.38x as long as LSTM ...`, and below it the measurements behind this answer."""
    if found.is_unequal:
        return _unequal(found, mine, than)
    lines = [_answer(found, mine, than), _basis(found)]
    if found.answer is None:
        lines.append(_remedy(found))
    elif found.answer == "not slower":
        lines.append(f"Each was called {plural(found.calls, 'time')}: slow calls that are rarer can't be seen")
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
        text += f"; by the typical call {_ratio(result.ratio.value)} ({_interval(result.ratio)})"
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


def _remedy(result: "NotSlowerResult") -> str:
    """Say why there is no answer, and what to type."""
    lets_through = "or undecided='pass' to let it through"
    if result.precise_enough:
        return f"The ratio is known as precisely as asked. Give a smaller precision, another factor, {lets_through}"
    threads = (
        f"With {result.threads} threads every call waits for the slowest core: give threads=1, or "
        if result.threads > 1
        else "Give "
    )
    more = f"budget='{as_budget(4 * result.budget_seconds)}'"
    return f"The budget is spent. {threads}{more}, a factor further from the ratio, {lets_through}"


def names(mine: object, than: object) -> tuple[str, str]:
    """Return the names of both classes or functions, or other words if these do not tell them apart."""
    both = [getattr(side, "__qualname__", type(side).__name__).rpartition("<locals>.")[2] for side in (mine, than)]
    if both[0] == both[1]:
        both = ["<lambda>", "<lambda>"]
    mine_name, than_name = both
    return mine_name.replace("<lambda>", "mine"), than_name.replace("<lambda>", "the other")


AS_GIVEN = "as given"


def described(given: str, timed: Sequence["TimedWay"], *, is_random_in_training: bool = False) -> str:
    """A line for the module, and one for each shape that was measured.

    `is_random_in_training`: whether the module draws random numbers in training mode.
    """
    lines = [f"Fastest way to run {one_line(given)}"]
    for shape in dict.fromkeys(each.shape for each in timed):
        phase = "training" if shape.trains else "inference"
        own = [each for each in timed if each.shape == shape]
        phase += f" in {shape.dtype}" if "autocast" in shape.dtype else ""
        lines.append(f"  batch {shape.batch_size}, length {shape.seq_len}, {phase}: {_chosen(own)}")
        lines += [
            f"    {each.way}{'' if each.is_chosen else ' is not used'}: {one_line(each.reason)}"
            for each in own
            if each.reason
        ]
    lines.append("  other sizes: as the nearest of these; anything else as given")
    if is_random_in_training:
        lines.append("  in training mode as given, since it draws random numbers there")
    return "\n".join(lines)


def _chosen(timed: Sequence["TimedWay"]) -> str:
    chosen = next(each for each in timed if each.is_chosen)
    if math.isnan(chosen.seconds):
        return chosen.way
    text = f"{chosen.way}, {duration(chosen.seconds)}"
    if chosen.way != AS_GIVEN:
        ratio = ratio_with_interval(chosen.ratio, chosen.ratio_low, chosen.ratio_high)
        text += f", {ratio} the time as given"
    return text if chosen.is_sure else f"{text}; another way may be faster: give it more time"
