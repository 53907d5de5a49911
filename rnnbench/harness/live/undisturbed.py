"""Keep out of a timed call what slows Python down: garbage collection, debuggers, profilers."""

import cProfile
import gc
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

TOOLS = 6  # places for tools in `sys.monitoring`, which Python has since 3.12


@contextmanager
def undisturbed() -> Iterator[None]:
    """Turn off garbage collection, tracing and profiling, and restore them at the end, whatever else fails."""
    with ExitStack() as put_back:
        if gc.isenabled():
            put_back.callback(gc.enable)
            gc.disable()
        _pause_tracing(put_back)
        _pause_profiling(put_back)
        _pause_monitoring(put_back)
        yield


def _pause_tracing(put_back: ExitStack) -> None:
    put_back.callback(sys.settrace, sys.gettrace())
    sys.settrace(None)


def _pause_profiling(put_back: ExitStack) -> None:
    profiler = sys.getprofile()
    if isinstance(profiler, cProfile.Profile):  # not a function that Python could call for it
        put_back.callback(profiler.enable)
        profiler.disable()
    elif profiler is not None:
        put_back.callback(sys.setprofile, profiler)
        sys.setprofile(None)


def _pause_monitoring(put_back: ExitStack) -> None:
    """Pause the tools of `sys.monitoring`: profilers, coverage and debuggers of newer versions of Python."""
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        return
    for tool in range(TOOLS):
        if monitoring.get_tool(tool) is not None and (events := monitoring.get_events(tool)):
            put_back.callback(monitoring.set_events, tool, events)
            monitoring.set_events(tool, 0)
