"""The cases of a run: their ratios by size as a heat map, and one table with a head for each series."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rnnbench.report.answer import fastest
from rnnbench.report.table import Column, Section, Table, of, table, where_new
from rnnbench.report.words.names import (
    CONTEXT,
    SETTINGS,
    SIZES,
    constants,
    is_reference,
    one_line,
    several,
    with_series,
    word,
)
from rnnbench.report.words.ratios import (
    known,
    known_ratios,
    missed,
    not_known,
    tally,
    undecided,
    waits,
    with_metrics,
    words,
)
from rnnbench.report.words.units import count, duration, duration_interval, quantity, ratio, ratio_interval
from rnnbench.store import metrics
from rnnbench.store.metrics import Metric
from rnnbench.store.records import WORKLOAD_AXES
from rnnbench.store.run_info import RunInfo

if TYPE_CHECKING:
    from rnnbench.report.drawing.sheet import Picture

MEDIANS = "The median of each series' known ratios, and their range. Costs are relative to the reference's."


def section(summary: pd.DataFrame, info: RunInfo, pictures: "Mapping[str, Picture]") -> Section:
    """Return the section of all cases."""
    heat = [pictures["ratio_by_size"]] if "ratio_by_size" in pictures else []
    return Section("cases", "Cases", [*heat, table_of_cases(summary, info)])


def table_of_cases(summary: pd.DataFrame, info: RunInfo) -> Table:
    """Return the table with a row for each case: the ratio first, and what it costs beside time in optional columns."""
    keys = _keys(summary)
    frame = with_metrics(with_series(summary))
    parts = frame.groupby(keys, sort=False).ngroup()
    best = fastest(summary)
    frame = frame.assign(part=parts, is_fastest=frame.index.isin(best.index[best["ways"] > 1]))
    frame = frame.sort_values(["part", *SIZES], kind="stable")
    columns = [
        Column("cell", of("series")),
        Column("ratio", of("ratio", ratio), numeric=True),
        Column("95% interval", of(("ratio_low", "ratio_high"), case_interval), numeric=True),
        Column("phase", of("phase")),
        *(
            Column(word(axis), of(axis, one_line), numeric=axis in SIZES)
            for axis in several(summary, (*SETTINGS, *SIZES))
        ),
        Column("time", of("seconds", duration), numeric=True),
        Column("time's 95% interval", of(("seconds_low", "seconds_high"), duration_interval), numeric=True),
        *map(_cost, known(frame, metrics.METRICS)),
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
    keys, frame = _keys(summary), with_metrics(with_series(summary))
    costs = known(frame, metrics.METRICS)
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
        statistics = [ratios.median(), ratios.min(), ratios.max()] if len(ratios) else [np.nan] * 3
        rows.append(
            dict(zip(keys, key, strict=True))
            | dict(zip(("ratio", "lowest", "highest"), statistics, strict=True))
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
        Column("lowest to highest", of(("lowest", "highest"), _range), numeric=True, below="95% interval"),
        *(Column(word(key), of(key, one_line)) for key in keys[3:]),
        *(Column(metric.label, of(metric.name, ratio), numeric=True, is_optional=True) for metric in costs),
        Column("cases", _of_cases, below="notes"),
    ]
    return table("medians", "Medians over all sizes", MEDIANS, columns, medians, machine=medians)


def about(summary: pd.DataFrame) -> str:
    """Say what all cases have in common, and what their ratios are to."""
    return " ".join(filter(None, [f"Everywhere: {constants(summary)}." if len(summary) else "", words(summary).ratios]))


def notes(row: Mapping[Any, Any], info: RunInfo) -> str:
    """Say why a case has no time, or whether it does its reference's work and how well its ratio is known."""
    if row["status"] != "measured":
        return one_line(f"{row['status']}: {row['reason']}")
    fast = "fastest" if row.get("is_fastest") else ""
    said = [fast, one_line(row["parity"]), undecided(row), missed(row, info), waits(row)]
    return "; ".join(filter(None, said))


def case_interval(low: float, high: float) -> str:
    """Return the interval of a case's ratio; empty for the case to which the ratios are."""
    return "" if low == high == 1 else ratio_interval(low, high)


def _all(parities: set[str]) -> str:
    """Return what holds for all cases of a series, without the reason, which stands beside each case."""
    said = {parity.partition(":")[0] for parity in parities}
    return said.pop() if len(said) == 1 else "not all agree" if said else "not measured"


def _range(lowest: float, highest: float) -> str:
    return ratio_interval(lowest, highest) if lowest < highest else ""


def _keys(summary: pd.DataFrame) -> list[str]:
    """Return what the cases below one head have in common."""
    return ["series", "cell", "implementation", "phase", *several(summary, CONTEXT)]


def _cost(metric: Metric) -> Column:
    show = of(metric.name, lambda value: quantity(value, metric.unit))
    return Column(metric.label, show, numeric=True, is_optional=True, about=metric.about)


def _of_cases(row: Mapping[str, Any]) -> str:
    compared = "" if row["compared"] in (0, row["cases"]) else f"{row['compared']:,} of "
    undecided = f"{row['undecided']:,} undecided" if row["undecided"] else ""
    cases = f"{compared}{count(row['cases'])} {'case' if row['cases'] == 1 else 'cases'}"
    return "; ".join(filter(None, [cases, undecided, one_line(row["parity"])]))
