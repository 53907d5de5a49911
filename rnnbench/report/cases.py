"""The cases of a run: the answer in words, what is fastest, their ratios by size, and one table with all of them."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from rnnbench.report.table import Column, Table, of, table, where_new
from rnnbench.report.words.names import (
    CONTEXT,
    SETTINGS,
    SIZES,
    constants,
    flushed,
    is_reference,
    one_line,
    say,
    several,
    with_series,
    word,
)
from rnnbench.report.words.ratios import (
    NO_REFERENCE,
    known,
    known_ratios,
    missed,
    not_known,
    reference_name,
    tally,
    undecided,
)
from rnnbench.report.words.units import (
    count,
    digits,
    duration,
    duration_interval,
    percent,
    quantity,
    ratio,
    ratio_interval,
    span,
)
from rnnbench.store.records import TORCH_OWN, WORKLOAD_AXES
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural, rounded_up

ALONE = "Time only: no reference is named, so there are no ratios and nothing was compared."
OTHERS = {  # what is compared with a reference, by its name
    "torch.nn": "hand-written cells",
    "per_item": "other ways to load",
    "the fastest": "cells",
    "the reference": "the others",
}
MEDIANS = "The median of each series' known ratios, and their range. Costs are relative to the reference's."


def answer(summary: pd.DataFrame, info: RunInfo) -> str:
    """Return the answer in a few sentences, which hold only for the cases of this run."""
    return " ".join(sentences(summary, info))


def sentences(summary: pd.DataFrame, info: RunInfo) -> list[str]:
    """Return the sentences of the answer, the most important first."""
    measured, name = summary[summary["status"] == "measured"], reference_name(summary)
    own = measured[~is_reference(measured) & ~measured["implementation"].isin(TORCH_OWN)]
    if measured.empty:
        return ["No case was measured, so this run says nothing about time."]
    if own.empty:
        return [f"Only {name} was measured, so there is nothing to compare it with."]
    if name == NO_REFERENCE:
        return [ALONE]
    counted, notes = own.dropna(subset=["ratio"]), []
    if counted.empty:
        return [f"{name} was not measured beside these, so how far they are from it can't be said."]
    doubtful = counted[counted["parity"] != "agrees"]
    if len(doubtful):  # not counted if there are others
        cells = ", ".join(one_line(cell) for cell in doubtful["cell"].unique())
        is_all = len(doubtful) == len(counted)
        doubt = "not verified to do the same work"
        notes.append(f"{'Counted though' if is_all else 'Not counted, since'} {doubt}: {cells}.")
        counted = counted if is_all else counted.drop(doubtful.index)
    alone = [one_line(cell) for cell in own.loc[own["reference"] == "none", "cell"].unique()]
    if alone and reference_name(own) != "the fastest":
        notes.append(f"Time only, without a reference: {', '.join(alone)}.")
    numbers = tally(counted)
    total, undecided = sum(numbers.values()), numbers.pop("undecided", 0)
    if total > max(1, numbers.get("without an interval", 0)):
        parts = [f"{number:,} {kind}" for kind, number in numbers.items()]
        more = "" if info.seconds_needed is None else f" (about {rounded_up(info.seconds_needed)} more)"
        parts += [f"{undecided:,} undecided{more}"] if undecided else []
        notes.insert(0, f"Of {plural(total, 'comparison')}: {', '.join(parts)}.")
    return [*_late_steps(measured), _range(counted, info), *notes]


def _late_steps(measured: pd.DataFrame) -> list[str]:
    """Say how many streams had late steps, and which had most of them, if the steps have a period."""
    if "late_share" not in measured or measured["late_share"].isna().all():
        return []
    frame = with_series(measured.dropna(subset=["late_share"]))
    periods, late = " or ".join(map(duration, frame["period_seconds"].unique())), int(frame["late_share"].gt(0).sum())
    if not late:
        return [f"No step of {plural(len(frame), 'stream')} took longer than {periods}."]
    worst = frame.nlargest(1, "late_share").iloc[0]
    most = ", ".join([worst["series"], *(say(axis, worst[axis]) for axis in several(frame, (*SETTINGS, *SIZES)))])
    share = percent(worst["late_share"])
    return [
        f"{late:,} of {plural(len(frame), 'stream')} had steps longer than {periods}. The worst is {most}: {share}."
    ]


def _range(counted: pd.DataFrame, info: RunInfo) -> str:
    """Say how far the known ratios reach, or that none is known."""
    known, name = known_ratios(counted)["ratio"], reference_name(counted)
    machine = where(counted, info) + (f", {flushed(counted)}," if flushed(counted) else "")
    who, takes, phase = OTHERS.get(name, "other cells"), "take", ""
    if len(counted) == 1:
        row = counted.iloc[0]
        who, takes, phase = f"{one_line(row['cell'])} {row['implementation']}", "takes", f" in {row['phase']}"
    if known.empty:
        ends = span(digits(counted["ratio_low"].min()), digits(counted["ratio_high"].max()))
        return f"Undecided: on {machine} {who} {takes} {ends} times as long as {name}{phase}."
    ends, basis = span(digits(known.min()), digits(known.max())), ""
    if counted["ratio_low"].isna().all():
        is_single = counted["replicates"].max() <= 1
        basis = ", from one replicate: no interval" if is_single else ", without an interval"
    return f"On {machine} {who} {takes} {ends} times as long as {name}{phase}{basis}."


def where(summary: pd.DataFrame, info: RunInfo) -> str:
    """Return `this CPU (AMD EPYC, 1 thread)`: the devices of the run, and what one device is if that is known."""
    devices = [one_line(str(device)) for device in summary["device"].unique()]
    cards = info.environment.get("worker", {}).get("devices", {}).get(devices[0], [])
    model = cards[0]["name"] if cards else info.environment.get("machine", {}).get(devices[0])
    facts = [one_line(model)] if model else []
    if devices == ["cpu"]:
        threads = sorted({int(number) for number in summary["threads"]})
        facts.append(f"{' or '.join(map(str, threads))} {'thread' if threads == [1] else 'threads'}")
    name = "this CPU" if devices == ["cpu"] else " and ".join(devices)
    return f"{name} ({', '.join(facts)})" if facts and len(devices) == 1 else name


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
    best, name = fastest(summary), reference_name(summary)
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
        Column("decided", of(("decided", "compared"), _of_all), numeric=True),
        Column(f"faster than {name}", of(("faster", "workloads"), _of_all), numeric=True),
    ]
    note = (
        f"Median ratio to {name} of the fastest implementation at each size. Decided: its interval lies "
        "below those of the others."
    )
    return table("fastest", "What is fastest", note, columns, frame, machine=frame, breaks=where_new(frame["cell"]))


def _of_all(number: int, total: int) -> str:
    return f"{number:,} of {total:,}" if total else "the only one"


# All cases


def table_of_cases(summary: pd.DataFrame, info: RunInfo) -> Table:
    """Return the table with a row for each case: the ratio first, and what it costs beside time in optional columns."""
    keys = _keys(summary)
    frame = with_series(summary)
    parts = frame.groupby(keys, sort=False).ngroup()
    best = fastest(summary)
    frame = frame.assign(part=parts, is_fastest=frame.index.isin(best.index[best["ways"] > 1]))
    frame = frame.sort_values(["part", *SIZES], kind="stable")
    columns = [
        Column("cell", of("series")),
        Column("ratio", of("ratio", ratio), numeric=True),
        Column("95% interval", of(("ratio_low", "ratio_high"), _ends), numeric=True),
        Column("phase", of("phase")),
        *(
            Column(word(axis), of(axis, one_line), numeric=axis in SIZES)
            for axis in several(summary, (*SETTINGS, *SIZES))
        ),
        Column("time", of("seconds", duration), numeric=True),
        Column("time's 95% interval", of(("seconds_low", "seconds_high"), duration_interval), numeric=True),
        *(
            Column(
                metric.label,
                of(metric.name, partial(quantity, unit=metric.unit)),
                numeric=True,
                is_optional=True,
                about=metric.about,
            )
            for metric in known(frame)
        ),
        Column("backend", of("backend", one_line), is_optional=True),
        Column("limit set by", of("bound_by", one_line), is_optional=True),
        Column("notes", lambda row: notes(row, info)),
    ]
    return table(
        "cases",
        "Every case",
        f"{about(summary)} {not_known(frame)}".strip(),
        columns,
        frame,
        machine=summary.drop(columns="ceiling", errors="ignore"),
        breaks=where_new(frame["part"]),
        cases=frame.index.to_list(),
        heads=table_of_medians(summary),
    )


def table_of_medians(summary: pd.DataFrame) -> Table:
    """Return the table with a row for each series and phase: medians over all sizes, of costs over the reference's."""
    keys, frame = _keys(summary), with_series(summary)
    costs = known(frame)
    names = [metric.name for metric in costs]
    same = ["run", *WORKLOAD_AXES]
    references = frame.loc[is_reference(frame), [*same, *names]].drop_duplicates(same)
    beside = frame[same].merge(references, on=same, how="left").set_index(frame.index)[names]
    over = (frame[names] / beside).where(beside > 0)
    alone = [metric.name for metric in costs if metric.unit == "times"]  # such as a distance from a limit
    over[alone] = frame[alone]
    rows = []
    for key, cases in frame.groupby(keys, sort=False):
        ratios = known_ratios(cases)["ratio"].dropna()
        parities = set(cases.loc[cases["status"] == "measured", "parity"])
        compared = int(cases["ratio"].notna().sum())
        rows.append(
            dict(zip(keys, key, strict=True))
            | {"ratio": ratios.median(), "lowest": ratios.min(), "highest": ratios.max()}
            | {"cases": len(cases), "compared": compared, "undecided": tally(cases).get("undecided", 0)}
            | {"parity": _all(parities)}
            | over.loc[cases.index].median().to_dict()
        )
    medians = pd.DataFrame(
        rows, columns=[*keys, "ratio", "lowest", "highest", "cases", "compared", "undecided", "parity", *names]
    )
    columns = [
        Column("cell", of("series")),
        Column("ratio", of("ratio", ratio), numeric=True),
        Column("lowest to highest", of(("lowest", "highest"), _ends), numeric=True, below="95% interval"),
        *(Column(word(key), of(key, one_line)) for key in keys[3:]),
        *(Column(metric.label, of(metric.name, ratio), numeric=True, is_optional=True) for metric in costs),
        Column("cases", _of_cases, below="notes"),
    ]
    return table("medians", "Medians over all sizes", MEDIANS, columns, medians, machine=medians)


def about(summary: pd.DataFrame) -> str:
    """Say what all cases have in common, and what their ratios are to."""
    name = reference_name(summary)
    ratios = ALONE if name == NO_REFERENCE else f"Ratios are time over that of {name}."
    return f"Everywhere: {constants(summary)}. {ratios}" if len(summary) else ratios


def notes(row: Mapping[Any, Any], info: RunInfo) -> str:
    """Say why a case has no time, or whether it does its reference's work and how well its ratio is known."""
    if row["status"] != "measured":
        return one_line(f"{row['status']}: {row['reason']}")
    fast = "fastest" if row.get("is_fastest") else ""
    waits = "launch-bound: the device waits for the host" if row.get("launch_bound") in (True,) else ""
    said = [fast, one_line(row["parity"]), undecided(row), missed(row, info), waits]
    return "; ".join(filter(None, said))


def _all(parities: set[str]) -> str:
    """Return what holds for all cases of a series, without the reason, which stands beside each case."""
    said = {parity.partition(":")[0] for parity in parities}
    return said.pop() if len(said) == 1 else "not all agree" if said else "not measured"


def _ends(low: float, high: float) -> str:
    """Return an interval or a range; empty if it has one value, as for the case to which the ratios are."""
    return "" if low == high else ratio_interval(low, high)


def _keys(summary: pd.DataFrame) -> list[str]:
    """Return what the cases below one head have in common."""
    return ["series", "cell", "implementation", "phase", *several(summary, CONTEXT)]


def _of_cases(row: Mapping[str, Any]) -> str:
    compared = "" if row["compared"] in (0, row["cases"]) else f"{row['compared']:,} of "
    undecided = f"{row['undecided']:,} undecided" if row["undecided"] else ""
    cases = f"{compared}{count(row['cases'])} {'case' if row['cases'] == 1 else 'cases'}"
    return "; ".join(filter(None, [cases, undecided, one_line(row["parity"])]))
