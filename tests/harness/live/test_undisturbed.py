import cProfile
import gc
import sys

import pytest

from rnnbench.harness.live.undisturbed import undisturbed


def work() -> int:
    return sum(range(10))


def test_a_c_profiler_is_paused_and_goes_on_afterwards() -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        with undisturbed():
            work()
        before = calls_of_work(profiler)
        work()
    finally:
        profiler.disable()
    assert (before, calls_of_work(profiler)) == (0, 1)
    assert gc.isenabled()


def calls_of_work(profiler: cProfile.Profile) -> int:
    return sum(entry.callcount for entry in profiler.getstats() if entry.code is work.__code__)


@undisturbed()
def fail() -> None:
    assert (sys.gettrace(), sys.getprofile(), gc.isenabled()) == (None, None, False)
    raise KeyError


def test_everything_is_restored_after_an_error() -> None:
    def watch(frame: object, event: str, argument: object) -> None: ...

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(watch)
    sys.setprofile(watch)
    try:
        with pytest.raises(KeyError):
            fail()
        after = sys.gettrace(), sys.getprofile(), gc.isenabled()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    assert after == (watch, watch, True)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="Python has sys.monitoring since 3.12")
def test_a_tool_that_monitors_is_paused_and_goes_on_afterwards() -> None:
    monitoring = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    tool, seen = 4, list[object]()
    monitoring.use_tool_id(tool, "a test")
    try:
        monitoring.register_callback(tool, monitoring.events.PY_START, lambda code, offset: seen.append(code))
        monitoring.set_events(tool, monitoring.events.PY_START)
        with undisturbed():
            work()
        before = seen.count(work.__code__)
        work()
        after = seen.count(work.__code__)
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    assert (before, after) == (0, 1)
