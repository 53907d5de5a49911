"""The tables of a suite's file: sweeps, and how they are measured and checked."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    model_validator,
)

from rnnbench.cells import CELLS, file_of, is_own, misnamed, spec, with_arguments
from rnnbench.store.record import MAX_INTEGER, Count, Size
from rnnbench.store.records import (
    AXES,
    DATA_SETS,
    LOSSES,
    OPTIMIZERS,
    Caches,
    DType,
    Head,
    Lengths,
    Nonlinearity,
    Phase,
    Reference,
    Swept,
    Task,
    is_cell_reference,
)
from rnnbench.text import nearest

INPUT = r"^(features|tokens:[1-9][0-9]{0,8}|frames:[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){0,3})$"
INPUTS_ALLOWED = "expected features, tokens:N (such as tokens:100) or frames:CxHxW (such as frames:3x8x8)"
OF_DATA_SETS = {  # the values of axes that only data sets have
    "cell": tuple(DATA_SETS),
    "phase": ("loading",),
    "implementation": ("per_item", "vectorised"),
}


def _as_list(value: object) -> Sequence[object]:
    """Return the value itself if it is a list, else a list of it."""
    return value if isinstance(value, list | tuple) else [value]


def _cell(cell: str, info: ValidationInfo) -> str:
    """Return the cell; raises ValueError if there is no such cell, or no such file beside the suite."""
    if is_own(cell):
        if fault := misnamed(cell):
            raise ValueError(fault)
        file = (info.context or {}).get("root", Path()) / file_of(cell)
        if info.context and file.suffix == ".py" and not file.is_file():
            raise ValueError(f"no file {file}")
    elif cell not in (*CELLS, *DATA_SETS):
        known = f"there are {', '.join(CELLS)}, or your own as FILE:CLASS, and the data sets {', '.join(DATA_SETS)}"
        raise ValueError(f"no such cell{nearest(cell, (*CELLS, *DATA_SETS))}; {known}")
    return cell


def _reference(reference: str, info: ValidationInfo) -> str:
    """Return the reference; raises ValueError if it is neither a layer nor a cell."""
    if is_own(reference):
        return _cell(reference, info)
    if is_cell_reference(reference) and reference not in CELLS:
        like = nearest(reference, ("rnn", "lstm", "gru", "none", *CELLS))
        raise ValueError(f"expected one of rnn, lstm, gru, none, or a cell{like}")
    return reference


def _named(known: Sequence[str]) -> AfterValidator:
    """Refuse what is neither a known name nor a user's own function."""

    def check(value: str) -> str:
        if value not in known and not is_own(value):
            raise ValueError(f"expected one of {', '.join(known)}, or FILE:FUNCTION{nearest(value, known)}")
        return value

    return AfterValidator(check)


def _argument(value: Any) -> Any:
    """Return a value that can be given to a constructor."""
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("expected a finite number, a text, true or false for a constructor")
    return value


def _argument_name(name: str) -> str:
    """Return the name of an argument; raises ValueError if it is none."""
    if not name.isidentifier() or name in AXES:
        raise ValueError(f"{name} is an axis: write {name} = ..." if name in AXES else "expected a name of Python")
    return name


WholeSize = Annotated[Size, Strict()]
WholeCount = Annotated[Count, Strict()]
T = TypeVar("T")
Axis = Annotated[tuple[T, ...], BeforeValidator(_as_list), Field(min_length=1)]  # one value, or a list of values
Argument = Annotated[Any, AfterValidator(_argument)]


class SuiteTable(BaseModel):
    """A table of a suite's file, without unknown keys."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Sweep(SuiteTable):
    """All combinations of its axes; `reference` names the torch.nn layer for the user's own cells, or is "none"."""

    cell: Axis[Annotated[str, AfterValidator(_cell)]]
    implementation: Axis[Swept] = ("loop", "torch.nn")
    phase: Axis[Phase] = ("inference",)
    task: Axis[Task] = ("many_to_many",)
    batch_size: Axis[WholeSize] = (32,)
    seq_len: Axis[WholeSize] = (32,)
    input_size: Axis[WholeSize] = (64,)
    hidden_size: Axis[WholeSize] = (128,)
    output_size: Axis[WholeSize] = (10,)
    num_layers: Axis[WholeSize] = (1,)
    dtype: Axis[DType] = ("float32",)
    device: Axis[str] = ("cpu",)
    threads: Axis[WholeSize] = (1,)
    output_len: Axis[WholeCount] = (0,)
    bidirectional: Axis[Annotated[bool, Strict()]] = (False,)
    dropout: Axis[Annotated[float, Field(ge=0, lt=1)]] = (0.0,)
    lengths: Axis[Lengths] = ("equal",)
    input: Axis[Annotated[str, Field(pattern=INPUT)]] = ("features",)
    nonlinearity: Axis[Nonlinearity] = ("tanh",)
    head: Axis[Head] = ("linear",)
    caches: Axis[Caches] = ("warm",)
    optimizer: Axis[Annotated[str, _named(OPTIMIZERS)]] = ("adam",)
    loss: Axis[Annotated[str, _named(LOSSES)]] = ("none",)
    clip: Axis[Annotated[float, Field(ge=0)]] = (0.0,)
    samples: Axis[WholeSize] = (1024,)
    workers: Axis[WholeCount] = (0,)
    # Of the constructors of the user's own cells, beside the sizes.
    arguments: dict[Annotated[str, AfterValidator(_argument_name)], Axis[Argument]] = {}
    # A torch.nn layer (rnn, lstm, gru), another cell, or "none"; None: as "none".
    reference: Annotated[str, AfterValidator(_reference)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuse data sets beside cells, which would load a cell or train a data set, and arguments of other cells."""
        values = [(axis, value) for axis in OF_DATA_SETS for value in getattr(self, axis)]
        others = [(axis, value) for axis, value in values if value not in OF_DATA_SETS[axis]]
        if 0 < len(others) < len(values):
            axis, value = others[0]
            needed = ", ".join(OF_DATA_SETS[axis])
            raise ValueError(f"{axis} {value!r} can't be swept with data sets, which need {axis} = {needed}")
        if self.arguments and (shipped := next((cell for cell in self.cell if not is_own(cell)), None)):
            raise ValueError(f"{shipped} takes no arguments; only cells of your own do (FILE:CLASS)")
        return self

    def axis_values(self) -> dict[str, list[Any]]:
        """Return the values of every axis that is swept; those of `cell` hold the arguments of constructors."""
        return {axis: list(getattr(self, axis)) for axis in AXES if axis != "reference"} | {"cell": self.cells}

    @property
    def cells(self) -> list[str]:
        """Return the cells, each with every combination of the arguments."""
        names, values = list(self.arguments), list(self.arguments.values())
        chosen = [dict(zip(names, combination, strict=True)) for combination in itertools.product(*values)]
        return [with_arguments(cell, each) if each else cell for cell in self.cell for each in chosen]

    def layer(self, cell: str) -> Reference:
        """Return what a cell of this sweep is timed against: a layer, a cell, a data set item by item, or nothing."""
        if cell in DATA_SETS:
            return cell
        if self.reference is not None and is_cell_reference(self.reference):
            return self.reference
        return spec(cell, self.reference or "none").reference


class Settings(SuiteTable):
    """How a suite is measured."""

    model_config = ConfigDict(frozen=True)

    replicates: WholeSize = 6  # the minimum, even above the default of `max_replicates`
    # Suites and runs of older versions call it `most_replicates`.
    max_replicates: Annotated[WholeSize, Field(validation_alias=AliasChoices("max_replicates", "most_replicates"))] = 20
    precision: Annotated[float, Field(gt=0, lt=1)] | None = 0.02  # half-width of each ratio's 95% interval
    windows: Annotated[int, Field(strict=True, ge=2, lt=MAX_INTEGER, multiple_of=2)] = 4
    window_seconds: Annotated[float, Field(gt=0, le=10)] = 0.01
    budget_seconds: Annotated[float, Field(gt=0)] | None = None
    preheat_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0  # of work on a GPU before the turns of a visit
    compiled_steps: WholeSize = 32  # that torch.compile gets in one piece
    deadline_seconds: Annotated[float, Field(gt=0, le=1e6)] = 120.0  # the system can't wait longer than 24 days
    compile_deadline_seconds: Annotated[float, Field(gt=0, le=1e6)] = 600.0  # for requests that may compile
    period_seconds: Annotated[float, Field(gt=0)] | None = None  # deadline of a streaming step

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Self:
        """Refuse a suite's file that asks for more replicates than it allows."""
        if info.context and "max_replicates" in self.model_fields_set and self.replicates > self.max_replicates:
            raise ValueError(f"replicates, {self.replicates}, is more than max_replicates, {self.max_replicates}")
        return self


Margin = Annotated[float, Field(gt=0, lt=1)]


class CaseMargin(SuiteTable):
    """A separate margin for the cases that an `--only` expression selects."""

    only: str
    margin: Margin


class CheckSettings(SuiteTable):
    """How `rnnbench check` and `compare` judge a suite."""

    margin: Margin = 0.025  # how much slower is too slow
    margins: list[CaseMargin] = []  # the last one that selects a case counts
    budget_seconds: Annotated[float, Field(gt=0)] = 120.0
