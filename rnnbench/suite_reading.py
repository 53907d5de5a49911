"""Read a suite file: TOML in, a checked `SuiteFile` out. All faults of a file are reported together."""

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rnnbench.cells import CELLS, file_of, is_own, misnamed
from rnnbench.errors import UserError
from rnnbench.store.records import AXES, DATA_SETS, LOSSES, OPTIMIZERS, is_cell_reference
from rnnbench.store.regular_files import no_file, read_text
from rnnbench.store.value_kinds import MAX_INTEGER
from rnnbench.suite_file import INPUTS_ALLOWED, CheckSettings, Settings, SuiteFile, Sweep, as_list
from rnnbench.text import nearest, plural

MAX_FAULTS = 20  # that are reported; a list may have thousands of values
MAX_SHOWN = 200  # characters of a value
MAX_BYTES = 1 << 20  # of a suite file
MAX_VALUES = 200_000  # of all axes of all sweeps
MAX_DOTS = 20  # in a key; the parser's work grows with their square
DOTTED = re.compile(  # a key with more dots: at the start of a line, in an inline table or in a table's header
    rf"""(?:^|[{{,\[])\s*(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MAX_DOTS + 1}}}""", re.MULTILINE
)
MOVED = {"measure.cold_cache": 'is an axis now: write caches = ["cold"] in [defaults] or in a sweep'}
Fault = Callable[[], str]  # returns its message: formatting thousands of them would take long


def read(path: Path) -> SuiteFile:
    """Read and check a file; raises UserError with its first MAX_FAULTS faults."""
    data = _toml(path)
    faults: list[Fault] = []
    defaults = data.pop("defaults", {})
    if not isinstance(defaults, dict):
        faults.append(partial("defaults: expected a table, found {}".format, _shown(defaults)))
        defaults = {}
    faults += [partial(_unknown_default, key) for key in defaults if key not in Sweep.model_fields]
    defaults = {key: value for key, value in defaults.items() if key in Sweep.model_fields}
    if isinstance(data.get("sweep"), list):
        data["sweep"] = [defaults | sweep if isinstance(sweep, dict) else sweep for sweep in data["sweep"]]
        if sum(map(_size, data["sweep"])) > MAX_VALUES:
            raise UserError(f"{path}: the sweeps list more than {MAX_VALUES:,} values, with the defaults of each")
    content = None
    try:
        content = SuiteFile.model_validate(data)
    except ValidationError as error:
        faults += [partial(_fault, detail) for detail in error.errors()]
    faults += _cell_faults(data.get("sweep"), path.parent)
    if content is not None:
        faults += _faults_of_valid(content)
    if faults or content is None:
        words = list(dict.fromkeys(fault() for fault in faults[:MAX_FAULTS]))
        if len(faults) > MAX_FAULTS:
            words.append(f"and {plural(len(faults) - MAX_FAULTS, 'more error')}")
        raise UserError("\n".join(f"{path}: {word}" for word in words))
    return content


def _toml(path: Path) -> dict[str, Any]:
    """Parse a file; raises UserError if it can't be read or is not TOML."""
    try:
        text = read_text(path, MAX_BYTES)
        if DOTTED.search(text):
            raise UserError(f"{path}: a key has more than {MAX_DOTS} dots; a suite needs one at most")
        return tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: can't be read: {error}") from None
    except (ValueError, RecursionError) as error:  # invalid TOML, a number too long, or nested too deep
        raise UserError(f"{path}: not TOML: {error}") from None


def _size(sweep: object) -> int:
    """How many values a sweep lists, with every combination of its arguments."""
    if not isinstance(sweep, dict):
        return 0
    arguments = sweep.get("arguments")
    lists = [value for value in (arguments.values() if isinstance(arguments, dict) else ()) if isinstance(value, list)]
    return math.prod(map(len, lists)) + sum(len(value) for value in sweep.values() if isinstance(value, list))


def _unknown_default(key: str) -> str:
    return f"defaults.{key}: unknown key{nearest(key, Sweep.model_fields)}"


def _shown(value: object) -> str:
    """A value as a message shows it: cut if it is long, and replaced if Python can't write it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return "a value too large to be shown"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _fault(detail: Any) -> str:
    """One line for one fault: key path, value, and what would be right."""
    location = list(detail["loc"])
    if "arguments" in location and location[-1] in ("bool", "int", "float", "str"):
        location.pop()  # pydantic has a fault for each type that a value may have, and one is enough
        detail = {**detail, "loc": location, "type": "argument"}
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    key, value, shown = str(location[-1]), detail["input"], _shown(detail["input"])
    least = detail.get("ctx", {}).get("ge", 1)
    match detail["type"]:
        case "extra_forbidden":
            tables: dict[str, type[BaseModel]] = {"sweep": Sweep, "measure": Settings, "check": CheckSettings}
            model = tables.get(str(location[0]), SuiteFile)
            words = MOVED.get(where, f"unknown key{nearest(key, model.model_fields)}")
        case "argument":
            words = f"{shown} can't be given to a constructor; expected a finite number, a text, true or false"
        case "missing":
            words = "missing"
        case "literal_error":
            allowed = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            like = nearest(value, allowed.split(", ")) if isinstance(value, str) else ""
            words = f"{shown} is not one of {allowed}{like}"
        case "int_type" | "greater_than_equal" if isinstance(least, int):
            words = f"{shown} is not a whole number of {least} or more"
        case "less_than" if isinstance(value, int) and value >= MAX_INTEGER:
            words = f"{shown} is too large; expected less than 2 ** 63"
        case "too_short":
            words = "empty; expected at least one value"
        case "string_pattern_mismatch" if "input" in location:
            words = f"{shown}: {INPUTS_ALLOWED}"
        case "string_pattern_mismatch":
            words = (
                f"{shown} can't name a run; expected letters, digits, '.', '_' and '-', and none of these three first"
            )
        case "list_type" if where == "sweep":
            words = f"{shown}: expected tables, each below a line [[sweep]]"
        case _:
            words = f"{shown}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    return f"{where}: {words}"


def _cell_faults(sweeps: object, root: Path) -> Iterator[Fault]:
    """Faults in the names of cells, which pydantic's types can't check."""
    for number, sweep in enumerate(sweeps if isinstance(sweeps, list) else []):
        if not isinstance(sweep, dict):
            continue
        reference = sweep.get("reference")
        if isinstance(reference, str) and is_cell_reference(reference) and not is_own(reference):
            if reference not in CELLS:
                yield partial(_no_reference, f"sweep[{number}].reference: {_shown(reference)}", reference)
            reference = None
        named = [("cell", cell) for cell in _cells(sweep)]
        if isinstance(reference, str) and is_own(reference):
            named.append(("reference", reference))
        for axis, cell in named:
            where = f"sweep[{number}].{axis}: {_shown(cell)}"
            if is_own(cell):
                try:
                    target = file_of(cell)
                except ValueError as error:
                    yield partial("{}: {}".format, where, str(error))
                    continue
                if fault := misnamed(cell):
                    yield partial("{}: {}".format, where, fault)
                elif target.endswith(".py") and not _is_file(root / target):
                    yield partial("{}: {}".format, where, no_file(root / target))
            elif cell not in (*CELLS, *DATA_SETS):
                yield partial(_no_cell, where, cell)


def _no_cell(where: str, cell: str) -> str:
    known = f"there are {', '.join(CELLS)}, or your own as FILE:CLASS, and the data sets {', '.join(DATA_SETS)}"
    return f"{where}: no such cell{nearest(cell, (*CELLS, *DATA_SETS))}; {known}"


def _no_reference(where: str, reference: str) -> str:
    known = ("rnn", "lstm", "gru", "none", *CELLS)
    return f"{where} is not one of rnn, lstm, gru, none, nor a cell{nearest(reference, known)}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _faults_of_valid(content: SuiteFile) -> Iterator[Fault]:
    """Faults of values that are valid by themselves, but not together."""
    for number, sweep in enumerate(content.sweep):
        for fault in (*_mixed(sweep), *_of_arguments(sweep), *_of_step(sweep)):
            yield partial("sweep[{}].{}".format, number, fault)
    for fault in _too_few(content.measure):
        yield partial(str, fault)


def _mixed(sweep: Sweep) -> Iterable[str]:
    """Faults of a sweep that mixes data sets with cells, which would load a cell or train a data set."""
    kinds: tuple[tuple[str, Sequence[str], Iterable[str]], ...] = (
        ("cell", sweep.cell, DATA_SETS),
        ("phase", sweep.phase, ("loading",)),
        ("implementation", sweep.implementation, ("per_item", "vectorised")),
    )
    if not any(value in of_data for _, values, of_data in kinds for value in values):
        return
    for axis, values, of_data in kinds:
        for value in values:
            if value not in of_data:
                yield f"{axis}: {value!r} can't be swept with data sets, which need {axis} = {', '.join(of_data)}"


def _of_arguments(sweep: Sweep) -> Iterable[str]:
    """Faults of the arguments of constructors."""
    for name in sweep.arguments:
        if not name.isidentifier():
            yield f"arguments.{name}: not the name of an argument in Python"
        elif name in AXES:
            yield f"arguments.{name}: {name} is an axis; give its values as {name} = ..."
    if sweep.arguments:
        for cell in sweep.cell:
            if not is_own(cell):
                yield f"arguments: {cell} takes none; only cells of your own do (FILE:CLASS)"


def _of_step(sweep: Sweep) -> Iterable[str]:
    """Faults of the names of optimizers and losses."""
    for axis, values, known in (("optimizer", sweep.optimizer, OPTIMIZERS), ("loss", sweep.loss, LOSSES)):
        for value in values:
            if value not in known and not is_own(value):
                yield f"{axis}: {value!r} is not one of {', '.join(known)}, nor FILE:FUNCTION{nearest(value, known)}"


def _too_few(measure: Settings) -> Iterable[str]:
    """The fault of a file that asks for more replicates than it allows."""
    least, most = measure.replicates, measure.max_replicates
    if "max_replicates" in measure.model_fields_set and least > most:
        yield f"measure.replicates: {least} is more than max_replicates, {most}; expected at least {least} there"


def _cells(sweep: Mapping[str, Any]) -> list[str]:
    cells = as_list(sweep.get("cell", []))
    return [cell for cell in cells if isinstance(cell, str)]
