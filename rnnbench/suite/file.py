"""The tables of a suite's file: sweeps, and how they are measured and checked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    model_validator,
)

from rnnbench.store.implementations import Swept
from rnnbench.store.records import (
    AXES,
    LOSSES,
    OPTIMIZERS,
    Caches,
    DType,
    Head,
    Lengths,
    Nonlinearity,
    Phase,
    Task,
)
from rnnbench.store.stored_record import MAX_INTEGER, Count, Size
from rnnbench.suite.axes import (
    INPUT_PATTERN,
    USUAL_VALUES,
    as_list,
    cells_with,
    misfit,
    wrong_argument,
    wrong_argument_name,
    wrong_cell,
    wrong_name,
    wrong_reference,
)
from rnnbench.suite.outline import SweptAxes

WholeSize = Annotated[Size, Strict()]
WholeCount = Annotated[Count, Strict()]
MAX_WITHIN_BUDGET = 200  # replicates, by default, of a run with a budget, which usually ends it first
T = TypeVar("T")
Margin = Annotated[float, Field(gt=0, lt=1)]


def _refused(wrong: Callable[[Any], str]) -> AfterValidator:
    """Refuse a value with the words in which a function says what is wrong with it."""

    def check(value: Any) -> Any:
        if words := wrong(value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


def _refused_beside(wrong: Callable[[Any, Any], str]) -> AfterValidator:
    """Refuse a value as `_refused` does; the function also gets the folder of the suite, or None."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if words := wrong(value, (info.context or {}).get("root")):
            raise ValueError(words)
        return value

    return AfterValidator(check)


def _one_of(names: Sequence[str]) -> AfterValidator:
    """Refuse what is neither a names name nor a user's own function."""
    return _refused(lambda value: wrong_name(value, names))


Axis = Annotated[tuple[T, ...], BeforeValidator(as_list), Field(min_length=1)]  # one value, or a list of values
Argument = Annotated[Any, _refused(wrong_argument)]


class SuiteTable(BaseModel):
    """A table of a suite's file, without unknown keys."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Sweep(SuiteTable):
    """All combinations of its axes; `reference` names the torch.nn layer for the user's own cells, or is "none"."""

    cell: Axis[Annotated[str, _refused_beside(wrong_cell)]]
    implementation: Axis[Swept] = USUAL_VALUES["implementation"]
    phase: Axis[Phase] = USUAL_VALUES["phase"]
    task: Axis[Task] = USUAL_VALUES["task"]
    batch_size: Axis[WholeSize] = USUAL_VALUES["batch_size"]
    seq_len: Axis[WholeSize] = USUAL_VALUES["seq_len"]
    input_size: Axis[WholeSize] = USUAL_VALUES["input_size"]
    hidden_size: Axis[WholeSize] = USUAL_VALUES["hidden_size"]
    output_size: Axis[WholeSize] = USUAL_VALUES["output_size"]
    num_layers: Axis[WholeSize] = USUAL_VALUES["num_layers"]
    dtype: Axis[DType] = USUAL_VALUES["dtype"]
    device: Axis[str] = USUAL_VALUES["device"]
    threads: Axis[WholeSize] = USUAL_VALUES["threads"]
    output_len: Axis[WholeCount] = USUAL_VALUES["output_len"]
    bidirectional: Axis[Annotated[bool, Strict()]] = USUAL_VALUES["bidirectional"]
    dropout: Axis[Annotated[float, Field(ge=0, lt=1)]] = USUAL_VALUES["dropout"]
    lengths: Axis[Lengths] = USUAL_VALUES["lengths"]
    input: Axis[Annotated[str, Field(pattern=INPUT_PATTERN)]] = USUAL_VALUES["input"]
    nonlinearity: Axis[Nonlinearity] = USUAL_VALUES["nonlinearity"]
    head: Axis[Head] = USUAL_VALUES["head"]
    caches: Axis[Caches] = USUAL_VALUES["caches"]
    optimizer: Axis[Annotated[str, _one_of(OPTIMIZERS)]] = USUAL_VALUES["optimizer"]
    loss: Axis[Annotated[str, _one_of(LOSSES)]] = USUAL_VALUES["loss"]
    clip: Axis[Annotated[float, Field(ge=0)]] = USUAL_VALUES["clip"]
    samples: Axis[WholeSize] = USUAL_VALUES["samples"]
    workers: Axis[WholeCount] = USUAL_VALUES["workers"]
    # Of the constructors of the user's own cells, beside the sizes.
    arguments: dict[Annotated[str, _refused(wrong_argument_name)], Axis[Argument]] = {}
    # A torch.nn layer (rnn, lstm, gru), another cell, or "none"; None: as "none".
    reference: Annotated[str, _refused_beside(wrong_reference)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuse data sets beside cells, and arguments of other cells."""
        if words := misfit(vars(self), self.arguments):
            raise ValueError(words)
        return self

    @property
    def axes(self) -> SweptAxes:
        """The values of every axis that is swept; cells have the arguments of their constructors."""
        values = {axis: list(getattr(self, axis)) for axis in AXES if axis != "reference"}
        return SweptAxes(values | {"cell": cells_with(self.cell, self.arguments)}, self.reference)


class Settings(SuiteTable):
    """How a suite is measured."""

    model_config = ConfigDict(frozen=True)

    replicates: WholeSize = 6  # the minimum, even above the default of `max_replicates`
    max_replicates: WholeSize = 20
    precision: Annotated[float, Field(gt=0, lt=1)] | None = 0.02  # half-width of each ratio's 95% interval
    windows: Annotated[int, Field(strict=True, ge=2, lt=MAX_INTEGER, multiple_of=2)] = 4
    window_seconds: Annotated[float, Field(gt=0, le=10)] = 0.02
    budget_seconds: Annotated[float, Field(gt=0)] | None = None
    preheat_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0  # of work on a GPU before the turns of a visit
    compiled_steps: WholeSize = 32  # that torch.compile gets in one piece
    deadline_seconds: Annotated[float, Field(gt=0, le=1e6)] = 120.0  # the system can't wait longer than 24 days
    compile_deadline_seconds: Annotated[float, Field(gt=0, le=1e6)] = 600.0  # for requests that may compile
    period_seconds: Annotated[float, Field(gt=0)] | None = None  # deadline of a streaming step

    @model_validator(mode="before")
    @classmethod
    def _budget_limits(cls, fields: Any) -> Any:
        """Let the budget end a run that has one, and not the default of `max_replicates`."""
        if isinstance(fields, dict) and fields.get("budget_seconds") is not None:
            return {"max_replicates": MAX_WITHIN_BUDGET} | fields
        return fields

    def with_changes(self, changes: Mapping[str, float]) -> Self:
        """Return the settings with these values, and with the default of `max_replicates` that fits them."""
        return type(self)(**self.model_dump(exclude_unset=True) | dict(changes))

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Self:
        """Refuse a suite's file that asks for more replicates than it allows."""
        if info.context and "max_replicates" in self.model_fields_set and self.replicates > self.max_replicates:
            raise ValueError(f"replicates, {self.replicates}, is more than max_replicates, {self.max_replicates}")
        return self


class CaseMargin(SuiteTable):
    """A separate margin for the cases that an `--only` expression selects."""

    only: str
    margin: Margin


class CheckSettings(SuiteTable):
    """How `rnnbench check` and `compare` judge a suite."""

    margin: Margin = 0.025  # how much slower is too slow
    margins: list[CaseMargin] = []  # the last one that selects a case counts
    memory_margin: Margin = 0.1  # how much more peak memory is too much, if it is also more than `memory_margin_bytes`
    memory_margin_bytes: Annotated[int, Field(ge=0)] = 1_000_000
    budget_seconds: Annotated[float, Field(gt=0)] = 120.0
