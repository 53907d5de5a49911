"""Which cases a check compares, and by whose settings: a commit can't loosen the check that judges it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rnnbench.check.sides import Side
from rnnbench.errors import UserError
from rnnbench.store.records import Case, Group, Implementation
from rnnbench.suite.suites import MAX_CASES, Suite, cases_of, grouped, margins
from rnnbench.text import listed, plural

# References that a commit can't change: they belong to torch, or to rnnbench. Another cell is a part of the code.
NOT_OF_THE_CODE: tuple[Implementation, ...] = ("torch.nn", "per_item")


@dataclass(frozen=True)
class Selection:
    """The cases of a check."""

    groups: list[Group]  # on both sides
    only_base: list[Case]
    only_head: list[Case]


def select(
    base: Side, head: Side, only: Mapping[str, Sequence[str]], device: str | None, *, any_number: bool
) -> Selection:
    """Select the cases that `only` keeps: those on both sides, and those on one side alone.

    torch.nn's own cases are kept only if the interpreters differ. Raises UserError if no case is on both sides.
    """
    most = None if any_number else MAX_CASES
    cases_by_side = {}
    for side in (head, base):  # the head first: its suite must have everything that `only` names
        with side.errors_in_words():
            groups = side.suite.groups(only, device, most=most, knows_all=side is head)
        kept = [
            case
            for case in cases_of(groups)
            if base.python != head.python or case.implementation not in NOT_OF_THE_CODE
        ]
        cases_by_side[side.name] = {case.key: case for case in kept}
    in_base, in_head = cases_by_side["base"], cases_by_side["head"]
    common = [case for key, case in in_head.items() if key in in_base]
    if not common:
        raise UserError(
            f"{head.suite.file}: base ({base.about}) and head ({head.about}) have no case in common; "
            "`rnnbench list cases` shows those of a suite"
        )
    return Selection(
        groups=grouped(common),
        only_base=[case for key, case in in_base.items() if key not in in_head],
        only_head=[case for key, case in in_head.items() if key not in in_base],
    )


def strictest(base: Suite, head: Suite, cases: Sequence[Case]) -> tuple[Suite, dict[str, float], list[str]]:
    """Return the suite to measure by, the margin of each case, and notes where the base's settings are kept.

    The smaller margin and the larger budget apply, and the base's settings of measuring.
    """
    old, new = margins(base.content.check, cases), margins(head.content.check, cases)
    wider = [case.key for case in cases if new[case.key] > old[case.key]]
    before, after = base.content.check.budget_seconds, head.content.check.budget_seconds
    measure = base.content.measure
    kept = {
        f"margin of {plural(len(wider), 'case')} (the first is {wider[0]})" if wider else "": wider,
        f"budget of {before:g} s": after < before,
        "[measure]": measure != head.content.measure,
    }
    names = [name for name, is_kept in kept.items() if is_kept]
    notes = [f"the base's {listed(names)} is kept until this commit is the base"] if names else []
    check = head.content.check.model_copy(update={"budget_seconds": max(before, after)})
    suite = replace(head, content=head.content.model_copy(update={"check": check, "measure": measure}))
    return suite, {key: min(margin, old[key]) for key, margin in new.items()}, notes
