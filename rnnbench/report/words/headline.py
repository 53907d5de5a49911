"""The answer in words: how far the hand-written cells are from torch.nn, and other ways to load from the usual one."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from rnnbench.report.words.axes import COUNTED, SETTINGS, SIZES, flushed, one_line, say, say_all, several
from rnnbench.report.words.counts import CountedCases, Tally, compared, known_ratios, tally
from rnnbench.report.words.medians import CONTEXT, medians
from rnnbench.report.words.reference import ALONE, FASTEST, words
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import digits, duration, percent, ratio, span
from rnnbench.store.records import LOADS, OF_DATA
from rnnbench.store.run_info import RunInfo
from rnnbench.text import listed, plural

MAX_NAMED = 4  # cases that a sentence names
WHY_UNDECIDED = "the 95% interval includes 1 or is too wide"


def answer(summary: pd.DataFrame, info: RunInfo) -> str:
    """The answer in a few sentences, which hold only for the cases of this run."""
    return " ".join(sentences(summary, info))


def sentences(summary: pd.DataFrame, info: RunInfo) -> list[str]:
    """The sentences of the answer, the most important first.

    Cells that were not checked to do torch.nn's work are named apart if there are others.
    """
    found, name = compared(summary), words(summary).name
    if not found.measured:
        return ["No case was measured, so this run says nothing about time."]
    if found.own.empty:
        return [f"Only {name} was measured, so there is nothing to compare it with."]
    if not words(summary).has_ratios:
        return [ALONE]
    if found.counted.empty:
        return [f"Without {name}, which was not measured beside these, how far they are from it can't be said."]
    known = [_range(found.counted, info), *_ends(found.counted), *_by_interval(found.counted)]
    late = _late_steps(summary[summary["status"] == "measured"])
    return [*late, *known, *_unchecked(found), *_suspect(found.suspects), *_alone(found.own)]


def significance(summary: pd.DataFrame) -> str:
    """How the cases of the answer compare by their intervals, and which it leaves out; empty without intervals."""
    found = compared(with_series(summary))
    known = tally(found.counted)
    if not known.cases:
        return ""
    others = [
        *([plural(found.references, "reference")] if found.references else []),
        *(f"{number:,} {reason}" for reason, number in found.left_out.items()),
    ]
    total = known.cases + known.without_interval
    population = f"{total:,} of {plural(found.measured, 'measured case')} {'is' if total == 1 else 'are'} compared"
    left_out = f"Left out: {listed(others)}. " if others else ""
    axes = ["phase", *several(summary, (*SIZES, *SETTINGS))]
    cases = known.undecided.to_dict("records")
    named = [f"{case['series']} ({say_all(axes, (case[axis] for axis in axes))})" for case in cases]
    which = f" ({'; '.join(named)})" if 0 < len(named) <= MAX_NAMED else ""
    numbers = f"{_number(known.slower)} slower than {words(summary).name}, {_number(known.faster)} faster"
    undecided = f"{_number(len(named))} undecided{which}" + (f", {WHY_UNDECIDED}{_below_one(known)}" if named else "")
    return f"{population}. {left_out}{numbers[0].upper()}{numbers[1:]}, {undecided}."


def _below_one(known: Tally) -> str:
    """Say how many undecided ratios are below 1, since the table shows these too."""
    return f"; {known.below_one:,} of them with a ratio below 1" if known.below_one else ""


def _late_steps(measured: pd.DataFrame) -> Iterable[str]:
    """How many streams had late steps, and which had most of them, if the steps have a period."""
    if "late_share" not in measured or measured["late_share"].isna().all():
        return
    frame = with_series(measured[measured["late_share"].notna()])
    worst = frame.to_dict("records")[int(frame["late_share"].to_numpy().argmax())]
    periods = " or ".join(map(duration, frame["period_seconds"].unique()))
    late = int(frame["late_share"].gt(0).sum())
    if not late:
        yield f"No step of {plural(len(frame), 'stream')} took longer than {periods}."
        return
    settings = ", ".join(say(axis, worst[axis]) for axis in several(frame, (*SETTINGS, *SIZES)))
    most = f"{worst['series']} ({settings})" if settings else worst["series"]
    yield (
        f"{late:,} of {plural(len(frame), 'stream')} had steps longer than {periods}; {most} had the largest share of "
        f"them, {percent(worst['late_share'])}."
    )


def limit(summary: pd.DataFrame) -> str:
    """Name the series closest to the machine's limit and farthest from it, by medians; empty if no limit is known."""
    if "times_limit" not in summary:
        return ""
    frame = with_series(summary[summary["times_limit"].notna()])
    if frame.empty:
        return ""
    context = several(frame, CONTEXT)
    times = frame.groupby(["series", "phase", *context], sort=False)["times_limit"].median().reset_index(name="median")
    ranked = times.sort_values("median", kind="stable").to_dict("records")
    closest, farthest = (_named(row, context) for row in (ranked[0], ranked[-1]))
    median, most = (f"(median {ratio(row['median'])})" for row in (ranked[0], ranked[-1]))
    if len(ranked) == 1:
        return f"The distance to the hardware limit is known only for {closest} {median}."
    return f"{closest} comes closest to the hardware limit {median}; {farthest} is farthest from it {most}."


def counts(summary: pd.DataFrame) -> str:
    """`170 cases measured, 16 skipped, none failed`."""
    numbers = {status: int((summary["status"] == status).sum()) for status in ("measured", "skipped", "failed")}
    first, *rest = (f"{_number(number)} {status}" for status, number in numbers.items())
    measured = first if not numbers["measured"] else f"{plural(numbers['measured'], 'case')} measured"
    pending = int((summary["status"] == "pending").sum())
    unreached = [f"{pending:,} not reached"] if pending else []
    return ", ".join([measured, *rest, *unreached]) if len(summary) else "the run has no cases"


def _number(number: int) -> str:
    return f"{number:,}" if number else "none"


def where(summary: pd.DataFrame, info: RunInfo) -> str:
    """`this CPU (AMD EPYC, 1 thread)`: the devices of the run, and the processor's name if it is known."""
    devices = [one_line(str(device)) for device in summary["device"].unique()]
    processor = next((text for device in devices if (text := _model(info.environment, device))), None)
    threads = sorted({int(number) for number in summary["threads"]})
    threading = f"{' or '.join(map(str, threads))} {'thread' if threads == [1] else 'threads'}"
    if devices == ["cpu"]:
        return f"this CPU ({', '.join(filter(None, [processor, threading]))})"
    return f"{' and '.join(devices)} ({processor})" if processor and len(devices) == 1 else " and ".join(devices)


def _range(counted: pd.DataFrame, info: RunInfo) -> str:
    known = known_ratios(counted)["ratio"]
    reference = words(counted)
    machine = where(counted, info) + (f", {flushed(counted)}," if flushed(counted) else "")
    others, take, phase = reference.others, "take", ""
    if len(counted) == 1:
        row = counted.iloc[0]
        others, take, phase = f"{one_line(row['cell'])} {row['implementation']}", "takes", f" in {row['phase']}"
    if known.empty:
        ends = span(digits(counted["ratio_low"].min()), digits(counted["ratio_high"].max()))
        return f"On {machine} {others} {take} {ends} times as long as {reference.name}{phase}: undecided."
    taken = f"{_ends_of(known)} times as long as {reference.name}"
    return f"On {machine} {others} {take} {taken}{phase}{_basis(counted)}."


def _ends_of(ratios: "pd.Series[float]", joint: str = " to ") -> str:
    """The lowest and the highest ratio: `1.03 to 10.8`."""
    return span(digits(ratios.min()), digits(ratios.max()), joint)


def _basis(compared: pd.DataFrame) -> str:
    """Say that the numbers have no interval, if none has one."""
    if compared["ratio_low"].notna().any():
        return ""
    return ", from one replicate: no interval" if compared["replicates"].max() <= 1 else ", without an interval"


def _ends(counted: pd.DataFrame) -> Iterable[str]:
    """Name the closest and the farthest series by their medians, if at least two have a ratio that is known."""
    known = medians(counted).dropna(subset=["lowest"])
    ranked = known.sort_values("median", kind="stable").to_dict("records")
    if len(ranked) > 1:
        context = several(counted, CONTEXT)
        low, high = ("closest", "farthest") if ranked[0]["median"] >= 1 else ("fastest against it", "slowest")
        first, last = (f"{_named(row, context)} (median {ratio(row['median'])})" for row in (ranked[0], ranked[-1]))
        yield f"The {low} is {first}, the {high} {last}."


def _named(row: Mapping[Any, Any], context: list[str]) -> str:
    """Name a series with its phase and what varies: `lstm loop in training on cuda`."""
    known = (axis for axis in context if axis not in OF_DATA or row["phase"] in LOADS)
    settings = (f"{'with' if axis in COUNTED else 'on'} {say(axis, row[axis])}" for axis in known)
    return " ".join([row["series"], "in", row["phase"], *settings])


def _by_interval(counted: pd.DataFrame) -> Iterable[str]:
    """Count the cases that are slower, faster, undecided and without an interval, unless all are slower."""
    known = tally(counted)
    total = known.cases + known.without_interval
    if known.cases and known.slower < total:
        numbers = {
            "slower": known.slower,
            "faster": known.faster,
            "undecided": len(known.undecided),
            "without an interval": known.without_interval,
        }
        parts = [f"{number:,} {word}" for word, number in numbers.items() if number]
        yield f"Of {plural(total, 'comparison')}: {', '.join(parts)}{_below_one(known)}."


def _unchecked(found: CountedCases) -> Iterable[str]:
    """Name the cells that may not do the same work as torch.nn."""
    cells = {
        one_line(cell): known_ratios(cases)["ratio"]
        for cell, cases in found.trusted[found.trusted["parity"] != "agrees"].groupby("cell", sort=False)
    }
    if len(found.trusted) > len(found.counted):
        left_out = (
            f"{cell} ({'undecided' if known.empty else _ends_of(known, '–') + '×'})" for cell, known in cells.items()
        )
        yield f"Not counted, since not checked to do the same work: {', '.join(left_out)}."
    elif cells:
        yield f"Not checked to do the same work: {', '.join(cells)}."


def _suspect(suspects: pd.DataFrame) -> Iterable[str]:
    """The cells whose time may be that of less work."""
    if cells := [one_line(cell) for cell in suspects["cell"].unique()]:
        yield f"Suspect, with the reason beside the time, and not counted if others are not: {', '.join(cells)}."


def _alone(own: pd.DataFrame) -> Iterable[str]:
    """The cells without a reference, if others have one."""
    if words(own) is FASTEST:
        return
    if cells := [one_line(cell) for cell in own.loc[own["reference"] == "none", "cell"].unique()]:
        yield f"Time only, without a reference: {', '.join(cells)}."


def _model(environment: dict[str, Any], device: str) -> str:
    """The model of a device, or of the cards over which its cases were spread; empty if it was not recorded."""
    cards = environment.get("worker", {}).get("devices", {}).get(device, [])
    models = Counter(one_line(card["name"]) for card in cards)
    named = [model if count == 1 else f"{count} x {model}" for model, count in models.items()]
    return " and ".join(named) or one_line(environment.get("machine", {}).get(device) or "")
