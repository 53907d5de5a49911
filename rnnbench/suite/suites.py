"""Suites: find and read their files, and expand a suite into groups of cases."""

import itertools
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError

from rnnbench.cells import is_own, parsed
from rnnbench.errors import UserError
from rnnbench.store.record import placed, problem, valid
from rnnbench.store.records import (
    DEFAULTS,
    LOADS,
    OF_DATA,
    OF_STEP,
    TORCH_OWN,
    Case,
    Group,
    Workload,
    axis_text,
    is_cell_reference,
)
from rnnbench.store.run_info import SUITE, SUITE_WORDS
from rnnbench.suite.expressions import parse_only, quoted
from rnnbench.suite.file import INPUTS_ALLOWED, CheckSettings, Settings, SuiteTable, Sweep
from rnnbench.text import nearest

INSTALLED = Path(__file__).parents[1] / "shipped_suites"
OWN = INSTALLED if INSTALLED.is_dir() else INSTALLED.parents[1] / "suites"  # the folder of rnnbench's own suites
ACCEPTED = "accepted.toml"  # a file beside suites that is none: the regressions that a team has accepted
MAX_NAME = 200  # letters of a suite's; the folders of its checks and reports have longer ones, of 255 at most
TABLES: dict[str, type[BaseModel]] = {"sweep": Sweep, "defaults": Sweep, "measure": Settings, "check": CheckSettings}
MAX_CASES = 100_000  # a larger sweep is mostly a typo: it would take days to measure, and no memory holds a trillion


class Suite(SuiteTable):
    """A suite as its file says it, with the defaults filled into the sweeps."""

    file: Annotated[Path, Field(exclude=True)]
    name: Annotated[str, Field(pattern=f"^{SUITE}$", max_length=MAX_NAME)]
    description: str = ""
    measure: Settings = Settings()
    check: CheckSettings = CheckSettings()
    sweep: Annotated[list[Sweep], Field(min_length=1)]

    def with_check(self, **changes: float | None) -> Self:
        """Return a copy with other check settings: None changes none; a margin replaces all of the file's."""
        given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        if "margin" in given:
            given["margins"] = []
        return self.model_copy(update={"check": self.check.model_copy(update=given)})

    @property
    def arguments(self) -> list[str]:
        """The names of the arguments of constructors, which `only` can name beside the axes."""
        return list(dict.fromkeys(name for sweep in self.sweep for cell in sweep.cells for name in arguments_of(cell)))

    def cases(self, device: str | None = None) -> list[Case]:
        """Return all cases in the order of the file, on a device or on the suite's own.

        Raises UserError if they are more than MAX_CASES.
        """
        on_device = {} if device is None else {"device": [device]}
        sweeps = [(sweep, sweep.axis_values() | on_device) for sweep in self.sweep]
        count = sum(math.prod(map(len, axes.values())) for _, axes in sweeps)
        if count > MAX_CASES:
            raise UserError(f"{self.file}: its {count:,} cases are more than {MAX_CASES:,}; sweep fewer values")
        return list(dict.fromkeys(case for sweep, axes in sweeps for case in _expand(sweep, axes)))

    def groups(self, only: Mapping[str, Sequence[str]], device: str | None, *, knows_all: bool = True) -> list[Group]:
        """Return the cases that `only` selects, grouped by workload in the order of the file.

        The reference of every selected case is kept too. `device` replaces the suite's own devices. Raises UserError if
        no case is left. With `knows_all`, also raises UserError if `only` has a value that the suite does not have: a
        typo would otherwise leave out cases unnoticed.
        """
        cases = self.cases(device)
        if only and knows_all and (faults := _unknown(only, values(cases))):
            raise UserError(f"{self.file}: {'; '.join(faults)}")
        wanted = {case for case in cases if is_selected(case, only)} if only else set(cases)
        groups = grouped(case for case in cases if case.is_reference or case in wanted)
        kept = [group for group in groups if not wanted.isdisjoint(group.cases)]
        if not kept:
            raise UserError(f"{self.file}: no case is selected: none has all of these values at once")
        return self.with_sweeps(kept)

    def with_sweeps(self, groups: Iterable[Group]) -> list[Group]:
        """Return the groups, each with the number of the first sweep that has its workload on any device."""
        numbers: dict[Workload, int] = {}
        for number, sweep in enumerate(self.sweep):
            for case in _expand(sweep, sweep.axis_values() | {"device": ["any"]}):
                numbers.setdefault(case.workload, number)
        return [replace(group, sweep=numbers.get(replace(group.workload, device="any"), 0)) for group in groups]


def values(cases: Iterable[Case]) -> dict[str, list[str]]:
    """Return the values of some cases that `only` can name, by axis or argument of constructors."""
    known: dict[str, dict[str, None]] = {}
    for case in cases:
        for name, value in _texts(case).items():
            known.setdefault(name, {})[value] = None
    return {name: list(texts) for name, texts in known.items()}


def grouped(cases: Iterable[Case]) -> list[Group]:
    """Return the groups of these cases by workload; groups and cases are in the order of the cases."""
    members: dict[Workload, list[Case]] = {}
    for case in cases:
        members.setdefault(case.workload, []).append(case)
    return [Group(workload, tuple(own)) for workload, own in members.items()]


def cases_of(groups: Iterable[Group]) -> list[Case]:
    """Return all cases of some groups."""
    return [case for group in groups for case in group.cases]


def with_cases(groups: Iterable[Group], is_kept: Callable[[Case], bool]) -> list[Group]:
    """Return the groups with those of their cases that are kept; groups that become empty are left out."""
    kept = [replace(group, cases=tuple(filter(is_kept, group.cases))) for group in groups]
    return [group for group in kept if group.cases]


def is_compared(group: Group, is_lost: Callable[[Case], bool]) -> bool:
    """Return False if a group has cases beside its reference, but all of them are lost: nothing is left to compare."""
    others = [case for case in group.cases if not case.is_reference]
    return not others or not all(map(is_lost, others))


def _unknown(only: Mapping[str, Sequence[str]], known: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a message for each axis with unknown values in `only`, with the nearest known value and all of them."""
    return [
        f"{axis}={','.join(map(quoted, missing))}{nearest(missing[0], known[axis])}: "
        f"the suite has {axis}={','.join(map(quoted, known[axis]))}"
        for axis, values in only.items()
        if (missing := [value for value in values if value not in known[axis]])
    ]


def _expand(sweep: Sweep, axes: Mapping[str, Sequence[Any]]) -> Iterable[Case]:
    """Return the cases of a sweep. Cells with one reference share its torch cases; without one there are none."""
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        point["reference"] = sweep.layer(point["cell"])
        if point["nonlinearity"] == "sigmoid" and point["reference"] == "rnn":
            point["reference"] = "none"  # torch.nn.RNN has none
        if own := TORCH_OWN.get(point["implementation"]):
            if point["reference"] not in own:
                continue
            point["cell"] = own[point["reference"]]
        if point["phase"] not in LOADS:
            point |= dict.fromkeys(OF_DATA, 0)
        if point["phase"] != "step":
            point |= {axis: DEFAULTS[axis] for axis in OF_STEP}
        case = Case.from_axes(point)
        if is_cell_reference(case.workload.reference):
            yield Case(case.workload.reference, "reference", case.workload)
        yield case


def is_selected(case: Case, only: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a case has one of the values of each axis, or argument of constructors, in `only`."""
    texts = _texts(case) if only else {}
    return all(texts.get(name) in wanted for name, wanted in only.items())


def _texts(case: Case) -> dict[str, str]:
    """Return the values of a case as `only` writes them, by axis and by argument of its constructor."""
    return {axis: axis_text(value) for axis, value in case.axes().items()} | arguments_of(case.cell)


def arguments_of(cell: str) -> dict[str, str]:
    """Return the arguments of a user's own cell, as `only` writes their values."""
    return {name: axis_text(value) for name, value in parsed(cell)[1].items()} if is_own(cell) else {}


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


def shipped() -> dict[str, Path]:
    """Return the suites that a bare name finds: those in `suites/` of the current folder, then rnnbench's own."""
    folders = [OWN, Path("suites")]  # the later one wins
    files = [path for folder in folders for path in sorted(folder.glob("*.toml"))]
    return {path.stem: path for path in files if path.name != ACCEPTED}


def hidden_by(name: str, file: Path) -> Path | None:
    """Return the suite of rnnbench that a file of the current folder hides by having the same bare name, or None."""
    own = OWN / f"{name}.toml"
    return own if own.is_file() and not (file.exists() and own.samefile(file)) else None


def is_shipped(file: Path) -> bool:
    """Return whether a suite is one of rnnbench's own."""
    return file.resolve().parent == OWN.resolve()


def find(name: str) -> Path:
    """Return the file of a suite, given as a path or by the bare name of one of `shipped()`."""
    path = Path(name)
    if path.suffix == ".py":
        raise UserError(f"{name}: a Python file is no suite; expected {name}:CELL, or the file of a suite, NAME.toml")
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.exists():  # also a folder: reading it gives the better message
            return path
        raise UserError(f"no suite file {name}; expected a file, or a name that `rnnbench list suites` shows")
    known = shipped()
    if name not in known:
        names = ", ".join(sorted(known))
        raise UserError(f"no suite {name!r}{nearest(name, known)}; there are: {names}, and files that end in .toml")
    return known[name]


def read(name: str) -> Suite:
    """Read and check a suite, given as a path or a bare name; raises UserError with every fault found."""
    path = find(name)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: nested too deep
        raise UserError(f"{path}: can't be read as TOML: {getattr(error, 'strerror', error)}") from None
    defaults, faults = data.pop("defaults", {}), ["file: unknown key"] if "file" in data else []
    if not isinstance(defaults, dict):
        faults.append(f"defaults: expected a table, found {defaults!r}")
    elif isinstance(sweeps := data.get("sweep"), list):
        unknown = defaults.keys() - Sweep.model_fields.keys()
        faults += [f"defaults.{key}: unknown key{nearest(key, Sweep.model_fields)}" for key in sorted(unknown)]
        known = {key: value for key, value in defaults.items() if key not in unknown}
        data["sweep"] = [known | sweep if isinstance(sweep, dict) else sweep for sweep in sweeps]
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
    table, key = TABLES.get(str(detail["loc"][0]), Suite), str(detail["loc"][-1])
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
        if faults := _unknown(named, values(suite.cases())):
            raise UserError(f"{suite.file}: check.margins[{number}].only: {'; '.join(faults)}")
