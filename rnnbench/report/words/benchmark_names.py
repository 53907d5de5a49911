"""What the files of pytest-benchmark show, in words for the figures and tables made from them."""

import numpy as np
import pandas as pd

from rnnbench.report.words.names import one_line
from rnnbench.report.words.ratios import known_ratios
from rnnbench.report.words.units import MISSING, digits, ratio_interval
from rnnbench.store.pytest_benchmark import BenchmarkFiles
from rnnbench.text import plural

TIME = "Time: the lower quartile of a file's rounds, seconds per call"
EXPORTED = "Time: the median of a replicate's calls, as rnnbench measured it"
ONE = (
    "One file is one process: its quartiles contain the differences between rounds but not those between "
    "processes, which are often larger. So there is no interval, and a small difference may be chance."
)


def note(saved: BenchmarkFiles) -> str:
    """What the numbers are, and what is and is not in their intervals."""
    if saved.is_exported:
        return (
            f"{EXPORTED}. 95% intervals are over {plural(len(saved.sessions), 'replicate')}, each a fresh process."
            " `rnnbench report` of the run's own folder shows more."
        )
    if len(saved.sessions) == 1:
        return f"{TIME}. {ONE}"
    files = plural(len(saved.sessions), "file")
    return f"{TIME}. 95% intervals are over {files}, each one process; what differs from day to day is not in them."


def heading(saved: BenchmarkFiles) -> str:
    """The heading of the page."""
    return f"{one_line(saved.name)}: {'exported by rnnbench' if saved.is_exported else 'measured by pytest-benchmark'}"


def reference(summary: pd.DataFrame) -> str:
    """What the ratios are to: one benchmark, or the reference of each group; empty if there are no ratios."""
    names = {one_line(name) for name in summary.loc[summary["ratio"].notna(), "reference"]}
    return "" if not names else names.pop() if len(names) == 1 else "the reference of its group"


def answer(summary: pd.DataFrame) -> str:
    """How far the benchmarks are from their references, or that they have none."""
    compared = summary[summary["ratio"].notna() & ~summary["is_reference"]].sort_values("ratio", kind="stable")
    if compared.empty:
        return (
            "Time only: no benchmark is a reference. rnnbench report FILE --reference NAME gives ratios to the "
            "benchmark of that name within each group."
        )
    to = reference(summary)
    known = known_ratios(compared) if len(compared) > 1 else compared
    if known.empty:
        return f"The ratios of {len(compared):,} benchmarks to {to} are undecided: all intervals are too wide."
    low, high = (row for _, row in known.iloc[[0, -1]].iterrows())
    left_out = f"; {len(compared) - len(known):,} more are undecided" if len(known) < len(compared) else ""
    if len(known) == 1:
        return f"{one_line(low['name'])} takes {_times(low)} times as long as {to}{left_out}."
    number = plural(len(known), "benchmark")
    ends = f"{_times(low)} ({one_line(low['name'])}) to {_times(high)} ({one_line(high['name'])})"
    return f"{number} take {ends} times as long as {to}{left_out}."


def _times(row: "pd.Series[float]") -> str:
    """`1.23 [1.20–1.26]`; the value alone if the interval says no more."""
    value, interval = digits(row["ratio"]), ratio_interval(row["ratio_low"], row["ratio_high"])
    return value if interval in (MISSING, value) else f"{value} [{interval}]"


def by_group(summary: pd.DataFrame) -> pd.DataFrame:
    """Sort by group, in order of first appearance, with the reference of each group first."""
    group_index = pd.factorize(summary["group"])[0]
    return summary.iloc[np.lexsort((~summary["is_reference"].to_numpy(dtype=bool), group_index))].reset_index(drop=True)
