"""Read what a suite measures without pydantic, which takes long to import: lists of cases need no more.

Only what is plainly right is read here. In any doubt the whole suite is read, and pydantic says what is wrong.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from rnnbench.store.implementations import Swept
from rnnbench.store.records import AXES, LOSSES, OPTIMIZERS, Workload
from rnnbench.store.run_info import SUITE
from rnnbench.suite import axes
from rnnbench.suite.outline import Outline, SweptAxes
from rnnbench.suite.places import MAX_SUITE_NAME, content_of

TABLE_NAMES = {"name", "description", "measure", "check", "defaults", "sweep"}
AXIS_NAMES = {"implementation": get_args(Swept), "optimizer": OPTIMIZERS, "loss": LOSSES}  # of the values of an axis


class UsualNumber(NamedTuple):
    """The type and the range of a usual value; others are left to pydantic."""

    kind: type
    least: float
    most: float


USUAL_NUMBERS = {  # of the tables [measure] and [check]
    "replicates": UsualNumber(int, 1, 1000),
    "max_replicates": UsualNumber(int, 1, 1000),
    "windows": UsualNumber(int, 2, 100),
    "window_seconds": UsualNumber(float, 1e-4, 10),
    "budget_seconds": UsualNumber(float, 1e-2, 1e6),
    "precision": UsualNumber(float, 1e-3, 0.9),
    "preheat_seconds": UsualNumber(float, 0, 600),
    "compiled_steps": UsualNumber(int, 1, 10_000),
    "deadline_seconds": UsualNumber(float, 1, 1e6),
    "compile_deadline_seconds": UsualNumber(float, 1, 1e6),
    "period_seconds": UsualNumber(float, 1e-9, 1e6),
    "margin": UsualNumber(float, 1e-3, 0.9),
}
NUMBERS_OF_TABLE = {"measure": USUAL_NUMBERS.keys() - {"margin"}, "check": {"margin", "budget_seconds"}}


def outline(file: Path) -> Outline:
    """Return what the suite in a file measures; raises UserError with every fault, as reading the suite does."""
    content = content_of(file)
    defaults = content.get("defaults", {})
    if isinstance(defaults, dict):
        content["sweep"] = [defaults | sweep for sweep in _tables(content.get("sweep"))]
        if suite_outline := outline_of(content, file, file.parent):
            return suite_outline
    from rnnbench.suite.suites import read

    return read(str(file)).outline


def _tables(value: object) -> list[dict[str, Any]]:
    """Return a list of tables; an empty one if the value is anything else."""
    return value if isinstance(value, list) and all(isinstance(each, dict) for each in value) else []


def outline_of(content: Mapping[str, Any], file: Path, root: Path | None) -> Outline | None:
    """Return what a suite with this content, whose sweeps have all defaults, measures; None in every doubt.

    `root`: the folder in which the files of cells must be; None: they may be anywhere.
    """
    name = content.get("name")
    description = content.get("description", "")
    sweeps = [_swept(sweep, root) for sweep in content["sweep"]]
    axes_of_sweeps = tuple(sweep for sweep in sweeps if sweep is not None)
    is_named = isinstance(name, str) and re.fullmatch(SUITE, name) is not None and len(name) <= MAX_SUITE_NAME
    is_usual = all(_has_usual_numbers(content.get(table, {}), numbers) for table, numbers in NUMBERS_OF_TABLE.items())
    if not (is_named and isinstance(description, str) and is_usual and content.keys() <= TABLE_NAMES):
        return None
    return Outline(file, str(name), description, axes_of_sweeps) if 0 < len(axes_of_sweeps) == len(sweeps) else None


def _has_usual_numbers(table: object, names: set[str]) -> bool:
    """Return True if a table has only numbers of these names, and each has a usual value."""
    if not isinstance(table, dict) or not table.keys() <= names:
        return False
    for name, value in table.items():
        usual = USUAL_NUMBERS[name]
        is_number = type(value) in (usual.kind, int) and not isinstance(value, bool)
        if not is_number or not usual.least <= value <= usual.most:
            return False
    replicates = float(table.get("replicates", math.inf))
    most = float(table.get("max_replicates", math.inf))
    return replicates <= most and int(table.get("windows", 2)) % 2 == 0


def _swept(sweep: Mapping[str, Any], root: Path | None) -> SweptAxes | None:
    """Return the axes of a sweep's table with all their values; None in every doubt."""
    if not sweep.keys() <= {*AXES, "arguments"} or "cell" not in sweep:
        return None
    file_values = {axis: axes.as_list(sweep[axis]) for axis in sweep.keys() - {"reference", "arguments"}}
    values: dict[str, Any] = {**axes.USUAL_VALUES, **file_values}
    arguments = sweep.get("arguments", {})
    reference = sweep.get("reference")
    try:
        is_right = (
            all(several and all(_is_of(axis, value, root) for value in several) for axis, several in values.items())
            and (reference is None or (isinstance(reference, str) and not axes.wrong_reference(reference, root)))
            and _are_arguments(arguments)
            and not axes.misfit(values, arguments)
        )
    except ValueError:  # of the arguments in the name of a cell
        return None
    if not is_right:
        return None
    argument_values = {name: axes.as_list(value) for name, value in arguments.items()}
    ordered = {axis: list(values[axis]) for axis in AXES if axis != "reference"}
    return SweptAxes(ordered | {"cell": axes.cells_with(values["cell"], argument_values)}, reference)


def _are_arguments(table: object) -> bool:
    """Return True if a table has only names of arguments, each with a value or several."""
    if not isinstance(table, dict) or any(map(axes.wrong_argument_name, table)):
        return False
    lists = list(map(axes.as_list, table.values()))
    return all(values and not any(map(axes.wrong_argument, values)) for values in lists)


def _is_of(axis: str, value: object, root: Path | None) -> bool:
    """Return True if a value is plainly a value of this axis."""
    if axis == "cell":
        return isinstance(value, str) and not axes.wrong_cell(value, root)
    if axis in AXIS_NAMES:
        return value in AXIS_NAMES[axis]
    if axis == "dropout":
        return isinstance(value, float) and 0 <= value < 1
    return _is(value, Workload.__annotations__[axis]) and (axis != "input" or axes.is_input(value))


def _is(value: Any, kind: Any) -> bool:
    """Return True if a value of TOML is of a type of a workload's axes, and within its limits."""
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    limits: list[Any] = []
    if get_origin(kind) is Annotated:
        kind, *limits = get_args(kind)
    return type(value) is kind and all(_holds(value, limit) for limit in limits)


def _holds(value: float, limit: Any) -> bool:
    """Return True if a number is within a limit of `annotated_types`."""
    least = float(getattr(limit, "ge", -math.inf))
    most = float(getattr(limit, "le", math.inf))
    above = float(getattr(limit, "gt", -math.inf))
    below = float(getattr(limit, "lt", math.inf))
    return least <= value <= most and above < value < below
