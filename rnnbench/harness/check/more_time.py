"""How much time a check needs, before it begins; and how much more, for the cases that it left undecided."""

import math
from collections.abc import Sequence

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.more_replicates import MAX_TIMES, times_as_many
from rnnbench.harness.check.paired import PairedRunner
from rnnbench.harness.check.pairs import WorkerPairs
from rnnbench.harness.check.window_count import MIN_WINDOWS
from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.store.records import Group
from rnnbench.suite_file import Settings
from rnnbench.text import plural, rounded_up


def too_short(pairs: WorkerPairs, settings: Settings, cases: int, fewest: int, budget_seconds: float) -> str:
    """A warning if the budget can't be enough for the `fewest` pairs that a verdict needs; empty otherwise.

    `pairs` has started its first pair. Only the start of the pairs and their windows are counted.
    """
    windows = 2 * MIN_WINDOWS * settings.window_seconds * cases
    least = pairs.seconds + (fewest - 1) * pairs.start_seconds + fewest * windows
    if budget_seconds >= least:
        return ""
    return (
        f"a budget of {budget_seconds:g} s is too short for a verdict about time: {fewest} pairs of workers take at "
        f"least {rounded_up(least)}, and checking the cases first takes longer"
    )


def fewest_pairs(pairs: PairedRunner, groups: Sequence[Group], budget_seconds: float, fewest: int) -> str:
    """A note for a check whose budget ended before the `fewest` pairs of workers that a verdict takes."""
    needed = TimeNeeded((fewest - pairs.replicates) * pairs.expected_seconds(groups), is_least=False)
    spent = (
        f"the budget of {budget_seconds:g} s was spent after {pairs.replicates} of at least {fewest} pairs of workers"
    )
    return f"{spent}; {needed.more('for these')}"


def more_time(pairs: PairedRunner, groups: Sequence[Group], findings: Sequence[Finding], fewest: int) -> list[str]:
    """A note on the time that would be enough for undecided cases; `fewest`: pairs that `unchanged` takes at least."""
    times = {finding.case.key: times_as_many(finding) for finding in findings if finding.verdict == "inconclusive"}
    near = {case: times for case, times in times.items() if times <= MAX_TIMES}
    if not near:
        return []
    open_groups = [group for group in groups if any(case.key in near for case in group.cases)]
    more = max(
        max(1.0, fewest - finding.replicates, (near[finding.case.key] - 1) * finding.replicates)
        for finding in findings
        if finding.case.key in near
    )
    needed = TimeNeeded(math.ceil(more) * pairs.expected_seconds(open_groups), is_least=False)
    which = f"{len(near):,} of {plural(len(times), 'undecided case')}"
    return [needed.more(f"for {which}, judged by the intervals")]
