"""What stands above all on the page of a run: who is how far from what, where, and how sure that is; the worst case."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from rnnbench.analysis.summary import SHARED
from rnnbench.report import cases
from rnnbench.report.words.names import SETTINGS, SIZES, flushed, is_reference, say_all, several, swept, with_series
from rnnbench.report.words.units import digits, half_width, ratio, ratio_interval, span
from rnnbench.store.records import TORCH_OWN
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural, rounded_up

FEWEST = 3  # comparisons that are told by their median


@dataclass(frozen=True)
class RunAnswer:
    """Sentences, the most important first, and which of their words lead to which row of the summary."""

    sentences: list[str]
    leads: Mapping[str, int] = field(default_factory=dict)


def answer(summary: pd.DataFrame, info: RunInfo) -> RunAnswer:
    """Return the answer at the top of a run's page; of a few comparisons, or none, it is that of the terminal."""
    measured = summary[summary["status"] == "measured"]
    own = measured[~is_reference(measured) & ~measured["implementation"].isin(TORCH_OWN)]
    counted, notes = cases.counted_in(own)
    if len(counted) < FEWEST:
        return RunAnswer(cases.sentences(summary, info))
    shared = cases.is_shared(counted)
    told = counted[~shared] if 0 < shared.sum() < len(counted) else counted  # no median is of both states
    late = cases.late_steps(measured)
    first = [*late, _median(told, counted, info)]
    index: Any = told["ratio"].idxmax()
    name = _name(with_series(summary), index, [*several(counted, SETTINGS), *swept(counted, SIZES)])
    sentences = [
        *first,
        f"Worst: {name}: {_with_interval(told.loc[index])}.",
        *_precision(counted, info),
        *(_of_shared(counted[shared]) if len(told) < len(counted) else []),
        *notes,
        *cases.means_apart(counted),
    ]
    return RunAnswer(sentences, {name: int(index)})


def _median(told: pd.DataFrame, counted: pd.DataFrame, info: RunInfo) -> str:
    """Say how far the cases are from their reference in the median, on which machine, and in how many that is clear."""
    name = cases.reference_name(counted)
    who = cases.OTHERS.get(name, "other cells")
    machine = ", ".join(
        filter(
            None,
            [
                cases.where(counted, info),
                flushed(counted),
                SHARED if counted["state"].eq(SHARED).all() else "",
            ],
        )
    )
    numbers = {"slower": 0, "faster": 0} | cases.tally(counted)
    total = plural(sum(numbers.values()), "comparison")
    kinds = {"without an interval": "no interval"}
    slower, *others = (f"{kinds.get(kind, kind)} in {number:,}" for kind, number in numbers.items())
    clear = ", ".join([f"{slower} of {total}", *others])
    median = digits(told["ratio"].median())
    return f"{who[:1].upper()}{who[1:]} take {median} times as long as {name} in the median, on {machine}: {clear}."


def _name(frame: pd.DataFrame, index: Any, axes: list[str]) -> str:
    """Return `lstm loop, inference, batch 1, length 16`."""
    row = frame.loc[index]
    return ", ".join(filter(None, [row["series"], row["phase"], say_all(axes, [row[axis] for axis in axes])]))


def _with_interval(row: "pd.Series[float]") -> str:
    interval = ratio_interval(row["ratio_low"], row["ratio_high"])
    return f"{ratio(row['ratio'])} ({interval})" if row["ratio_low"] < row["ratio_high"] else ratio(row["ratio"])


def _precision(counted: pd.DataFrame, info: RunInfo) -> list[str]:
    """Say how wide a typical interval is, and how much more time would reach the precision that was asked for."""
    spreads = cases.half_width_of(counted).dropna()
    if spreads.empty:
        return []
    more = ""
    if info.seconds_needed is not None:
        more = f"; about {rounded_up(info.seconds_needed)} more would reach the precision that was asked for"
    return [f"A typical interval is {half_width(spreads.median())}{more}."]


def _of_shared(shared: pd.DataFrame) -> list[str]:
    ends = span(digits(shared["ratio"].min()), digits(shared["ratio"].max()))
    verb = "was" if len(shared) == 1 else "were"
    return [f"{plural(len(shared), 'comparison')} {verb} made {SHARED} and are not in the median: {ends} times."]
