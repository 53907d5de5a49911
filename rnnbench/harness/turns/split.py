"""Split groups whose calls differ much in length, so that short calls get short blocks on a shared core.

All cases of a visit have blocks as long as the longest call (`plan_turns`), and the state of a shared core flips every
0.1 to 3 ms: a block of 1.5 ms or more is seldom quiet, and one that looks quiet may have been disturbed in between. By
simulation, a case of 0.45 ms beside one of 1.5 to 4 ms is known to 5% or not at all, and to 0.9% beside its reference
alone. So the first visit of a group times its short calls alone if the core is shared, and from then on both subgroups
take turns from replicate to replicate, each with the reference: a ratio still compares equal blocks. On a core that is
always quiet nothing is split, since that would cost a quarter of the visits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rnnbench.store.records import Case, Group

MIN_LONGEST_SECONDS = 5e-4  # of a group's longest call; shorter blocks are quiet often enough
MIN_LENGTH_RATIO = 2.0  # times as long as a case and its reference take is the longest call
MAX_SHORT_SECONDS = 2e-3  # a longer call is no more often quiet by itself
QUIET_BEFORE_VISIT = 0.98  # of pulses in a row before a visit; those between blocks are quiet less often


def split(group: Group, call_seconds: Mapping[str, float], quiet_share: float | None) -> tuple[Group, ...]:
    """Return the subgroups of a group, the one of short calls first; the group itself if it need not be split.

    `call_seconds`: of the cases that were timed, by their keys. `quiet_share`: of the pulses, None if there were none.
    """
    references = [case for case in group.cases if case.is_reference and case.key in call_seconds]
    workload = group.workload
    has_pulses = workload.threads == 1 and not (workload.workers or workload.waits_for_each_call)
    if not has_pulses or quiet_share is None or quiet_share >= QUIET_BEFORE_VISIT or not references:
        return (group,)
    [reference] = references
    longest = max(call_seconds.values())
    most = min(longest / MIN_LENGTH_RATIO, MAX_SHORT_SECONDS)
    short = {
        case.key
        for case in group.cases
        if max(call_seconds.get(case.key, longest), call_seconds[reference.key]) <= most and case != reference
    }
    if longest < MIN_LONGEST_SECONDS or not short:
        return (group,)
    return parted(group, [case for case in group.cases if case.key in short])


def parted(group: Group, chosen: Sequence[Case]) -> tuple[Group, Group]:
    """Return a group of the chosen cases and one of the others, each with the reference."""
    of_both = (
        tuple(case for case in group.cases if case.is_reference or (case in chosen) is is_chosen)
        for is_chosen in (True, False)
    )
    first, second = (replace(group, cases=cases) for cases in of_both)
    return first, second


def compared(group: Group) -> list[Case]:
    """Return the cases of a group that are compared with its reference."""
    return [case for case in group.cases if not case.is_reference]
