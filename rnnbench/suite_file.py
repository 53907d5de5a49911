"""What a suite file may hold: sweeps, and how they are measured and checked."""

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

from rnnbench.cells import spec, with_arguments
from rnnbench.store.names import SUITE
from rnnbench.store.records import (
    AXES,
    DATA_SETS,
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
from rnnbench.store.value_kinds import MAX_INTEGER


def as_list(value: object) -> Sequence[object]:
    """The value itself if it is a list, else a list of it."""
    return value if isinstance(value, list | tuple) else [value]


Size = Annotated[int, Field(strict=True, ge=1, lt=MAX_INTEGER)]
Count = Annotated[int, Field(strict=True, ge=0, lt=MAX_INTEGER)]
T = TypeVar("T")
Axis = Annotated[tuple[T, ...], BeforeValidator(as_list), Field(min_length=1)]  # one value, or a list of values
INPUT = r"^(features|tokens:[1-9][0-9]{0,8}|frames:[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){0,3})$"
INPUTS_ALLOWED = "expected features, tokens:N (such as tokens:100) or frames:CxHxW (such as frames:3x8x8)"
MAX_NAME = 200  # letters of a suite's; the folders of its checks and reports have longer ones, of 255 at most
Argument = StrictBool | StrictInt | StrictFloat | StrictStr


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Sweep(_Strict):
    """All combinations of its axes; `reference` names the torch.nn layer for the user's own cells, or is "none"."""

    cell: Axis[str]
    implementation: Axis[Swept] = ("loop", "torch.nn")
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
    input: Axis[Annotated[str, Field(pattern=INPUT)]] = ("features",)
    nonlinearity: Axis[Nonlinearity] = ("tanh",)
    head: Axis[Head] = ("linear",)
    caches: Axis[Caches] = ("warm",)
    optimizer: Axis[str] = ("adam",)
    loss: Axis[str] = ("none",)
    clip: Axis[Annotated[float, Field(ge=0)]] = (0.0,)
    samples: Axis[Size] = (1024,)
    workers: Axis[Count] = (0,)
    arguments: dict[str, Axis[Argument]] = {}  # of the constructors of the user's own cells, beside the sizes
    reference: str | None = None  # a torch.nn layer (rnn, lstm, gru), another cell, or "none"; None: as "none"

    def axis_values(self) -> dict[str, list[Any]]:
        """The values of every axis that is swept; those of `cell` hold the arguments of constructors."""
        return {axis: list(getattr(self, axis)) for axis in AXES if axis != "reference"} | {"cell": self.cells}

    @property
    def cells(self) -> list[str]:
        """The cells, each with every combination of the arguments."""
        names, values = list(self.arguments), list(self.arguments.values())
        chosen = [dict(zip(names, combination, strict=True)) for combination in itertools.product(*values)]
        return [with_arguments(cell, each) if each else cell for cell in self.cell for each in chosen]

    def layer(self, cell: str) -> Reference:
        """What a cell of this sweep is timed against: a layer, another cell, a data set item by item, or nothing."""
        if cell in DATA_SETS:
            return cell
        if self.reference is not None and is_cell_reference(self.reference):
            return self.reference
        return spec(cell, self.reference or "none").reference


class Settings(_Strict):
    """How a suite is measured."""

    model_config = ConfigDict(frozen=True)

    replicates: Size = 6  # the minimum, even above the default of `max_replicates`
    # Suites and runs of older versions call it `most_replicates`.
    max_replicates: Annotated[Size, Field(validation_alias=AliasChoices("max_replicates", "most_replicates"))] = 20
    precision: Annotated[float, Field(gt=0, lt=1)] | None = 0.02  # half-width of each ratio's 95% interval
    windows: Annotated[int, Field(strict=True, ge=2, lt=MAX_INTEGER, multiple_of=2)] = 4
    window_seconds: Annotated[float, Field(gt=0, le=10)] = 0.01
    budget_seconds: Annotated[float, Field(gt=0)] | None = None
    compiled_steps: Size = 32  # that torch.compile gets in one piece
    deadline_seconds: Annotated[float, Field(gt=0, le=1e6)] = 120.0  # the system can't wait longer than 24 days
    compile_deadline_seconds: Annotated[float, Field(gt=0, le=1e6)] = 600.0  # for requests that may compile
    period_seconds: Annotated[float, Field(gt=0)] | None = None  # of the steps of a stream: what takes longer is late


Margin = Annotated[float, Field(gt=0, lt=1)]


class CaseMargin(_Strict):
    """A separate margin for the cases that an `--only` expression selects."""

    only: str
    margin: Margin


class CheckSettings(_Strict):
    """How `rnnbench check` and `compare` judge a suite."""

    margin: Margin = 0.025  # how much slower is too slow
    margins: list[CaseMargin] = []  # the last one that selects a case counts
    budget_seconds: Annotated[float, Field(gt=0)] = 120.0


class SuiteFile(_Strict):
    """A suite as written in the file, with the defaults filled into the sweeps."""

    name: Annotated[str, Field(pattern=f"^{SUITE}$", max_length=MAX_NAME)]
    description: str = ""
    measure: Settings = Settings()
    check: CheckSettings = CheckSettings()
    sweep: Annotated[list[Sweep], Field(min_length=1)]
