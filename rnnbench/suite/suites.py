"""Suites: read and check their files, and how their cases are judged."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError

from rnnbench.errors import UserError
from rnnbench.store.records import Case, Group, Workload
from rnnbench.store.run_info import SUITE, SUITE_WORDS
from rnnbench.store.stored_record import placed, problem, valid
from rnnbench.suite.axes import INPUTS_ALLOWED
from rnnbench.suite.expressions import parse_only
from rnnbench.suite.file import CheckSettings, Settings, SuiteTable, Sweep
from rnnbench.suite.outline import SweptAxes, arguments_of, grouped, is_selected, unknown, values
from rnnbench.suite.places import MAX_SUITE_NAME, content_of, find
from rnnbench.text import nearest

# A larger sweep is mostly a typo: it would take days to measure, and no memory holds a trillion cases.
MAX_SUITE_CASES = 100_000
TABLE_CLASSES: dict[str, type[BaseModel]] = {
    "sweep": Sweep,
    "defaults": Sweep,
    "measure": Settings,
    "check": CheckSettings,
}


class Suite(SuiteTable):
    """A suite as its file says it, with the defaults filled into the sweeps."""

    file: Annotated[Path, Field(exclude=True)]
    name: Annotated[str, Field(pattern=f"^{SUITE}$", max_length=MAX_SUITE_NAME)]
    description: str = ""
    measure: Settings = Settings()
    check: CheckSettings = CheckSettings()
    sweep: Annotated[list[Sweep], Field(min_length=1)]

    def with_check(self, **changes: float | None) -> Self:
        """Return a copy with other check settings: None changes none; a margin replaces all of the file's."""
        updates: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        if "margin" in updates:
            updates["margins"] = []
        return self.model_copy(update={"check": self.check.model_copy(update=updates)})

    @property
    def sweeps(self) -> tuple[SweptAxes, ...]:
        """The axes of each sweep with all their values."""
        return tuple(sweep.axes for sweep in self.sweep)

    @property
    def arguments(self) -> list[str]:
        """The names of the arguments of constructors, which `only` can name beside the axes."""
        cells = [cell for sweep in self.sweeps for cell in sweep.values["cell"]]
        return list(dict.fromkeys(name for cell in cells for name in arguments_of(cell)))

    def cases(self, device: str | None = None) -> list[Case]:
        """Return all cases in the order of the file, on a device or on the suite's own.

        Raises UserError if they are more than MAX_SUITE_CASES.
        """
        self._refuse_too_many(device)
        return list(dict.fromkeys(case for sweep in self.sweeps for case in sweep.cases(device)))

    def count(self) -> int:
        """Return the number of cases on the suite's own devices, in less time than it takes to make them."""
        self._refuse_too_many(None)
        return len({tuple(point.values()) for sweep in self.sweeps for point in sweep.points(None)})

    def _refuse_too_many(self, device: str | None) -> None:
        count = sum(math.prod(map(len, sweep.on(device).values())) for sweep in self.sweeps)
        if count > MAX_SUITE_CASES:
            raise UserError(f"{self.file}: its {count:,} cases are more than {MAX_SUITE_CASES:,}; sweep fewer values")

    def groups(self, only: Mapping[str, Sequence[str]], device: str | None, *, knows_all: bool = True) -> list[Group]:
        """Return the cases that `only` selects, grouped by workload in the order of the file.

        The reference of every selected case is kept too. `device` replaces the suite's own devices. Raises UserError if
        no case is left. With `knows_all`, also raises UserError if `only` has a value that the suite does not have: a
        typo would otherwise leave out cases unnoticed.
        """
        cases = self.cases(device)
        if only and knows_all and (faults := unknown(only, values(cases))):
            raise UserError(f"{self.file}: {'; '.join(faults)}")
        selection = {case for case in cases if is_selected(case, only)} if only else set(cases)
        groups = grouped(case for case in cases if case.is_reference or case in selection)
        selected_groups = [group for group in groups if not selection.isdisjoint(group.cases)]
        if not selected_groups:
            raise UserError(f"{self.file}: no case is selected: none has all of these values at once")
        return self.with_sweeps(selected_groups)

    def with_sweeps(self, groups: Iterable[Group]) -> list[Group]:
        """Return the groups, each with the number of the first sweep that has its workload on any device."""
        numbers: dict[Workload, int] = {}
        for number, sweep in enumerate(self.sweeps):
            for case in sweep.cases("any"):
                numbers.setdefault(case.workload, number)
        return [replace(group, sweep=numbers.get(replace(group.workload, device="any"), 0)) for group in groups]


def margins(check: CheckSettings, cases: Iterable[Case]) -> dict[str, float]:
    """Return how much slower is too slow, by case key: the margin of the last rule that selects it, or the suite's.

    Raises UserError if the expression of a rule is not valid.
    """
    rules = _rules(check)[::-1]
    return {
        case.key: next((margin for only, margin in rules if is_selected(case, only)), check.margin) for case in cases
    }


def _rules(check: CheckSettings) -> list[tuple[dict[str, list[str]], float]]:
    return [
        (parse_only([rule.only], f"check.margins[{number}].only:"), rule.margin)
        for number, rule in enumerate(check.margins)
    ]


def check_settings(run: Path, resolved: Mapping[str, Any]) -> CheckSettings:
    """Return the check settings in a stored run's `run.json`; raises UserError if they are not valid."""
    with placed(f"{run / 'run.json'}: resolved.check"):
        settings: CheckSettings = valid(CheckSettings.model_validate, resolved.get("check", {}))
    return settings


def read_suite(name: str) -> Suite:
    """Read and check a suite, given as a path or a bare name; raises UserError with every fault."""
    path = find(name)
    data = content_of(path)
    faults = ["file: unknown key"] if "file" in data else []
    defaults = data.pop("defaults", {})
    if not isinstance(defaults, dict):
        faults.append(f"defaults: expected a table, found {defaults!r}")
    elif isinstance(sweeps := data.get("sweep"), list):
        others = defaults.keys() - Sweep.model_fields.keys()
        faults += [f"defaults.{key}: unknown key{nearest(key, Sweep.model_fields)}" for key in sorted(others)]
        shared_values = {key: value for key, value in defaults.items() if key not in others}
        data["sweep"] = [shared_values | sweep if isinstance(sweep, dict) else sweep for sweep in sweeps]
    try:
        suite = Suite.model_validate(data | {"file": path}, context={"root": path.parent})
    except ValidationError as error:
        faults += dict.fromkeys(_words(detail) for detail in error.errors(include_url=False))
    if faults:
        raise UserError("\n".join(f"{path}: {fault}" for fault in faults))
    with placed(str(path)):
        _rules(suite.check)
    return suite


def _words(detail: Mapping[str, Any]) -> str:
    """Return one line for one fault: key path, value, and what would be right."""
    table = TABLE_CLASSES.get(str(detail["loc"][0]), Suite)
    key = str(detail["loc"][-1])
    words = problem(detail)
    where = words.partition(":")[0]
    match detail["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key{nearest(key, table.model_fields.keys() - {'file'})}"
        case "list_type" if key == "sweep":
            return "sweep: expected tables, each below a line [[sweep]]"
        case "literal_error" if isinstance(detail["input"], str):
            return words + nearest(detail["input"], detail["ctx"]["expected"].replace("'", "").split(", "))
        case "string_pattern_mismatch":
            right = INPUTS_ALLOWED if "input" in detail["loc"] else f"expected {SUITE_WORDS}"
            return f"{where}: {right}, found {detail['input']!r}"
    return words


def refuse_idle_margins(suite: Suite) -> None:
    """Raise UserError if a margin is for values that the suite does not have: a typo would leave cases without it.

    A base is not checked: it may be an old commit that nobody can mend, and its margins do not count.
    """
    for number, (only, _) in enumerate(_rules(suite.check)):
        named = {axis: values for axis, values in only.items() if axis != "device"}  # --device may add others
        if faults := unknown(named, values(suite.cases())):
            raise UserError(f"{suite.file}: check.margins[{number}].only: {'; '.join(faults)}")
