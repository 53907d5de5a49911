"""The suite file: TOML in, a checked `SuiteFile` out. Every fault of a file is named at once."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rnnbench.cells import CELLS, is_own, spec
from rnnbench.errors import UserError
from rnnbench.store.records import (
    AXES,
    DATA_SETS,
    DType,
    Implementation,
    Layer,
    Lengths,
    Phase,
    Reference,
    Task,
)
from rnnbench.store.schema import MOST


def _as_list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


Size = Annotated[int, Field(strict=True, ge=1, lt=MOST)]
Count = Annotated[int, Field(strict=True, ge=0, lt=MOST)]
T = TypeVar("T")
MOST_FAULTS = 20  # that are told; a list may have thousands of values
Axis = Annotated[tuple[T, ...], BeforeValidator(_as_list), Field(min_length=1)]  # one value, or a list of some


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Sweep(_Strict):
    """The product of its axes; `reference` names the torch.nn layer for the user's own cells, or that there is none."""

    cell: Axis[str]
    implementation: Axis[Implementation] = ("loop", "torch.nn")
    phase: Axis[Phase] = ("inference",)
    task: Axis[Task] = ("many_to_many",)
    batch_size: Axis[Size] = (32,)
    seq_len: Axis[Size] = (32,)
    input_size: Axis[Size] = (64,)
    hidden_size: Axis[Size] = (128,)
    output_size: Axis[Size] = (10,)
    num_layers: Axis[Size] = (1,)
    dtype: Axis[DType] = ("float32",)
    device: Axis[str] = ("cpu",)
    threads: Axis[Size] = (1,)
    output_len: Axis[Count] = (0,)
    bidirectional: Axis[Annotated[bool, Field(strict=True)]] = (False,)
    dropout: Axis[Annotated[float, Field(ge=0, lt=1)]] = (0.0,)
    lengths: Axis[Lengths] = ("equal",)
    samples: Axis[Size] = (1024,)
    workers: Axis[Count] = (0,)
    reference: Literal[Layer, "none"] | None = None  # None: there is none

    def axis_values(self) -> dict[str, list[Any]]:
        """The values of every axis that is swept."""
        return {axis: list(getattr(self, axis)) for axis in AXES if axis != "reference"}

    def layer(self, cell: str) -> Reference:
        """What a cell of this sweep is timed against: a torch.nn layer, a data set read item by item, or nothing."""
        data_set = next((name for name in DATA_SETS if name == cell), None)
        return data_set or spec(cell, self.reference or "none").reference


class Settings(_Strict):
    """How a suite is measured."""

    model_config = ConfigDict(frozen=True)

    replicates: Size = 6  # the fewest, whatever `most_replicates` is where it is not given
    most_replicates: Size = 20
    precision: Annotated[float, Field(gt=0, lt=1)] | None = 0.02  # half-width of each ratio's 95% interval
    windows: Annotated[int, Field(strict=True, ge=2, lt=MOST, multiple_of=2)] = 4
    window_seconds: Annotated[float, Field(gt=0, le=10)] = 0.01
    budget_seconds: Annotated[float, Field(gt=0)] | None = None
    compiled_steps: Size = 32  # that torch.compile is given in one piece
    deadline_seconds: Annotated[float, Field(gt=0, le=1e6)] = 120.0  # the system waits for no more than 24 days
    compile_deadline_seconds: Annotated[float, Field(gt=0, le=1e6)] = 600.0  # of requests that may compile
    cold_cache: Annotated[bool, Field(strict=True)] = False  # empty the last-level cache before every call


Margin = Annotated[float, Field(gt=0, lt=1)]


class CaseMargin(_Strict):
    """A margin of their own for the cases that an `--only` expression selects."""

    only: str
    margin: Margin


class CheckSettings(_Strict):
    """How `rnnbench check` and `compare` judge a suite."""

    margin: Margin = 0.025  # how much slower is too slow
    margins: list[CaseMargin] = []  # the last that selects a case counts
    budget_seconds: Annotated[float, Field(gt=0)] = 120.0


class SuiteFile(_Strict):
    """A suite as it stands in the file, with the defaults filled into the sweeps."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    measure: Settings = Settings()
    check: CheckSettings = CheckSettings()
    sweep: Annotated[list[Sweep], Field(min_length=1)]


def read(path: Path) -> SuiteFile:
    """Read and check a file; raises UserError with every fault found."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read: {error}") from None
    except (ValueError, RecursionError) as error:  # of TOML, of a number too long, or nested too deep
        raise UserError(f"{path}: not TOML: {error}") from None
    faults: list[str] = []
    defaults = data.pop("defaults", {})
    if not isinstance(defaults, dict):
        faults.append(f"defaults: want a table, found {defaults!r}")
        defaults = {}
    unknown = [key for key in defaults if key not in Sweep.model_fields]
    faults += [f"defaults.{key}: unknown key{nearest(key, Sweep.model_fields)}" for key in unknown]
    defaults = {key: value for key, value in defaults.items() if key not in unknown}
    if isinstance(data.get("sweep"), list):
        data["sweep"] = [defaults | sweep if isinstance(sweep, dict) else sweep for sweep in data["sweep"]]
    content = None
    try:
        content = SuiteFile.model_validate(data)
    except ValidationError as error:
        faults += list(dict.fromkeys(_fault(detail) for detail in error.errors()))
    faults += _cell_faults(data.get("sweep"), path.parent)
    if content is not None:
        faults += [f"sweep[{number}].{fault}" for number, sweep in enumerate(content.sweep) for fault in _mixed(sweep)]
        faults += _too_few(content.measure)
    if len(faults) > MOST_FAULTS:
        faults[MOST_FAULTS:] = [f"and {len(faults) - MOST_FAULTS} faults more"]
    if faults or content is None:
        raise UserError("\n".join(f"{path}: {fault}" for fault in faults))
    return content


def _fault(detail: Any) -> str:
    """One line for one fault: key path, value, and what would be right."""
    location = list(detail["loc"])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    key, value = str(location[-1]), detail["input"]
    least = detail.get("ctx", {}).get("ge", 1)
    match detail["type"]:
        case "extra_forbidden":
            tables: dict[str, type[BaseModel]] = {"sweep": Sweep, "measure": Settings, "check": CheckSettings}
            model = tables.get(str(location[0]), SuiteFile)
            words = f"unknown key{nearest(key, model.model_fields)}"
        case "missing":
            words = "missing"
        case "literal_error":
            allowed = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            words = f"{value!r} is not one of {allowed}{nearest(str(value), allowed.split(', '))}"
        case "int_type" | "greater_than_equal" if isinstance(least, int):
            words = f"{value!r} is not a whole number of {least} or more"
        case "less_than" if isinstance(value, int) and value >= MOST:
            words = f"{value!r} is too large; want less than 2 ** 63"
        case "too_short":
            words = "empty; want at least one value"
        case "string_pattern_mismatch":
            words = f"{value!r} can't name a run; want letters, digits, '.', '_' and '-', and none of these three first"
        case "list_type" if where == "sweep":
            words = f"{value!r}: want tables, each below a line [[sweep]]"
        case _:
            words = f"{value!r}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    return f"{where}: {words}"


def _cell_faults(sweeps: object, root: Path) -> list[str]:
    """Faults of the cells named, which pydantic's types can't know."""
    faults = []
    for number, sweep in enumerate(sweeps if isinstance(sweeps, list) else []):
        if not isinstance(sweep, dict):
            continue
        for cell in _cells(sweep):
            where = f"sweep[{number}].cell: {cell!r}"
            if is_own(cell):
                target = cell.rpartition(":")[0]
                if target.endswith(".py") and not (root / target).is_file():
                    faults.append(f"{where}: no file {root / target}")
            elif cell not in (*CELLS, *DATA_SETS):
                like = nearest(cell, (*CELLS, *DATA_SETS))
                known = (
                    f"there are {', '.join(CELLS)}, or your own as FILE:CLASS, and the data sets {', '.join(DATA_SETS)}"
                )
                faults.append(f"{where}: no such cell{like}; {known}")
    return faults


def _mixed(sweep: Sweep) -> Iterable[str]:
    """Faults of a sweep that would load a cell, or train a data set."""
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
                yield f"{axis}: {value!r} can't be swept with data sets, which want {axis} = {', '.join(of_data)}"


def _too_few(measure: Settings) -> Iterable[str]:
    """The fault of a file that wants more replicates than it allows."""
    least, most = measure.replicates, measure.most_replicates
    if "most_replicates" in measure.model_fields_set and least > most:
        yield f"measure.replicates: {least} is more than most_replicates, {most}; want at least {least} there"


def _cells(sweep: Mapping[str, Any]) -> list[str]:
    cells = _as_list(sweep.get("cell", []))
    return [cell for cell in cells if isinstance(cell, str)]


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing where no known word is like it."""
    matches = get_close_matches(word, list(known), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
