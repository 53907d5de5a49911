"""How much time a check needs, before it begins; and how much more, for the cases that it left undecided."""

import math
from collections.abc import Sequence

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.more_replicates import MAX_TIMES, times_as_many
from rnnbench.groups import with_cases
from rnnbench.harness.check.looks import MIN_PAIRS
from rnnbench.harness.check.paired import MIN_CASE_SECONDS, PairedRunner
from rnnbench.harness.check.pairs import WorkerPairs
from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.store.records import Group
from rnnbench.text import plural, rounded_up


def too_short(pairs: WorkerPairs, cases: int, min_pairs: int, budget_seconds: float) -> str:
    """A warning if the budget can't be enough for the `min_pairs` pairs that a verdict needs; empty otherwise.

    `pairs` has started its first pair. Only the start of the pairs and their turns are counted.
    """
    turns = 2 * MIN_CASE_SECONDS * cases
    least = pairs.seconds + (min_pairs - 1) * pairs.start_seconds + min_pairs * turns
    if budget_seconds >= least:
        return ""
    return (
        f"a budget of {budget_seconds:g} s is too short for a verdict about time: {min_pairs} pairs of workers take at "
        f"least {rounded_up(least)}, and checking the cases first takes longer"
    )


def too_few_pairs(
    runner: PairedRunner, groups: Sequence[Group], findings: Sequence[Finding], budget_seconds: float
) -> list[str]:
    """A note if the budget ended before cases had the pairs of workers that a verdict takes."""
    pairs = {
        each.case.key: each.replicates
        for each in findings
        if each.verdict == "undecided" and each.replicates < MIN_PAIRS
    }
    if not pairs:
        return []
    short = with_cases(groups, lambda case: case.key in pairs)
    needed = TimeNeeded((MIN_PAIRS - min(pairs.values())) * runner.expected_seconds(short), is_least=False)
    number = f"{len(pairs):,} of {plural(len(findings), 'case')}"
    return [
        f"a verdict about time takes {MIN_PAIRS} pairs of workers; the budget of {budget_seconds:g} s was too short "
        f"for {number}; {needed.more('for these')}"
    ]


def more_time(runner: PairedRunner, groups: Sequence[Group], findings: Sequence[Finding], min_pairs: int) -> str:
    """Return how much time would be enough for undecided cases; `min_pairs`: those that `unchanged` takes."""
    times = {finding.case.key: times_as_many(finding) for finding in findings if finding.verdict == "undecided"}
    near = {case: times_more for case, times_more in times.items() if times_more <= MAX_TIMES}
    if not near:
        return ""
    open_groups = [group for group in groups if any(case.key in near for case in group.cases)]
    more = max(
        max(1.0, min_pairs - finding.replicates, (near[finding.case.key] - 1) * finding.replicates)
        for finding in findings
        if finding.case.key in near
    )
    needed = TimeNeeded(math.ceil(more) * runner.expected_seconds(open_groups), is_least=False)
    which = f"{len(near):,} of {plural(len(times), 'undecided case')}"
    return needed.more(f"for {which}")
