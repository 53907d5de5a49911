"""One call under torch's profiler: its trace, its stacks, its memory blocks, and the kernels that it launched.

The profiler slows the call, and reports say so. Only counts, and proportions in a figure, come from these times.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch._C._profiler import _EventType

from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.profiling.categories import category
from rnnbench.harness.profiling.stacks import folded_stacks
from rnnbench.store.profiles import CallPart, Category, Kernels
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.probes.calls import ProfilerEvent  # that module mutes the profiler's log before its first use

MAX_EVENTS = 200_000  # in a trace: about 10 MB packed, and 100 MB in a browser
MAX_POINTS = 400  # of a memory line
TRIES = 3  # the shortest is shown: the first in a process is slow
MARK = ": the_call"
NO_ACTIVITY = "torch's profiler can't see what this device does: it was built without CUPTI, or does not find it"
NO_KERNELS = "torch's profiler saw no kernel of this call: another profiler may hold CUPTI, or the driver forbids it"
WAITS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class ProfilerFindings:
    """The results of one profiled call."""

    allocations: int
    allocated_bytes: int
    memory: tuple[tuple[float, int], ...]
    memory_parts: tuple[tuple[CallPart, float], ...]
    kernels: Kernels | None
    no_kernels: str  # why there are no kernels; empty if there are, or if the device launches none
    operator_seconds: dict[tuple[str, str], float]  # name and shapes -> seconds in the operator itself
    stacks: dict[tuple[str, ...], int]  # frames from outside in -> nanoseconds in the innermost alone
    notes: tuple[str, ...] = field(default=())


def profiler(*, whole: bool = True) -> Any:
    """torch's profiler with the settings used here; `whole`: with Python's frames, shapes and memory."""
    supported: Any = torch.profiler.supported_activities  # untyped in torch
    return torch.profiler.profile(activities=supported(), profile_memory=whole, with_stack=whole, record_shapes=whole)


def run_profiler(
    timed: TimedCall,
    drop_gradients: Callable[[], object],
    synchronize: Callable[[], object],
    trace: Path | None,
    *,
    launches: bool = False,
) -> ProfilerFindings:
    """Profile one call, after a warm-up call; its trace is written to the file `trace`, if given.

    `launches`: whether the call's device launches kernels.
    """
    with timed.mode():
        timed.call()
        tries = [_run_once(timed, drop_gradients, synchronize) for _ in range(TRIES)]
    shortest = min(tries, key=_length)
    tree = events_of_call(shortest.profiler.kineto_results.experimental_event_tree())
    events = list(_walk(tree))
    flat = shortest.events()
    notes = [] if trace is None else _write_trace(shortest, trace)
    blocks = [event for event in events if event.tag == _EventType.Allocation]
    grown = [int(block.extra_fields.alloc_size) for block in blocks if block.extra_fields.alloc_size > 0]
    launched = kernels(flat)
    began = min((int(event.start_time_ns) for event in events), default=0)
    return ProfilerFindings(
        allocations=len(grown),
        allocated_bytes=sum(grown),
        memory=thinned(bytes_held(_changes(blocks, began)), MAX_POINTS),
        memory_parts=tuple(_parts(events, began)),
        kernels=launched,
        no_kernels=_no_kernels() if launches and launched is None else "",
        operator_seconds=_operator_seconds(flat),
        stacks=folded_stacks(tree),
        notes=tuple(notes),
    )


def the_call(call: Callable[[], object]) -> None:
    """Make the call in a frame of its own: everything below this frame belongs to the call."""
    call()


def _run_once(timed: TimedCall, drop_gradients: Callable[[], object], synchronize: Callable[[], object]) -> Any:
    """Make the call under the profiler, and return its profile."""
    drop_gradients()  # the profiler complains if a block is freed whose allocation it did not see
    synchronize()
    with profiler() as profiled:
        the_call(timed.call)
        synchronize()
    return profiled


def _length(profiled: Any) -> int:
    """Nanoseconds from the first event of the call to the end of the last."""
    events = events_of_call(profiled.profiler.kineto_results.experimental_event_tree())
    starts = [int(event.start_time_ns) for event in events]
    ends = [int(event.start_time_ns) + int(event.duration_time_ns) for event in events]
    return max(ends, default=0) - min(starts, default=0)


def events_of_call(tree: Iterable[ProfilerEvent]) -> list[ProfilerEvent]:
    """Events of the call, including autograd's in another thread, without the profiler's own frames."""
    inside: list[ProfilerEvent] = []
    waiting = list(tree)
    while waiting:
        event = waiting.pop()
        if str(event.name).endswith(MARK):
            inside += event.children
        elif str(event.name).startswith("autograd::engine"):
            inside.append(event)
        else:
            waiting += event.children
    return inside


def _walk(tree: Iterable[ProfilerEvent]) -> Iterator[ProfilerEvent]:
    """All events of a tree."""
    waiting = list(tree)
    while waiting:
        event = waiting.pop()
        yield event
        waiting += event.children


def _changes(blocks: Iterable[ProfilerEvent], began: int) -> list[tuple[float, int, int]]:
    """Seconds, address and size of each allocation (size above 0) or release of a block."""
    ordered = sorted(blocks, key=lambda event: int(event.start_time_ns))
    return [
        (
            (int(event.start_time_ns) - began) / 1e9,
            int(event.extra_fields.ptr),
            int(event.extra_fields.alloc_size),
        )
        for event in ordered
    ]


def bytes_held(changes: Iterable[tuple[float, int, int]]) -> list[tuple[float, int]]:
    """Seconds and bytes held after each change; blocks from before the first change do not count."""
    sizes: dict[int, int] = {}
    total, line = 0, [(0.0, 0)]
    for seconds, address, size in changes:
        total -= sizes.pop(address, 0)
        if size > 0:
            sizes[address] = size
            total += size
        line.append((seconds, total))
    return line


def thinned(line: Sequence[tuple[float, int]], most: int) -> tuple[tuple[float, int], ...]:
    """At most `most` points: the highest of each stretch, so that no peak is lost."""
    if len(line) <= most:
        return tuple(line)
    size = -(-len(line) // most)
    return tuple(max(line[start : start + size], key=lambda point: point[1]) for start in range(0, len(line), size))


def _parts(events: Iterable[ProfilerEvent], began: int) -> Iterator[tuple[CallPart, float]]:
    """Each part of the call, with the seconds after which it starts."""
    starts: dict[CallPart, int] = {"forward": began}
    for event in events:
        name, start = str(event.name), int(event.start_time_ns)
        part: CallPart | None = None
        if name.startswith("autograd::engine"):
            part = "backward"
        elif name.startswith("Optimizer.step"):
            part = "optimizer"
        if part is not None:
            starts[part] = min(start, starts.get(part, start))
    yield from ((part, (start - began) / 1e9) for part, start in starts.items())


def kernels(flat: Iterable[ProfilerEvent]) -> Kernels | None:
    """The kernels in a profile's flat list, by category of the operator that launched them; None if there are none."""
    seconds: dict[Category, float] = defaultdict(float)
    launches = waits = 0
    for event in flat:
        waits += event.name in WAITS
        for kernel in event.kernels:
            seconds[category(event.name)] += kernel.duration / 1e6
            launches += 1
    return Kernels(launches, dict(seconds), waits) if launches else None


def _no_kernels() -> str:
    """Why a profile of a device that launches kernels shows none."""
    supported: Any = torch.profiler.supported_activities  # untyped in torch
    return NO_KERNELS if supported() - {torch.profiler.ProfilerActivity.CPU} else NO_ACTIVITY


def _operator_seconds(flat: Iterable[ProfilerEvent]) -> dict[tuple[str, str], float]:
    """Seconds in each operator itself, by its name and shapes."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for event in flat:
        if event.name.startswith("aten::"):
            shapes = ", ".join("x".join(map(str, shape)) for shape in event.input_shapes or () if shape)
            seconds[event.name, shapes] += event.self_cpu_time_total / 1e6
    return dict(seconds)


def _write_trace(profiled: Any, file: Path) -> list[str]:
    """Write the trace for Chrome and Perfetto, packed; returns a note if it was too large."""
    with scratch("trace") as folder:  # removed even if the worker is killed at its deadline
        whole = folder / "trace.json"
        profiled.export_chrome_trace(str(whole))
        content = json.loads(whole.read_text(encoding="utf-8"))
    events, notes = first_events(content["traceEvents"], MAX_EVENTS)
    content["traceEvents"] = events
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", encoding="utf-8") as packed:
        json.dump(content, packed)
    return notes


def first_events(events: list[dict[str, Any]], most: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The first `most` events by time, plus those without a time (thread names), and a note if any were cut."""
    timed = sorted((event for event in events if "ts" in event), key=lambda event: float(event["ts"]))
    if len(timed) <= most:
        return events, []
    rest = [event for event in events if "ts" not in event]
    return [*rest, *timed[:most]], [f"the trace has the first {most:,} of {len(timed):,} events"]
