"""The answer: how far the cells are from their reference, what is fastest, and whether that is decided."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd

from rnnbench.report.table import Column, Table, of, table, where_new
from rnnbench.report.words.names import (
    CONTEXT,
    SETTINGS,
    SIZES,
    flushed,
    is_reference,
    one_line,
    say,
    several,
    with_series,
    word,
)
from rnnbench.report.words.ratios import ALONE, FASTEST, known_ratios, tally, words
from rnnbench.report.words.units import digits, duration, percent, ratio, ratio_interval, span
from rnnbench.store.records import TORCH_OWN, WORKLOAD_AXES
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural, rounded_up


def answer(summary: pd.DataFrame, info: RunInfo) -> str:
    """Return the answer in a few sentences, which hold only for the cases of this run."""
    return " ".join(sentences(summary, info))


def sentences(summary: pd.DataFrame, info: RunInfo) -> list[str]:
    """Return the sentences of the answer, the most important first."""
    measured, reference = summary[summary["status"] == "measured"], words(summary)
    own = measured[~is_reference(measured) & ~measured["implementation"].isin(TORCH_OWN)]
    if measured.empty:
        return ["No case was measured, so this run says nothing about time."]
    if own.empty:
        return [f"Only {reference.name} was measured, so there is nothing to compare it with."]
    if not reference.has_ratios:
        return [ALONE]
    counted, notes = own.dropna(subset=["ratio"]), []
    if counted.empty:
        return [f"{reference.name} was not measured beside these, so how far they are from it can't be said."]
    doubtful = counted[counted["parity"] != "agrees"]
    if len(doubtful):  # not counted if there are others
        cells = ", ".join(one_line(cell) for cell in doubtful["cell"].unique())
        is_all = len(doubtful) == len(counted)
        doubt = "not verified to do the same work"
        notes.append(f"{'Counted though' if is_all else 'Not counted, since'} {doubt}: {cells}.")
        counted = counted if is_all else counted.drop(doubtful.index)
    if alone := [one_line(cell) for cell in own.loc[own["reference"] == "none", "cell"].unique()]:
        notes += [f"Time only, without a reference: {', '.join(alone)}."] if words(own) is not FASTEST else []
    return [*_late_steps(measured), _range(counted, info), *_by_interval(counted, info), *notes]


def _late_steps(measured: pd.DataFrame) -> Iterator[str]:
    """Say how many streams had late steps, and which had most of them, if the steps have a period."""
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


def _range(counted: pd.DataFrame, info: RunInfo) -> str:
    """Say how far the known ratios reach, or that none is known."""
    known, reference = known_ratios(counted)["ratio"], words(counted)
    machine = where(counted, info) + (f", {flushed(counted)}," if flushed(counted) else "")
    who, take, phase = reference.others, "take", ""
    if len(counted) == 1:
        row = counted.iloc[0]
        who, take, phase = f"{one_line(row['cell'])} {row['implementation']}", "takes", f" in {row['phase']}"
    if known.empty:
        ends = span(digits(counted["ratio_low"].min()), digits(counted["ratio_high"].max()))
        return f"Undecided: on {machine} {who} {take} {ends} times as long as {reference.name}{phase}."
    why = "from one replicate: no interval" if counted["replicates"].max() <= 1 else "without an interval"
    basis = "" if counted["ratio_low"].notna().any() else f", {why}"
    ends = span(digits(known.min()), digits(known.max()))
    return f"On {machine} {who} {take} {ends} times as long as {reference.name}{phase}{basis}."


def _by_interval(counted: pd.DataFrame, info: RunInfo) -> Iterator[str]:
    """Count the cases that are slower, faster, undecided and without an interval."""
    numbers = tally(counted)
    total, undecided = sum(numbers.values()), numbers.get("undecided", 0)
    if total > 1 and total > numbers.get("without an interval", 0):
        parts = [f"{number:,} {name}" for name, number in numbers.items() if name != "undecided"]
        more = "" if info.seconds_needed is None else f" (about {rounded_up(info.seconds_needed)} more)"
        parts += [f"{undecided:,} undecided{more}"] if undecided else []
        yield f"Of {plural(total, 'comparison')}: {', '.join(parts)}."


def where(summary: pd.DataFrame, info: RunInfo) -> str:
    """Return `this CPU (AMD EPYC, 1 thread)`: the devices of the run, and the processor's name if it is known."""
    devices = [one_line(str(device)) for device in summary["device"].unique()]
    processor = next((text for device in devices if (text := _model(info.environment, device))), None)
    threads = sorted({int(number) for number in summary["threads"]})
    if devices == ["cpu"]:
        threading = f"{' or '.join(map(str, threads))} {'thread' if threads == [1] else 'threads'}"
        return f"this CPU ({', '.join(filter(None, [processor, threading]))})"
    return f"{' and '.join(devices)} ({processor})" if processor and len(devices) == 1 else " and ".join(devices)


def _model(environment: dict[str, Any], device: str) -> str:
    """Return the model of a device, or of the cards over which its cases were spread; empty if it is not known."""
    cards = environment.get("worker", {}).get("devices", {}).get(device, [])
    models = Counter(one_line(card["name"]) for card in cards)
    named = [model if count == 1 else f"{count} x {model}" for model, count in models.items()]
    return " and ".join(named) or one_line(environment.get("machine", {}).get(device) or "")


def counts(summary: pd.DataFrame) -> str:
    """Return `170 cases measured, 16 skipped`."""
    if summary.empty:
        return "the run has no cases"
    numbers = summary["status"].value_counts()
    others = {"skipped": "skipped", "failed": "failed", "pending": "not reached"}
    parts = [f"{numbers[status]:,} {text}" for status, text in others.items() if status in numbers]
    return ", ".join([f"{plural(int(numbers.get('measured', 0)), 'case')} measured", *parts])


def fastest(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the case with the lowest ratio for each cell and workload.

    `ways`: how many implementations have a ratio there; `is_decided`: whether its interval lies below all others'.
    """
    frame = with_series(summary)
    own = frame[~is_reference(frame) & frame["ratio"].notna()]
    group = [own[key] for key in ("run", "cell", *WORKLOAD_AXES)]
    best = own.loc[own.groupby(group, sort=False)["ratio"].idxmin()]
    lows = own["ratio_low"].where(~own.index.isin(best.index))
    rival = lows.groupby(group, sort=False).transform("min").loc[best.index]
    ways = own.groupby(group, sort=False)["ratio"].transform("size").loc[best.index]
    return best.assign(ways=ways, is_decided=best["ratio_high"] < rival)


def table_of_fastest(summary: pd.DataFrame) -> Table | None:
    """Return the table with one row for each cell and phase, or None if no case has a ratio."""
    best, reference = fastest(summary), words(summary)
    if best.empty:
        return None
    keys = ["cell", "phase", *several(summary, CONTEXT)]
    rows = []
    for key, cases in best.groupby(keys, sort=False):
        known, several_ways = known_ratios(cases)["ratio"], cases[cases["ways"] > 1]
        ways = Counter(cases["implementation"]).most_common()
        rows.append(
            dict(zip(keys, key, strict=True))
            | {
                "fastest": ", ".join(f"{how} {count}" if len(ways) > 1 else how for how, count in ways),
                "median": known.median(),
                "lowest": known.min(),
                "highest": known.max(),
                "faster": tally(cases).get("faster", 0),
                "decided": int(several_ways["is_decided"].sum()),
                "compared": len(several_ways),
                "workloads": len(cases),
            }
        )
    frame = pd.DataFrame(rows)
    columns = [
        Column("cell", of("cell", one_line)),
        Column("ratio", of("median", ratio), numeric=True),
        Column("range", of(("lowest", "highest"), ratio_interval), numeric=True),
        *(Column(word(key), of(key, one_line)) for key in keys[1:]),
        Column("fastest", of("fastest", one_line)),
        Column(
            "decided",
            of(("decided", "compared"), _of_all),
            numeric=True,
        ),
        Column(f"faster than {reference.name}", of(("faster", "workloads"), _of_all), numeric=True),
    ]
    note = (
        f"Median ratio to {reference.name} of the fastest implementation at each size. Decided: its interval lies "
        "below those of the others."
    )
    return table("fastest", "What is fastest", note, columns, frame, machine=frame, breaks=where_new(frame["cell"]))


def _of_all(number: int, total: int) -> str:
    return f"{number:,} of {total:,}" if total else "the only one"
