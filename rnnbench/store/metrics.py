"""The metrics of a case besides its time, one entry each. Tables, exports and verdicts loop over them.

To add an observed metric, add an entry with the name of its probe: one of `probes` in `rnnbench/workloads/observe.py`,
which the worker runs apart from all timing; or `device`, if the device's class in `rnnbench/harness/devices/` reports
it. To add a metric that follows from others, add an entry, and its formula in `rnnbench/analysis/derived.py`.

A probe or a device gives `Readings`: values by name, and a reason for each that is not available, never a zero instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from rnnbench.store.implementations import COMPILED

Unit = Literal["count", "bytes", "joules", "per second", "seconds", "times"]


@dataclass(frozen=True)
class Metric:
    """A column of every table of cases."""

    name: str  # its column in files and frames
    label: str  # in headings
    unit: Unit
    about: str  # what it is and how it is measured, in one line
    probe: str | None = None  # the probe that observes it; `device` if the device's class reports it; None if derived
    device: str = ""  # the only kind of device that has it; empty: all have it
    implementations: tuple[str, ...] = ()  # that alone have it; empty: all have it
    better: Literal["less", "more", "neither"] = "less"
    verdict: Literal["judged", "explains", ""] = ""  # a change beyond the margin is a verdict, or explains one
    time_follows: bool = False  # a larger value makes the call longer
    is_brief: bool = False  # in the table that `run` prints
    brief_in: str = ""  # a phase whose runs also have it in that table


METRICS = (
    Metric(
        "parameters",
        "parameters",
        "count",
        "of the model with its head, those that are shared once",
        "model",
        verdict="judged",
    ),
    Metric(
        "macs",
        "MACs",
        "count",
        "multiply-accumulates of the matrix products of one call, backward included, from the shapes of all products",
        "calls",
        verdict="judged",
        time_follows=True,
    ),
    Metric(
        "peak_bytes",
        "peak memory",
        "bytes",
        "most that one call holds of torch's allocator at once, beside what was there before it",
        "calls",
        verdict="judged",
        is_brief=True,
    ),
    Metric(
        "saved_bytes",
        "saved for backward",
        "bytes",
        "what forward keeps for backward, without parameters, inputs and initial states",
        "saved",
    ),
    Metric(
        "resident_bytes",
        "peak resident",
        "bytes",
        "pages that one call adds to the process, fresh from the system, with allocators that give nothing back",
        "device",
        device="cpu",
    ),
    Metric(
        "device_seconds",
        "device time",
        "seconds",
        "the device's own time of a call, without the host; beyond some thousand launches, that of its kernels",
        "device",
        device="cuda",
    ),
    Metric(
        "reserved_bytes",
        "peak reserved",
        "bytes",
        "what torch's caching allocator adds to hold one call; of a CUDA graph the pool that its recording keeps",
        "device",
        device="cuda",
    ),
    Metric(
        "operators",
        "operator calls",
        "count",
        "torch operators that the code or autograd calls",
        "calls",
        verdict="explains",
        time_follows=True,
    ),
    Metric(
        "allocations",
        "allocations",
        "count",
        "blocks of memory that one call asks for",
        "calls",
        verdict="explains",
        time_follows=True,
    ),
    Metric(
        "instructions",
        "instructions",
        "count",
        "of one call in one thread, in user space: by the kernel's counter, or by callgrind, which takes the code of "
        "libraries for AVX2 even where the processor has AVX-512",
        "instructions",
        device="cpu",
    ),
    Metric(
        "mult_adds", "mult-adds (torchinfo)", "count", "of one step of the whole batch, as torchinfo counts", "summary"
    ),
    Metric("input_bytes", "input (torchinfo)", "bytes", "of one step, as torchinfo counts", "summary"),
    Metric(
        "forward_backward_bytes", "forward/backward (torchinfo)", "bytes", "torchinfo's estimate for a step", "summary"
    ),
    Metric(
        "parameter_bytes",
        "params (torchinfo)",
        "bytes",
        "of parameters, as torchinfo counts: without those of modules that have submodules",
        "summary",
    ),
    Metric(
        "compile_seconds",
        "compiling",
        "seconds",
        "the first call of a compiled case, less one that is not; nothing cached, the compiler's own start left out",
        "compiled",
        implementations=COMPILED,
    ),
    Metric(
        "graph_breaks",
        "graph breaks",
        "count",
        "places where torch.compile gives back to Python",
        "compiled",
        implementations=COMPILED,
    ),
    Metric(
        "energy_joules",
        "energy",
        "joules",
        "of a call among many back to back, caches warm, by the device's counter",
        "energy",
    ),
    Metric("energy_joules_per_sequence", "energy a sequence", "joules", "energy over the sequences of a call"),
    Metric(
        "break_even_calls",
        "break-even",
        "count",
        "calls after which compiling has paid, against the fastest way to run the cell without a compiler",
        implementations=COMPILED,
    ),
    Metric("macs_per_second", "MACs per second", "per second", "MACs over the time per call", better="more"),
    Metric(
        "sequences_per_second",
        "sequences per second",
        "per second",
        "sequences of a call (the batch, or the samples of an epoch) over its time",
        better="more",
        brief_in="loading",
    ),
    Metric(
        "limit_seconds",
        "limit",
        "seconds",
        "the longest of: MACs at the machine's best rate, what must be moved at its bandwidth, the state's weights "
        "read from cache in every step, steps one by one",
        better="neither",
    ),
    Metric("times_limit", "times the limit", "times", "the time per call over the limit", is_brief=True),
)

BY_NAME = {metric.name: metric for metric in METRICS}
OBSERVED = tuple(metric for metric in METRICS if metric.probe)


class Unavailable(Exception):
    """A value is not available here; the message gives the reason as a clause."""


@dataclass(frozen=True)
class Readings:
    """Values by name; `missing` has the reason for each that could not be read."""

    values: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_instruments(cls, instruments: Mapping[str, Callable[[], Any]]) -> Self:
        """Read each instrument; one that raises Unavailable is missing, with its reason."""
        readings = cls()
        for name, read in instruments.items():
            try:
                readings.values[name] = read()
            except Unavailable as reason:
                readings.missing[name] = str(reason)
        return readings

    def __or__(self, other: Self) -> Self:
        """Return the readings of both; the other's count where a name is in both."""
        return type(self)(self.values | other.values, self.missing | other.missing)
