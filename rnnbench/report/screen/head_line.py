"""The first line of what `rnnbench run` prints: what was measured where, how long that took, and how sure it is."""

import math

import pandas as pd

from rnnbench.analysis.estimate import ALWAYS_QUIET
from rnnbench.report.environment import machine
from rnnbench.report.facts import Headline
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import half_width, percent, wall_time
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural


def head_line(summary: pd.DataFrame, info: RunInfo, facts: Headline) -> str:
    """Return `quick: AMD EPYC, 1 thread, float32; 166 cases in 75 s; quiet (±0.8%)`."""
    numbers = summary["status"].value_counts()
    measured = int(numbers.get("measured", 0))
    tried = measured + int(numbers.get("failed", 0) + numbers.get("pending", 0))
    cases = plural(tried, "case") if measured == tried else f"{measured:,} of {plural(tried, 'case')}"
    took = "" if info.seconds is None else f" in {wall_time(info.seconds)}"
    where = ": ".join(filter(None, [one_line(info.suite), machine(summary, info)]))
    parts = [where, f"{cases}{took}", quietness(summary, facts)]
    return "; ".join(filter(None, parts))


def quietness(summary: pd.DataFrame, facts: Headline) -> str:
    """Return `quiet (±0.8%)`, `74% quiet (±1.9%)` or `intervals ±1.9%`; empty if nothing is known.

    The core is quiet while no other hyperthread uses it. The percentage in brackets is that of the typical interval.
    """
    share = summary.loc[summary["status"] == "measured", "quiet_share"].mean()
    state = ""
    if not math.isnan(share):
        state = "quiet" if share >= ALWAYS_QUIET else f"{percent(share)} quiet"
    if math.isnan(facts.half_width) or facts.is_noisy:  # the warning says how wide intervals are
        return "" if state == "quiet" else state
    width = half_width(facts.half_width)
    return f"{state} ({width})" if state else f"intervals {width}"
