"""The stacks of a profiled call, folded: how long each was the innermost."""

from collections import defaultdict
from collections.abc import Iterable

from torch._C._profiler import _EventType

from rnnbench.workloads.probes.calls import ProfilerEvent

MAX_DEPTH = 60  # of a stack
UNTOLD = (": _call_impl", ": _wrapped_call_impl", ": __getattr__")  # frames with which torch calls a module
MODULE = "nn.Module: "  # begins the frame of a module's call
OWN, CELLS = "rnnbench/", "rnnbench/cells/"  # files of this package, and those of the cells that it measures
OWN_FRAME = "rnnbench: the loop over steps"  # the time of this package's frames that no other frame encloses


def folded_stacks(tree: Iterable[ProfilerEvent]) -> dict[tuple[str, ...], int]:
    """Nanoseconds in each stack of Python frames and operators, without the time in what it calls.

    Frames of this package are left out, except those of its cells: their time is that of the frame that encloses them.
    """
    nanoseconds: dict[tuple[str, ...], int] = defaultdict(int)
    waiting: list[tuple[ProfilerEvent, tuple[str, ...]]] = [(event, ()) for event in tree]
    while waiting:
        event, above = waiting.pop()
        is_told = event.tag != _EventType.PyCCall and not str(event.name).endswith(UNTOLD) and not _is_own(event)
        stack = (*above, frame(str(event.name))) if is_told and len(above) < MAX_DEPTH else above
        inner = [child for child in event.children if child.tag != _EventType.Allocation]
        alone = int(event.duration_time_ns) - sum(int(child.duration_time_ns) for child in inner)
        if alone > 0:
            nanoseconds[stack or (OWN_FRAME,)] += alone
        waiting += [(child, stack) for child in inner]
    return dict(nanoseconds)


def _is_own(event: ProfilerEvent) -> bool:
    """Whether an event is a frame of this package that is not a cell's, or the call of a module that runs one."""
    name = str(event.name)
    if name.startswith(MODULE) or name.endswith(UNTOLD):
        return any(_is_own(child) for child in event.children if child.tag == _EventType.PyCall)
    return name.startswith(OWN) and not name.startswith(CELLS)


def frame(name: str) -> str:
    """`my_cell.py(31): forward`, without the folders of the path; operators are unchanged."""
    line, colon, function = name.rpartition(": ")
    return f"{line.rpartition('/')[2]}: {function}" if colon and "(" in line else name
