"""The cases of a run: what is fastest, the medians of each series, and one table with all of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.summary import SHARED
from rnnbench.report.facts import (
    ABOUT_CASE_STAR,
    ABOUT_STAR,
    DOUBTS,
    NO_RATIOS,
    NO_REFERENCE,
    STAR,
    agreed,
    counted,
    doubts,
    has_slow_calls,
    is_shared,
    reference_name,
    star,
    tally,
)
from rnnbench.report.table import MAX_TABLE_ROWS, Column, Table, table, text_of, where_new
from rnnbench.report.words.names import (
    CONTEXT,
    SETTINGS,
    SIZES,
    constants,
    is_reference,
    one_line,
    series_name,
    several,
    with_series,
    with_short_cells,
    word,
)
from rnnbench.report.words.units import (
    FORMAT_OF_UNIT,
    duration,
    duration_interval,
    ratio,
    ratio_interval,
)
from rnnbench.store import metrics
from rnnbench.store.frames import missing_reasons
from rnnbench.store.records import OF_DATA, WORKLOAD_AXES
from rnnbench.text import plural

MAX_REASONS = 3  # why cases have no time, in a line
MAX_REASON = 120  # characters of each
MEDIANS_OF = ("ratio", "ratio_low", "ratio_high", "lowest", "highest", "cases", "compared", "unclear", "parity")
MEDIANS = "A row above cases: their median ratio, its range, the median time, and costs over the reference's."


def counts(summary: pd.DataFrame) -> str:
    """Return `170 cases measured, 16 skipped`."""
    numbers = summary["status"].value_counts()
    others = {"skipped": "skipped", "failed": "failed", "pending": "not reached"}
    parts = [f"{numbers[status]:,} {text}" for status, text in others.items() if status in numbers]
    return ", ".join([f"{plural(int(numbers.get('measured', 0)), 'case')} measured", *parts])


def fastest(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the case with the lowest ratio for each cell and workload.

    `ways`: how many implementations have a ratio there; `is_decided`: whether its interval lies below all others', and
    all were measured in one state of the core.
    """
    frame = with_series(summary)
    compared = frame[~is_reference(frame) & frame["ratio"].notna()]
    group = [compared[key] for key in ("run", "cell", *WORKLOAD_AXES)]
    best = compared.loc[compared.groupby(group, sort=False)["ratio"].idxmin()]
    lows = compared["ratio_low"].where(~compared.index.isin(best.index))
    rival = lows.groupby(group, sort=False).transform("min").loc[best.index]
    ways = compared.groupby(group, sort=False)["ratio"].transform("size").loc[best.index]
    states = is_shared(compared).groupby(group, sort=False).transform("nunique").loc[best.index]
    return best.assign(ways=ways, is_decided=(best["ratio_high"] < rival) & (states == 1))


def table_of_fastest(summary: pd.DataFrame) -> Table | None:
    """Return the table with one row for each cell and phase, or None if no cell was timed in two ways or more."""
    best = fastest(summary)
    name = reference_name(summary)
    if not best["ways"].gt(1).any():
        return None
    keys = ["cell", "phase", *several(summary, CONTEXT)]
    marks = is_shared(best).nunique() > 1
    rows = []
    for key, cases in best.groupby(keys, sort=False):
        main = counted(cases)
        ratios = main["ratio"]
        several_ways = cases[cases["ways"] > 1]
        ways = Counter(cases["implementation"]).most_common()
        rows.append(
            dict(zip(keys, key, strict=True))
            | {
                "fastest": ", ".join(f"{how} {count}" if len(ways) > 1 else how for how, count in ways),
                "median": ratios.median(),
                "mark": star(main, has_both_states=marks),
                "lowest": ratios.min(),
                "highest": ratios.max(),
                "faster": tally(cases).get("faster", 0),
                "decided": int(several_ways["is_decided"].sum()),
                "compared": len(several_ways),
                "workloads": len(cases),
            }
        )
    frame = pd.DataFrame(rows)
    columns = [
        Column("cell", text_of("cell", one_line)),
        Column("ratio", text_of(("median", "mark"), _marked), numeric=True),
        Column("range", text_of(("lowest", "highest"), ratio_interval), numeric=True),
        *(Column(word(key), text_of(key, one_line)) for key in keys[1:]),
        Column("fastest", text_of("fastest", one_line)),
        Column("decided", text_of(("decided", "compared"), _of_all), numeric=True),
        Column(f"faster than {name}", text_of(("faster", "workloads"), _of_all), numeric=True),
    ]
    note = (
        f"Median ratio to {name} of the fastest implementation at each size. Decided: its interval lies below those of "
        "the others, which were measured in the same state of the core."
    )
    if frame["mark"].any():
        note = f"{note} {ABOUT_STAR}"
    return table(
        "fastest",
        "What is fastest",
        note,
        columns,
        frame,
        machine=frame.drop(columns="mark"),
        breaks=where_new(frame["cell"]),
    )


def _marked(value: float, mark: str) -> str:
    """Return a ratio with the mark of those that were measured on a shared core."""
    return f"{ratio(value)}{mark}"


def _has_both_states(summary: pd.DataFrame) -> bool:
    """Return True if some ratios were measured on a shared core, and others were not."""
    return is_shared(summary[summary["ratio"].notna() & ~is_reference(summary)]).nunique() > 1


def _of_all(number: int, total: int) -> str:
    return f"{number:,} of {total:,}" if total else "the only one"


def table_of_cases(summary: pd.DataFrame, *, is_worst_first: bool = False) -> Table:
    """Return the table with a row for each case: the ratio first, and what it costs beside time in optional columns.

    `is_worst_first`: parts by their median, which stands above them, and cases by their ratio, as a page shows them;
    references come last, and are shown when they are asked for.
    """
    keys = _keys(summary)
    frame = with_series(summary)
    marks = is_shared(frame).map({True: STAR, False: ""}) if _has_both_states(frame) else ""
    parts = frame.groupby(keys, sort=False).ngroup()
    best = fastest(summary)
    frame = frame.assign(part=parts, mark=marks, is_fastest=frame.index.isin(best.index[best["ways"] > 1]))
    heads = table_of_medians(summary) if is_worst_first else None
    if heads is not None:
        place = {old: new for new, old in enumerate(heads.frame.index)}
        frame = frame.assign(part=parts.map(place), faster=-frame["ratio"])
        frame = frame.sort_values(["part", "faster", *SIZES], kind="stable").drop(columns="faster")
    else:
        frame = frame.sort_values(["part", *SIZES], kind="stable")
    machine = summary.drop(columns="ceiling", errors="ignore")
    breaks = where_new(frame["part"])
    note = about(summary)
    if frame["mark"].any():
        note = f"{note} {ABOUT_CASE_STAR}"
    columns = _columns_of_cases(frame, has_range=is_worst_first)
    every = table("cases", "Every case", note, columns, frame, machine=machine, breaks=breaks)
    hidden = np.flatnonzero(is_reference(frame)).tolist() if is_worst_first else []
    return replace(
        every,
        cases=tuple(map(int, frame.index[:MAX_TABLE_ROWS])),
        heads=heads,
        aside=not_known(frame),
        paper=_for_paper(frame),
        hidden=frozenset(hidden),
    )


def _columns_of_cases(frame: pd.DataFrame, *, has_range: bool) -> list[Column]:
    """Return the columns of the table of cases; `has_range`: with one that only the rows of medians fill."""
    costs = [metric for metric in metrics.METRICS if frame[metric.name].notna().any()]
    return [
        Column("cell", text_of("series"), tells_apart=True),
        Column("ratio", text_of(("ratio", "mark"), _marked), numeric=True, pooled="ratio"),
        *([Column("range", lambda _: "", numeric=True, pooled="range")] if has_range else []),
        Column("95% interval", text_of(("ratio_low", "ratio_high"), _ends), numeric=True),
        Column("phase", text_of("phase"), is_chosen=True, tells_apart=True),
        *(
            Column(
                word(axis),
                text_of(axis, one_line),
                numeric=axis in SIZES,
                is_chosen=axis == "batch_size",
                tells_apart=True,
            )
            for axis in several(frame, (*SETTINGS, *SIZES))
        ),
        Column("time", text_of("seconds", duration), numeric=True, pooled="time"),
        Column("time's 95% interval", text_of(("seconds_low", "seconds_high"), duration_interval), numeric=True),
        *(
            Column(
                metric.label,
                text_of(metric.name, FORMAT_OF_UNIT[metric.unit]),
                numeric=True,
                is_optional=True,
                about=metric.about,
            )
            for metric in costs
        ),
        Column("backend", text_of("backend", one_line), is_optional=True),
        Column("limit set by", text_of("bound_by", one_line), is_optional=True),
        Column("notes", notes),
    ]


def _for_paper(frame: pd.DataFrame) -> Table:
    """Return the measured cases with what a paper says of them: a letter for each doubt, which its caption explains."""
    measured = with_short_cells(frame[frame["status"] == "measured"])
    rows = measured.to_dict("records")
    letters = ["".join(letter for letter, (_, is_so) in DOUBTS.items() if is_so(row)) for row in rows]
    measured = measured.assign(letters=letters)
    used = set("".join(letters))
    columns = [
        Column("cell", lambda row: series_name(row["cell"], row["implementation"])),
        *(Column(word(axis), text_of(axis, one_line)) for axis in several(measured, ["phase", *SETTINGS])),
        *(Column(word(axis), text_of(axis, one_line), numeric=True) for axis in several(measured, SIZES)),
        Column("time", text_of("seconds", duration), numeric=True),
        Column("ratio", text_of("ratio", ratio), numeric=True),
        Column("95% interval", text_of(("ratio_low", "ratio_high"), _ends), numeric=True),
        *([Column("", text_of("letters"))] if used else []),
    ]
    phases = measured["phase"].unique()
    note = [
        f"Phase: {one_line(phases[0])}." if len(phases) == 1 else "",
        about(measured) if len(measured) else "",
        *(f"{letter}: {words}." for letter, (words, _) in DOUBTS.items() if letter in used),
        *(f"{words}." for words in left_out(frame[frame["status"] != "measured"])),
    ]
    return table("cases", "Every case", " ".join(filter(None, note)), columns, measured, machine=measured)


def left_out(cases: pd.DataFrame) -> list[str]:
    """Return how many cases these without a time are, and the most frequent reasons, in a line; none without cases."""
    if cases.empty:
        return []
    reasons = (cases["status"] + ": " + cases["reason"]).map(one_line).value_counts()
    texts = [f"{number:,} {_cut(str(reason))}" for reason, number in reasons.head(MAX_REASONS).items()]
    more = "; and others" if len(reasons) > MAX_REASONS else ""
    return [f"{plural(len(cases), 'case')} left out, without a time ({'; '.join(texts)}{more})"]


def _cut(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1].rstrip()}…"


def table_of_medians(summary: pd.DataFrame) -> Table:
    """Return the table with a row for each series and phase: medians over all sizes, of costs over the reference's.

    Its frame has the number of each row's part as its index. The highest median comes first, and references last.
    """
    keys = _keys(summary)
    frame = with_series(summary)
    has_both_states = _has_both_states(frame)
    costs = [metric for metric in metrics.METRICS if frame[metric.name].notna().any()]
    names = [metric.name for metric in costs]
    same = ["run", *WORKLOAD_AXES]
    references = frame.loc[is_reference(frame), [*same, *names]].drop_duplicates(same)
    beside = frame[same].merge(references, on=same, how="left").set_index(frame.index)[names]
    over = (frame[names] / beside).where(beside > 0)
    alone = [metric.name for metric in costs if metric.unit == "times"]  # such as a distance from a limit
    over[alone] = frame[alone]
    rows = []
    for key, cases in frame.groupby(keys, sort=False):
        with_ratio = cases.dropna(subset="ratio")
        main = counted(with_ratio)
        ratios = main[["ratio", "ratio_low", "ratio_high"]]
        shared = int(is_shared(with_ratio).sum())
        # Without the reasons, which stand beside the cases.
        parity = agreed(parity.brief for parity in cases.loc[cases["status"] == "measured", "parity"])
        compared = len(with_ratio)
        unclear_ones = tally(cases).get("unclear", 0)
        number = plural(len(cases), "case")
        remarks = [number if compared in (0, len(cases)) else f"{compared:,} of {number}"]
        remarks += [f"{unclear_ones:,} unclear"] if unclear_ones else []
        if has_both_states and shared:
            remarks.append(f"{shared:,} {SHARED}{', not in the median' if shared < compared else ''}")
        with_slow_calls = sum(map(has_slow_calls, cases.to_dict("records")))
        remarks += [f"{with_slow_calls:,} with slow calls"] if with_slow_calls else []
        rows.append(
            dict(zip(keys, key, strict=True))
            | ratios.median(skipna=False).to_dict()
            | {"lowest": ratios["ratio"].min(), "highest": ratios["ratio"].max()}
            | {"cases": len(cases), "compared": compared, "unclear": unclear_ones, "parity": parity}
            | {"told": "; ".join([*remarks, one_line(parity)]), "seconds": counted(cases)["seconds"].median()}
            | {"mark": star(main, has_both_states=has_both_states)}
            | over.loc[cases.index].median().to_dict()
        )
    medians = pd.DataFrame(rows, columns=[*keys, *MEDIANS_OF, "told", "mark", "seconds", *names])
    order = medians.assign(last=is_reference(medians), faster=-medians["ratio"])
    medians = medians.loc[order.sort_values(["last", "faster"], kind="stable").index]
    columns = [
        Column("cell", text_of("series")),
        Column("ratio", text_of(("ratio", "mark"), _marked), numeric=True),
        Column("lowest to highest", text_of(("lowest", "highest"), _ends), numeric=True, below="range"),
        Column("time", text_of("seconds", duration), numeric=True),
        *(Column(word(key), text_of(key, one_line)) for key in keys[3:]),
        *(Column(metric.label, text_of(metric.name, ratio), numeric=True, is_optional=True) for metric in costs),
        Column("cases", text_of("told"), below="notes"),
    ]
    machine = medians.drop(columns=["told", "mark"])
    words = [MEDIANS, ABOUT_STAR if medians["mark"].any() else ""]
    note = " ".join(filter(None, [*words, sizes_of_phases(summary)]))
    return table("medians", "Medians over all sizes", note, columns, medians, machine=machine)


def sizes_of_phases(summary: pd.DataFrame) -> str:
    """Say which sizes each phase has if these differ, since medians over other sizes can't be compared."""
    texts = []
    for axis in (axis for axis in SIZES if axis not in OF_DATA):
        sizes = {str(phase): sorted(set(cases[axis])) for phase, cases in summary.groupby("phase", sort=False)}
        if len(set(map(tuple, sizes.values()))) > 1:
            parts = [f"{' and '.join(map(str, values))} in {one_line(phase)}" for phase, values in sizes.items()]
            texts.append(f"{word(axis)} is {', '.join(parts)}")
    return f"Sizes differ by phase: {'; '.join(texts)}." if texts else ""


def about(summary: pd.DataFrame) -> str:
    """Say what all cases have in common, and what their ratios are to."""
    name = reference_name(summary)
    ratios = NO_RATIOS if name == NO_REFERENCE else f"Ratios are time over that of {name}."
    return f"Everywhere: {constants(summary)}. {ratios}" if len(summary) else ratios


def notes(row: Mapping[Any, Any]) -> str:
    """Say why a case has no time, or whether it does its reference's work and how well its ratio is known."""
    if row["status"] != "measured":
        return one_line(f"{row['status']}: {row['reason']}")
    fast = "fastest" if row.get("is_fastest") else ""
    waits = "launch-bound: the device waits for the host" if row.get("launch_bound") in (True,) else ""
    return "; ".join(filter(None, [fast, one_line(str(row["parity"])), *doubts(row), waits]))


def _ends(low: float, high: float) -> str:
    """Return an interval or a range; empty if it has one value, as for the case to which the ratios are."""
    return "" if low == high else ratio_interval(low, high)


def _keys(summary: pd.DataFrame) -> list[str]:
    """Return what the cases below one head have in common."""
    return ["series", "cell", "implementation", "phase", *several(summary, CONTEXT)]


def not_known(frame: pd.DataFrame) -> str:
    """Say which metrics no measured case has, and why, if a reason was recorded."""
    measured = frame[frame["status"] == "measured"]
    labels: dict[str, dict[str, None]] = {}
    for reasons in map(missing_reasons, measured["missing"].unique()):
        for metric in metrics.METRICS:
            if metric.name in reasons and measured[metric.name].isna().all():
                labels.setdefault(one_line(reasons[metric.name]), {})[metric.label] = None
    parts = [f"{', '.join(names)} ({reason})" for reason, names in labels.items()]
    return f"Not known: {'; '.join(parts)}." if parts else ""
