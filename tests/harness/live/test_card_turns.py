"""Live calls on a GPU that behaves as a card does in what its clock, its queue and its caches show."""

import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from rnnbench import measure
from rnnbench.analysis.rounds import compare
from rnnbench.analysis.summary import unlike_clocks
from rnnbench.harness import devices
from rnnbench.harness.devices import Device
from rnnbench.harness.live.loop import LiveTurns
from rnnbench.harness.live.measuring import compared
from rnnbench.harness.live.stops import Precision
from rnnbench.suite.file import Settings
from rnnbench.workloads.phases import TimedCall
from tests.doubles.fake_cuda import FakeCuda, FakeLine, kernels
from tests.doubles.fakes import fake_cpu_with_cache
from tests.harness.live import INPUT, QUICK, pair

pytestmark = pytest.mark.usefixtures("one_thread", "short_turns")
SETTINGS = Settings(replicates=2, max_replicates=2, precision=0.5)


def timed(device: Device, now: Callable[[], float], calls: dict[str, Callable[[], None]], **more: Any) -> LiveTurns:
    """Time calls of which the last is the reference."""
    turns = LiveTurns(
        device, {name: TimedCall(call, nullcontext) for name, call in calls.items()}, now=now, seed=1, **more
    )
    turns.until(Precision(list(calls), [*calls][-1], SETTINGS))
    return turns


def test_live_calls_on_a_card_tell_its_clock_rate_and_which_of_them_it_waits_for() -> None:
    line = FakeLine()
    calls = {"loop": kernels(line, 100, host=20e-6, gpu=5e-6), "graph": kernels(line, 100, host=2e-6, gpu=50e-6)}
    turns = timed(FakeCuda(line), line.host, calls)
    assert turns.notes() == [
        "The clock of the GPU ran at 1,755 MHz beside loop, 1,755 MHz beside graph.",
        "loop is launch-bound: the GPU waits for the host.",
    ]
    assert unlike_clocks(turns.card_turns, "graph") == []


@pytest.mark.parametrize(("share", "unlike"), [(0.99, []), (0.9, ["mine"])])
def test_calls_beside_which_the_clock_ran_at_another_rate_are_known(share: float, unlike: list[str]) -> None:
    line = FakeLine()
    rate = line.hertz

    def at(hertz: float) -> Callable[[], None]:
        launch = kernels(line, 100, host=2e-6, gpu=20e-6)

        def call() -> None:
            launch()
            line.hertz = hertz

        return call

    turns = timed(FakeCuda(line), line.host, {"mine": at(share * rate), "torch": at(rate)})
    assert unlike_clocks(turns.card_turns, "torch") == unlike


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system moves no process to a core")
def test_calls_on_a_card_are_made_on_cores_near_it_and_the_thread_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    line = FakeLine()
    device = FakeCuda(line)
    before = os.sched_getaffinity(0)
    near = max(before)
    monkeypatch.setattr(device, "core_choices", lambda name, number: [[near]])
    monkeypatch.setattr(devices, "open_device", lambda name: device)
    with compared(pair(), INPUT, "inference", None, 1):
        assert os.sched_getaffinity(0) == {near}
    assert os.sched_getaffinity(0) == before


def test_caches_are_emptied_before_each_call_if_that_is_asked_for() -> None:
    device, call, flushes = fake_cpu_with_cache(cold=3e-4, warm=1e-4, flush_seconds=1e-3)
    for is_cold, seconds in ((False, 1e-4), (True, 3e-4)):
        turns = timed(device, device._now, {"mine": call, "torch": call}, is_cold=is_cold)
        frame = compare(turns.times, "torch")
        assert frame["seconds"].tolist() == pytest.approx([seconds] * 2, rel=0.01)
        assert bool(flushes) == is_cold
    assert turns.notes() == []


def test_measure_takes_cold_caches_and_refuses_others() -> None:
    measured = measure(pair(), INPUT, caches="cold", **QUICK)
    assert "The caches were emptied before each call." in measured.note
    assert not math.isnan(measured.frame["ratio"]["mine"])
    with pytest.raises(ValueError, match=r"^caches: expected 'warm' or 'cold', found 'tepid'$"):
        measure(pair(), INPUT, caches="tepid", **QUICK)  # type: ignore[arg-type]
