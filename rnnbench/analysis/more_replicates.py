"""How many replicates would be enough for the cases that a comparison left undecided."""

import math
from collections.abc import Mapping, Sequence

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.location import Location
from rnnbench.analysis.run_to_run import with_run_to_run
from rnnbench.text import plural

MAX_TIMES = 25.0  # as many replicates; a case that would take more lies so near the margin that they do not help
IN_TURNS = "`rnnbench check --base` measures both sides in turns"


def more_replicates(findings: Sequence[Finding], low: Mapping[str, Location], mean: Mapping[str, Location]) -> str:
    """What would decide the undecided cases; `low` and `mean` are the changes, without the variation between runs.

    More replicates make the error of a change smaller, but not the variation between runs.
    """
    widened = {False: (low, with_run_to_run(low)), True: (mean, with_run_to_run(mean))}
    replicates = []
    for finding in findings:
        own, wider = widened[finding.is_by_mean]
        if finding.verdict == "undecided" and wider is not None and finding.case.key in wider:
            times = times_as_many(finding, 1 - (own[finding.case.key].error / wider[finding.case.key].error) ** 2)
            replicates.append(times * finding.replicates if times <= MAX_TIMES else math.inf)
    enough = [number for number in replicates if math.isfinite(number)]
    if enough:
        which = f"{len(enough):,} of {plural(len(replicates), 'undecided case')}"
        return f"about {math.ceil(max(enough)):,} replicates in both runs would be enough for {which}"
    if replicates:
        return f"more replicates would not help the {plural(len(replicates), 'undecided case')}: {IN_TURNS}"
    return ""


def times_as_many(finding: Finding, fixed: float = 0.0) -> float:
    """How many times the replicates an undecided case takes until its interval lies on one side of the margin.

    An interval gets narrower with the square root of the number of replicates, but for the share `fixed` of its
    variance. Infinite if the case has no interval, or if that share alone makes it too wide; at least 1.
    """
    estimate = finding.deciding
    if estimate is None or not finding.has_interval or estimate.lower <= 0:
        return math.inf
    centre = math.log(estimate.value)
    half = max(math.log(estimate.upper) - centre, centre - math.log(estimate.lower))
    distance = abs(abs(centre) - math.log1p(finding.margin))
    left = (distance / half) ** 2 - fixed if half else math.inf
    return max(1.0, (1 - fixed) / left) if left > 0 else math.inf
