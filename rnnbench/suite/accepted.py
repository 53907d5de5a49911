"""`accepted.toml`, which lies beside a suite's file: the regressions that a team has accepted.

[[accepted]]
case = "cell=mine.py:MyCell phase=training"    # as --only takes it; it may select several cases
commit = "1a2b3c4"                             # an abbreviated hash, or a tag
reason = "the gates are clipped now"
up_to = "12%"                                  # if it is there: a larger change is not accepted
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationError

from rnnbench.errors import UserError
from rnnbench.store.records import Case
from rnnbench.store.stored_record import placed, problem
from rnnbench.suite.expressions import parse_only
from rnnbench.suite.file import SuiteTable
from rnnbench.suite.outline import arguments_of, is_selected
from rnnbench.text import nearest, share_of


def _not_blank(text: str) -> str:
    """Return a text; raises ValueError if it says nothing."""
    if not text.strip():
        raise ValueError("expected a text")
    return text


Words = Annotated[str, AfterValidator(_not_blank)]


class AcceptedTable(SuiteTable):
    """A table [[accepted]] of the file."""

    case: Words
    commit: Words
    reason: Words
    up_to: Annotated[float, BeforeValidator(share_of)] | None = None


class AcceptedFile(SuiteTable):
    """The whole file."""

    accepted: list[AcceptedTable]


@dataclass(frozen=True)
class Acceptance:
    """Cases whose regression by a commit is accepted."""

    place: str  # in the file: accepted[0]
    only: Mapping[str, Sequence[str]]  # the values of axes and of arguments that the cases have
    case: str  # the same as it is written
    commit: str
    reason: str
    up_to: float | None  # a change that is surely larger is not accepted; None: any change is

    def selects(self, case: Case) -> bool:
        """Return whether this entry names a case."""
        return is_selected(case, self.only)

    def allows(self, lower: float | None) -> bool:
        """Return whether this entry accepts a change; `lower`: the lower end of the ratio of head to base, if known."""
        return self.up_to is None or lower is None or lower <= 1 + self.up_to


def read_accepted(file: Path, cases: Collection[Case]) -> tuple[Acceptance, ...]:
    """Return the entries of a file, or none if it does not exist; raises UserError with every fault.

    `cases`: those of the suite, whose constructors' arguments an entry may name.
    """
    if not file.exists():
        return ()
    tables = _tables(file)
    arguments = {name for case in cases for name in arguments_of(case.cell)}
    entries = []
    with placed(str(file)):
        for number, table in enumerate(tables):
            place = f"accepted[{number}]"
            only = parse_only([table.case], f"{place}.case:", arguments=arguments)
            entries.append(Acceptance(place, only, table.case, table.commit, table.reason, table.up_to))
    return tuple(entries)


def _tables(file: Path) -> list[AcceptedTable]:
    """Return the tables of a file; raises UserError with every fault."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: nested too deep
        raise UserError(f"{file}: can't be read as TOML: {getattr(error, 'strerror', error)}") from None
    try:
        return AcceptedFile.model_validate(content).accepted
    except ValidationError as error:
        faults = dict.fromkeys(_words(detail) for detail in error.errors(include_url=False))
    raise UserError("\n".join(f"{file}: {fault}" for fault in faults))


def _words(detail: Mapping[str, Any]) -> str:
    """Return one line for one fault: key path, value, and what would be right."""
    words = problem(detail)
    where = words.partition(":")[0]
    match detail["type"]:
        case "extra_forbidden" if len(detail["loc"]) == 1:
            return f"{where}: unknown key; expected tables, each below a line [[accepted]]"
        case "extra_forbidden":
            return f"{where}: unknown key{nearest(str(detail['loc'][-1]), AcceptedTable.model_fields)}"
        case "list_type" if len(detail["loc"]) == 1:
            return "accepted: expected tables, each below a line [[accepted]]"
        case "missing" if len(detail["loc"]) == 1:
            return "no table; expected tables, each below a line [[accepted]]"
        case "missing":
            return f"{where}: missing; an entry has case, commit and reason"
    return words


def pairs_in(text: str) -> set[tuple[str, str]]:
    """Return the case and the commit of each entry in an older version of the file; none if it can't be read."""
    try:
        tables = tomllib.loads(text).get("accepted", [])
        return {(str(table["case"]), str(table["commit"])) for table in tables}
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return set()
