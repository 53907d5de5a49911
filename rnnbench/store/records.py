"""The records of a run, as small frozen types that every stage of the pipeline takes and returns."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from annotated_types import MinLen

from rnnbench.store.implementations import IMPLEMENTATIONS, REFERENCES, Implementation
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.parity import UNKNOWN, Parity
from rnnbench.store.stored_record import HUGE, Count, Number, Positive, Record, Seconds, Size, clean, rounded, shown

ReferenceLayer = Literal["rnn", "lstm", "gru"]
DataSet = Literal["regular", "windows", "overlapping"]
# What a group is compared with: a torch.nn layer, a data set read item by item, nothing at all, or another cell.
Reference = Literal[ReferenceLayer, DataSet, "none"] | str
Phase = Literal["inference", "training", "step", "loading", "epoch"]
Task = Literal["many_to_many", "many_to_one", "one_to_one", "one_to_many", "encoder_decoder", "streaming"]
Head = Literal["linear", "softmax"]  # of the outputs
Caches = Literal["warm", "cold"]  # cold: other data fills the last-level cache before every call
Nonlinearity = Literal["tanh", "relu", "sigmoid"]  # of an Elman cell's state; torch.nn.RNN has no sigmoid
Lengths = Literal["equal", "varied"]  # of the sequences of a batch; varied: drawn from 1 to seq_len
# tf32: float32 with products in TF32; autocast-...: float32 that torch.autocast computes in another type where it may.
DType = Literal["float64", "float32", "tf32", "bfloat16", "float16", "autocast-bfloat16", "autocast-float16"]
AUTOCAST = "autocast-"
Status = Literal["pending", "measured", "skipped", "failed"]  # pending: the run has not reached it
# Why a case failed. loading: code or a file is missing or can't be read; running: any other exception, or no parity;
# lost: its worker died or did not answer, for whatever reason.
Failure = Literal["loading", "running", "lost"]

# Operators that run a whole layer over the whole sequence.
FUSED_LAYERS = ("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn")

LAYERS: dict[Reference, str] = {"rnn": "torch.nn.RNN", "lstm": "torch.nn.LSTM", "gru": "torch.nn.GRU"}
GATES: dict[Reference, int] = {"rnn": 1, "gru": 3, "lstm": 4}  # of a layer: rows of its weights, in hidden sizes
ITEM_BYTES: dict[DType, int] = {  # of a number; with autocast, of those that it computes with
    "float64": 8,
    "float32": 4,
    "tf32": 4,
    "bfloat16": 2,
    "float16": 2,
    "autocast-bfloat16": 2,
    "autocast-float16": 2,
}
DATA_SETS: dict[DataSet, str] = {
    "regular": "samples stored one after another",
    "windows": "windows over one series, without overlap",
    "overlapping": "windows over one series, a step apart",
}
# Reasons of cases that were not measured
NOT_REACHED = "not reached within the budget"
NOT_TIMED_ALONE = "it is not timed alone: every case that is compared with it failed or was skipped"
ENDED_BEFORE = "the run ended before this case"
LOADS: tuple[Phase, ...] = ("loading", "epoch")  # phases whose call draws an epoch from a data set
OF_DATA = ("samples", "workers")  # the axes that only these phases have
OF_STEP = ("optimizer", "loss", "clip")  # the axes that only the phase `step` has
PLAIN_OPTIMIZERS = ("adadelta", "adagrad", "adam", "adamax", "adamw", "nadam", "radam", "rmsprop", "sgd")
FUSED = "-fused"  # ends the name of an optimizer with this option
CAPTURABLE = "-capturable"
OPTIMIZERS = (  # of torch.optim
    *PLAIN_OPTIMIZERS,
    *(f"{name}{FUSED}" for name in ("adagrad", "adam", "adamw", "sgd")),
    *(f"{name}{CAPTURABLE}" for name in PLAIN_OPTIMIZERS if name not in ("adagrad", "sgd")),
)
LOSSES = ("none", "cross_entropy", "huber", "l1", "mse")  # none: backward from a fixed gradient of the output
# Implementations that are torch's own code, and the class of torch.nn that they run, whatever cell the sweep names.
TORCH_OWN: dict[Implementation, dict[Reference, str]] = {
    row.name: {reference: row.torch_class.format(layer) for reference, layer in LAYERS.items()}
    for row in IMPLEMENTATIONS
    if row.torch_class
}
MAX_QUANTILES = 11  # in columns of a frame
PLAIN = ("status", "reason", "parity", "parity_error", "backend", "warmup_windows")  # of a measurement


def computed_in(dtype: DType) -> DType:
    """Return the type in which products are computed: for autocast, the one that it casts to."""
    casts: dict[DType, DType] = {"autocast-bfloat16": "bfloat16", "autocast-float16": "float16"}
    return casts.get(dtype, dtype)


def reference_cell(reference: Reference) -> str:
    """Return the `cell` of a group's reference: a torch.nn layer, a data set or a cell; `no reference` without one."""
    return "no reference" if reference == "none" else LAYERS.get(reference, reference)


def is_cell_reference(reference: Reference) -> bool:
    """Return whether a group is compared with another cell."""
    return reference != "none" and reference not in LAYERS and reference not in DATA_SETS


@dataclass(frozen=True)
class Workload:
    """What the cases of a group have in common; cases of equal workloads are timed in turns."""

    reference: Reference
    phase: Phase
    task: Task
    batch_size: Size
    seq_len: Size
    input_size: Size
    hidden_size: Size
    output_size: Size
    num_layers: Size
    dtype: DType
    device: str
    threads: Size
    output_len: Count = 0  # steps that a decoder gives; 0: as many as the encoder reads
    bidirectional: bool = False
    dropout: Seconds = 0.0  # between layers, in the phases that take gradients
    lengths: Lengths = "equal"
    input: str = "features"  # of a step: numbers (input_size); tokens:N, a whole number below N; frames:CxHxW
    nonlinearity: Nonlinearity = "tanh"
    head: Head = "linear"
    caches: Caches = "warm"
    optimizer: str = "adam"  # one of OPTIMIZERS, or a user's own as FILE:FUNCTION
    loss: str = "none"  # one of LOSSES, or a user's own
    clip: Seconds = 0.0  # the largest norm of all gradients; 0: they are not clipped
    samples: Count = 0  # of an epoch; 0 without a data set
    workers: Count = 0  # processes that load data beside the timed one

    @property
    def input_steps(self) -> int:
        """Steps of the input."""
        return 1 if self.task == "one_to_many" else self.seq_len

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one step of one sequence, of tokens the number of kinds in its place."""
        kind, _, sizes = self.input.partition(":")
        return (self.input_size,) if kind == "features" else tuple(map(int, sizes.split("x")))

    @property
    def reads_tokens(self) -> bool:
        """Whether a step of a sequence is a whole number."""
        return self.input.startswith("tokens:")

    @property
    def output_steps(self) -> int:
        """Steps of the output."""
        match self.task:
            case "many_to_one" | "one_to_one" | "streaming":
                return 1
            case "encoder_decoder":
                return self.output_len or self.seq_len
        return self.seq_len

    @property
    def waits_for_each_call(self) -> bool:
        """Whether the host waits for the end of each call before it makes the next one."""
        return self.task == "streaming" or self.caches == "cold"

    @property
    def directions(self) -> int:
        """Cells of a layer, one for each direction."""
        return 2 if self.bidirectional else 1

    @property
    def layer(self) -> str:
        """What the group is compared with, by the name of its class or data set."""
        return reference_cell(self.reference)

    @property
    def place(self) -> tuple[str, DType, int]:
        """The device, dtype and threads, which select a ceiling and torch's settings."""
        return self.device, self.dtype, self.threads

    @property
    def cores(self) -> int:
        """Cores that a case runs on if there are enough: one for each thread, and for each loading process."""
        return self.threads + self.workers

    @property
    def batches(self) -> int:
        """Batches that one call works on."""
        return -(-self.samples // self.batch_size) or 1


@dataclass(frozen=True)
class Case:
    """One point of a sweep: a cell, a way to run it over the sequence, and the workload it is given."""

    cell: str
    implementation: Implementation
    workload: Workload

    @property
    def is_reference(self) -> bool:
        """Whether the others of its group are compared with it: a torch.nn layer, a cell, or loading item by item."""
        return self.implementation in REFERENCES

    @cached_property
    def key(self) -> str:
        """Identity in files and tables; an axis that has a default is in it only with another value."""
        named = {axis: value for axis, value in self.axes().items() if value != DEFAULTS.get(axis)}
        return " ".join(f"{axis}={axis_text(value)}" for axis, value in named.items())

    @property
    def named_code(self) -> tuple[str, ...]:
        """What it names that may be a user's own code."""
        return self.cell, self.workload.reference, self.workload.optimizer, self.workload.loss

    def axes(self) -> dict[str, str | float]:
        """Return every axis with its value, in the order in which tables show them."""
        return {"cell": self.cell, "implementation": self.implementation, **vars(self.workload)}

    @classmethod
    def from_axes(cls, axes: dict[str, Any]) -> Self:
        """Invert `axes`. Keys that are no axis are ignored; missing axes take their default."""
        of_workload = {axis: axes[axis] for axis in Workload.__dataclass_fields__ if axis in axes}
        return cls(axes["cell"], axes["implementation"], Workload(**of_workload))


def axis_text(value: object) -> str:
    """Return an axis' value as suites, `--only` and keys write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


WORKLOAD_AXES: tuple[str, ...] = tuple(field.name for field in fields(Workload))
AXES: tuple[str, ...] = ("cell", "implementation", *WORKLOAD_AXES)
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Workload) if field.default is not MISSING}


@dataclass(frozen=True)
class Group:
    """The cases of one workload; at most one of them is the reference."""

    workload: Workload
    cases: tuple[Case, ...]
    sweep: int = field(default=0, compare=False)  # number of the sweep that it is from, if the suite is known


@dataclass(frozen=True, kw_only=True)
class Window(Record):
    """Half of the turns of one case in a visit: the raw datum."""

    case: str
    replicate: Count
    worker: str
    order: Count  # position among the windows of its group's visit
    turns: Size  # windows of the whole visit; a visit that was cut off has fewer, and does not count
    started: Seconds  # since the run began
    calls: Size
    batch: Size  # calls clocked together: a block, of about the same length for all cases of a group
    seconds: Positive  # of all its turns, by the device's clock
    host_seconds: Positive  # by the host's clock, with flushes of caches and, on a CPU, with waits for a core
    submit_seconds: Seconds | None = None  # of `host_seconds`, without waiting for the device; None: all of them
    waits: Size = 1  # turns, at the end of which the host waits for the device
    # Up to 49 evenly spaced order statistics of the seconds per call of its blocks, minimum first.
    quantiles: Annotated[tuple[Positive, ...], MinLen(1)]
    cores: tuple[Count, ...]
    # Of the pulses around its blocks (`rnnbench.harness.machine.pulse`); nothing where they can't tell.
    pulses: Count = 0
    quiet_pulses: Count = 0
    best_pulse: Positive | None = None  # seconds of the best pulse that its worker knew at the end of the visit
    quiet_blocks: Count = 0  # between two quiet pulses
    quiet_seconds: Positive | None = None  # per call, mean of the quiet blocks
    # Seconds per call of the fastest quarter of the quiet blocks: means of up to eleven equal parts, the fastest first.
    quiet_low: tuple[Positive, ...] = ()
    sm_clock_mhz: Positive | None = None  # of a GPU, right after its turns: their median; None if it is not known
    device_uuid: str | None = None  # of the GPU that ran it, by its driver; None if there is only one
    run: str = ""  # the id of its run, which `RunFolder.add_window` sets

    def to_json(self) -> dict[str, Any]:
        """Return the fields, with times rounded."""
        return {name: rounded(value) for name, value in vars(self).items()}


def evenly_spaced(ordered: Sequence[Any], most: int = MAX_QUANTILES) -> tuple[Any, ...]:
    """Return at most `most` evenly spaced order statistics, including the smallest and the largest."""
    if len(ordered) <= most:
        return tuple(ordered)
    last = len(ordered) - 1
    return tuple(ordered[round(step * last / (most - 1))] for step in range(most))


@dataclass(frozen=True)
class Measurement(Record):
    """What is known about one case besides its windows."""

    case: Case
    status: Status
    reason: str = ""  # why it was skipped or failed; empty for a measured case
    parity: Parity = UNKNOWN  # with its reference
    parity_error: float | None = None  # largest error, relative to the largest value of its tensor
    backend: str = ""  # the operator that runs the whole layer, or `aten` if it is made of plain ones
    warmup_windows: Count | None = None  # windows run before the time stopped falling, in the first replicate

    metrics: dict[str, int | Number] = field(default_factory=dict)  # name of an observed metric -> value
    missing: dict[str, str] = field(default_factory=dict)  # name of a metric that could not be observed -> why
    failure: Failure | None = None  # of a failed case

    @property
    def works(self) -> bool:
        """Return True if the case ran and agreed with its reference, whether it is timed yet or not."""
        return self.status == "measured" or (self.status == "pending" and self.parity.kind != "unknown")

    def to_json(self) -> dict[str, Any]:
        """Return one flat object: the axes first, then what is known, each metric under its own name.

        A metric without a finite value is missing, with that value as the reason.
        """
        facts = {name: getattr(self, name) for name in PLAIN} | {"parity": self.parity.to_json()}
        metrics = {name: value for name, value in self.metrics.items() if abs(value) <= HUGE}  # NaN is not
        missing = {
            name: f"its value is no number that can be stored: {shown(value)}"
            for name, value in self.metrics.items()
            if name not in metrics
        }
        if self.failure:
            facts["failure"] = self.failure
        line = {"case": self.case.key, **self.case.axes(), **facts, **metrics, "missing": self.missing | missing}
        return clean(line)  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Self:
        """Return the inverse of `to_json`."""
        metrics = {metric.name: line[metric.name] for metric in OBSERVED if line.get(metric.name) is not None}
        content = {**line, "case": {**line, "workload": line}, "metrics": metrics}
        return super().from_json(content)


def without_kept_work(measurement: Measurement) -> Measurement:
    """Return the measurement without the multiply-adds of a case that keeps results, which would lower its limit."""
    if measurement.parity.kind != "cached" or "macs" not in measurement.metrics:
        return measurement
    metrics = {name: value for name, value in measurement.metrics.items() if name != "macs"}
    reason = "a call makes fewer of them when the same values come again"
    return replace(measurement, metrics=metrics, missing={**measurement.missing, "macs": reason})
