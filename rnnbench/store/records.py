"""What a run consists of, as small frozen types; every stage of the pipeline takes and gives these."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from rnnbench.store.metrics import OBSERVED

Reference = Literal["rnn", "lstm", "gru"]
Implementation = Literal["loop", "hoisted", "torch.nn"]
Phase = Literal["inference", "training", "step"]
Task = Literal["many_to_many"]
DType = Literal["float64", "float32", "tf32", "bfloat16", "float16"]  # tf32: float32 with products in TF32
Status = Literal["pending", "measured", "skipped", "failed"]  # pending: the run has not come to it

# Operators that run a whole layer over the whole sequence, whose products and steps can't be seen from outside.
FUSED_LAYERS = ("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn")

LAYERS: dict[Reference, str] = {"rnn": "torch.nn.RNN", "lstm": "torch.nn.LSTM", "gru": "torch.nn.GRU"}


@dataclass(frozen=True)
class Workload:
    """What the cases of a group have in common; cases of equal workloads are timed in turns with each other."""

    reference: Reference
    phase: Phase
    task: Task
    batch_size: int
    seq_len: int
    input_size: int
    hidden_size: int
    output_size: int
    num_layers: int
    dtype: DType
    device: str
    threads: int

    @property
    def layer(self) -> str:
        """The torch.nn layer that the group is timed against."""
        return LAYERS[self.reference]


@dataclass(frozen=True)
class Case:
    """One point of a sweep: a cell, a way to run it over the sequence, and the workload it is given."""

    cell: str
    implementation: Implementation
    workload: Workload

    @property
    def is_reference(self) -> bool:
        """Whether this is the torch.nn layer that the others of its group are held against."""
        return self.implementation == "torch.nn"

    @property
    def key(self) -> str:
        """Identity in files and tables; also a valid `--only` expression, which selects just this case."""
        return " ".join(f"{axis}={value}" for axis, value in self.axes().items())

    def axes(self) -> dict[str, str | int]:
        """Every axis with its value, in the order in which tables show them."""
        return {"cell": self.cell, "implementation": self.implementation, **asdict(self.workload)}

    @classmethod
    def from_axes(cls, axes: dict[str, Any]) -> Self:
        """The inverse of `axes`; keys that are no axis are ignored."""
        workload = Workload(**{field.name: axes[field.name] for field in fields(Workload)})
        return cls(axes["cell"], axes["implementation"], workload)


AXES: tuple[str, ...] = ("cell", "implementation", *(field.name for field in fields(Workload)))


@dataclass(frozen=True)
class Group:
    """The cases of one workload; at most one of them is the reference."""

    workload: Workload
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Window:
    """A short run of back-to-back calls of one case: the raw datum."""

    case: str
    replicate: int
    worker: str
    order: int  # position among the windows of its group's visit
    turns: int  # windows of the whole visit; one that was cut off has fewer, and does not count
    started: float  # seconds since the run began
    calls: int
    batch: int  # calls clocked together: a block, of about the same length for all arms of a group
    seconds: float  # of the whole window, by the device's clock
    host_seconds: float  # the same by the host's clock, flushes of caches included; else on a CPU the two are one
    submit_seconds: float  # of these, those in which the host did not wait; on a CPU, which does the calls, all
    quantiles: tuple[
        float, ...
    ]  # up to 11 evenly spaced order statistics of seconds per call over blocks, minimum first
    cores: tuple[int, ...]
    clock_mhz: float | None  # of the first core or the GPU, where the system tells
    device_uuid: str | None = None  # of the card that did it, by its driver; None where there is but one

    def to_json(self) -> dict[str, Any]:
        """A dictionary for one JSON line, times rounded to the nanosecond."""
        line = asdict(self)
        for name in ("started", "seconds", "host_seconds", "submit_seconds"):
            line[name] = round(line[name], 9)
        line["quantiles"] = [round(value, 10) for value in self.quantiles]
        return line

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Self:
        """The inverse of `to_json`; an older rnnbench did not record when all was submitted, nor the card."""
        line = {"submit_seconds": line["host_seconds"], "device_uuid": None} | line
        known = {field.name: line[field.name] for field in fields(cls)}
        return cls(**known | {"quantiles": tuple(line["quantiles"]), "cores": tuple(line["cores"])})


@dataclass(frozen=True)
class Measurement:
    """What is known of one case beside its windows."""

    case: Case
    status: Status
    reason: str = ""  # why it was skipped or failed; empty for a measured case
    parity: str = ""  # "agrees", or why outputs and gradients were not compared
    parity_error: float | None = None  # largest error, relative to the largest value of its tensor
    backend: str = ""  # the operator that runs the whole layer, or `aten` where it is made of plain ones
    warmup_windows: int | None = None  # windows run before the time stopped falling, in the first replicate

    metrics: dict[str, Any] = field(default_factory=dict)  # name of an observed metric -> value
    missing: dict[str, str] = field(default_factory=dict)  # name of one that could not be observed -> why

    @property
    def works(self) -> bool:
        """Whether the case ran and agreed with its reference, be it timed yet or not."""
        return self.status == "measured" or (self.status == "pending" and self.parity != "")

    def to_json(self) -> dict[str, Any]:
        """A dictionary for one JSON line: the axes first, then what is known, each metric under its own name."""
        known = {name: getattr(self, name) for name in PLAIN}
        return {"case": self.case.key, **self.case.axes(), **known, **self.metrics, "missing": self.missing}

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Self:
        """The inverse of `to_json`; what an older rnnbench did not record is not known."""
        known = {name: line[name] for name in PLAIN if name in line}
        metrics = {metric.name: line[metric.name] for metric in OBSERVED if line.get(metric.name) is not None}
        return cls(Case.from_axes(line), **known, metrics=metrics, missing=line.get("missing", {}))


PLAIN = tuple(field.name for field in fields(Measurement) if field.name not in ("case", "metrics", "missing"))
