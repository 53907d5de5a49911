"""Cases put into groups, and taken out of them."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from rnnbench.store.records import Case, Group, Workload


def grouped(cases: Iterable[Case]) -> list[Group]:
    """The groups of these cases by workload; groups and cases are in the order of the cases."""
    members: dict[Workload, list[Case]] = {}
    for case in cases:
        members.setdefault(case.workload, []).append(case)
    return [Group(workload, tuple(own)) for workload, own in members.items()]


def cases_of(groups: Iterable[Group]) -> list[Case]:
    """All cases of some groups."""
    return [case for group in groups for case in group.cases]


def with_cases(groups: Iterable[Group], is_kept: Callable[[Case], bool]) -> list[Group]:
    """The groups with those of their cases that are kept; groups that become empty are left out."""
    kept = [replace(group, cases=tuple(filter(is_kept, group.cases))) for group in groups]
    return [group for group in kept if group.cases]
