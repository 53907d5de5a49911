"""What `assert_not_slower` and `fastest` say about modules of the caller's own process."""

import math
from collections.abc import Sequence

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.rounds import CONFIDENCE
from rnnbench.harness.live.measuring import NotSlowerResult
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import duration, ratio, ratio_with_interval, round_digits, round_percent, span
from rnnbench.speedup.module import TimedWay
from rnnbench.text import as_budget, plural

AS_GIVEN = "as given"
PASS = "or undecided='pass' to let it through"


def sentence(found: NotSlowerResult, mine: str, than: str) -> str:
    """Return `slower: MyLSTM takes 1.38x as long as LSTM ...`, and below it the measurements behind this answer."""
    parity = found.parity.partition(": times only")[0]
    if found.is_unequal:
        timed = "so its time means nothing" if found.rounds else "and nothing was timed"
        return (
            f"outputs differ: {mine}'s output is not {than}'s, {timed}: {parity}\n"
            "Give both the same weights (rnnbench.same_weights), or say equal_outputs=False to compare unequal work"
        )
    shown, where = (found.mean_ratio, " in the mean of its calls") if found.by_the_mean else (found.ratio, "")
    limits = {"slower": "more than the {} allowed", "not slower": "at most the {} allowed"}
    limit = limits.get(found.answer or "", "{} allowed").format(f"{round_digits(found.factor)}×")
    answer = f"{found.answer or 'undecided'}{where}: {mine} takes {_ratio(shown)} as long as {than}, {limit}"
    times = " against ".join(duration(seconds) for seconds in found.seconds.values())
    lines = [
        f"{answer}; by the typical call {_ratio(found.ratio)}" if where else answer,
        f"{found.phase} on {found.device}, {plural(found.threads, 'thread')}: {times}; "
        f"{plural(found.rounds, 'round')} in {duration(found.took_seconds)}, budget {duration(found.budget_seconds)}; "
        f"{'outputs agree' if found.agrees else f'outputs: {parity}'}",
    ]
    if found.answer == "not slower":
        lines.append(f"Each was called {plural(found.calls, 'time')}: slow calls that are rarer can't be seen")
    elif found.answer is None and found.precise_enough:
        lines.append(f"The ratio is known as precisely as asked. Give a smaller precision, another factor, {PASS}")
    elif found.answer is None:
        threads = f"With {found.threads} threads every call waits for the slowest core: give threads=1, or "
        more = f"budget='{as_budget(4 * found.budget_seconds)}', a factor further from the ratio, {PASS}"
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


def described(given: str, timed: Sequence[TimedWay]) -> str:
    """Return a line for the module, and one for each shape that was measured."""
    lines = [f"Fastest way to run {one_line(given)}"]
    for shape in dict.fromkeys(each.shape for each in timed):
        own, phase = [each for each in timed if each.shape == shape], shape.phase
        phase += f" in {shape.dtype}" if "autocast" in shape.dtype else ""
        chosen = next(each for each in own if each.is_chosen)
        way = chosen.way if math.isnan(chosen.seconds) else f"{chosen.way}, {duration(chosen.seconds)}"
        if chosen.way != AS_GIVEN and math.isfinite(chosen.seconds):
            way += f", {ratio_with_interval(chosen.ratio, chosen.ratio_low, chosen.ratio_high)} the time as given"
        if not chosen.is_sure and math.isfinite(chosen.seconds):
            way += "; another way may be faster: give it more time"
        lines.append(f"  batch {shape.batch_size}, length {shape.seq_len}, {phase}: {way}")
        lines += [
            f"    {each.way}{'' if each.is_chosen else ' is not used'}: {one_line(each.reason)}"
            for each in own
            if each.reason
        ]
    lines.append("  other sizes: as the nearest of these; anything else as given")
    return "\n".join(lines)
