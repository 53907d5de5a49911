"""What is compiled in a child: it can be ended, and this process then finds it on disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from rnnbench.harness.turns.schedule import Progress
from rnnbench.speedup import compiling
from rnnbench.speedup.compiling import Child, Compiler, Place, Refusal, can_be_ended, compiled_in_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked only on Linux")


def result_of(work: Callable[[], str]) -> str:
    child = Child(work)
    try:
        while not child.wait(60.0):
            pass
        return child.result()
    finally:
        child.end()


def test_the_text_of_a_child_comes_back_and_it_is_another_process() -> None:
    assert int(result_of(lambda: str(os.getpid()))) != os.getpid()
    text = "ü\n" * 100_000  # more than a pipe holds
    assert result_of(lambda: text) == text


def test_a_child_that_dies_takes_nothing_with_it_and_says_how() -> None:
    def killed() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    assert result_of(lambda: str(os._exit(3))) == "the process that tried it ended with 3"
    assert result_of(killed) == "the process that tried it was ended by SIGKILL"
    assert result_of(lambda: str(1 // 0)) == "the process that tried it ended with 1"


def test_what_a_child_prints_is_not_seen(capfd: pytest.CaptureFixture[str]) -> None:
    def loud() -> str:
        print("out")
        os.write(2, b"err")
        return ""

    assert result_of(loud) == ""
    assert capfd.readouterr() == ("", "")


def test_a_child_that_is_ended_takes_with_it_what_it_has_started() -> None:
    started, ready = os.pipe()

    def wait_for_long() -> str:
        with subprocess.Popen(["sleep", "600"]) as sleeping:
            os.write(ready, str(sleeping.pid).encode())
        return ""

    child = Child(wait_for_long)
    sleeping = psutil.Process(int(os.read(started, 100)))
    child.end()
    psutil.wait_procs([sleeping], timeout=60)
    assert not sleeping.is_running() or sleeping.status() == psutil.STATUS_ZOMBIE
    os.close(started)
    os.close(ready)


def test_modes_of_this_thread_hold_in_the_child() -> None:
    def shown() -> str:
        is_in_autocast, is_inference = torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()
        return f"{torch.get_num_threads()} {is_in_autocast} {is_inference} {torch.is_grad_enabled()}"

    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert result_of(shown) == shown()
    with torch.inference_mode():
        assert result_of(shown) == shown()
    assert result_of(shown) == shown()


def test_a_child_may_use_several_threads_although_this_process_has_used_them() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        matrix = torch.randn(700, 700)
        expected = (matrix @ matrix).tanh().sum()
        found = result_of(lambda: str(float((matrix @ matrix).tanh().sum())))
    finally:
        torch.set_num_threads(before)
    assert float(found) == pytest.approx(float(expected), rel=1e-3, abs=1e-2)


def test_a_compilation_is_ended_at_its_deadline_and_one_that_has_too_little_time_is_not_begun() -> None:
    here: list[int] = []

    def endless() -> str:
        here.append(os.getpid())
        while True:
            time.sleep(1.0)

    late = compiled_in_child(endless, time.monotonic() + 2 * compiling.LEAST_SECONDS)
    assert late.is_untried
    assert late.reason.startswith("compiling it did not end within ")
    early = compiled_in_child(endless, time.monotonic() + compiling.LEAST_SECONDS)
    assert early.is_untried
    assert early.reason.startswith("there were only ")
    assert not here


def test_a_way_that_fails_in_the_child_is_not_tried_here() -> None:
    tried: list[str] = []

    def check() -> str:
        tried.append("")
        return "" if len(tried) > 1 else "it fails"

    assert compiled_in_child(check, time.monotonic() + 600) == Refusal("it fails")
    assert not tried
    tried.append("")
    assert compiled_in_child(check, time.monotonic() + 600) == Refusal()
    assert len(tried) == 2


@pytest.mark.usefixtures("quick_compiler", "one_thread")
def test_what_a_child_has_compiled_is_found_here() -> None:
    from torch._dynamo.utils import counters

    from rnnbench.workloads import compiled

    assert can_be_ended("cpu")
    ways = [compiled.compiled(lambda x: (x @ x).relu() + 1, name) for name in ("compiled", "prepacked")]
    matrix: Tensor = torch.randn(8, 8)
    for run in ways:

        def check(run: Callable[[Tensor], Tensor] = run) -> str:
            with torch.no_grad():
                torch.testing.assert_close(run(matrix), (matrix @ matrix).relu() + 1)
            return ""

        counters.clear()
        assert compiled_in_child(check, time.monotonic() + 900) == Refusal()
        assert counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]
        assert not counters["inductor"]["fxgraph_cache_miss"] + counters["aot_autograd"]["autograd_cache_miss"]


@pytest.mark.parametrize("in_child", [True, False])
def test_a_compilation_is_a_stage_of_its_own_before_the_first_round(
    monkeypatch: pytest.MonkeyPatch, in_child: bool
) -> None:
    def compiled(check: Callable[[], str], deadline: float, show: Callable[[float], None]) -> Refusal:
        show(3.0)
        return Refusal(check())

    steps = list[Progress]()
    monkeypatch.setattr(compiling, "can_be_ended", lambda device: in_child)
    monkeypatch.setattr(compiling, "compiled_in_child", compiled)
    limits: dict[str, Any] = {"deadline": time.monotonic() + 1e6, "budget_seconds": 1e6, "shapes": 1}
    compiler = Compiler(lambda name: "", lambda: 10, Place("cpu", "inference"), on_progress=steps.append, **limits)
    assert not compiler.refusal("compiled").reason
    [step] = steps
    assert (step.replicate, step.visits_done, step.visits, step.stage) == (0, 0, 1, "compiling (compiled)")
    assert step.seconds_left


@pytest.mark.parametrize(("budget", "last_moment"), [(60.0, 145.0), (400.0, 480.0)])
def test_all_ways_together_leave_a_quarter_of_the_time_for_the_clock_and_20_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch, budget: float, last_moment: float
) -> None:
    deadlines = list[float]()

    def late(check: Callable[[], str], deadline: float, show: Callable[[float], None]) -> Refusal:
        deadlines.append(deadline)
        return Refusal("compiling it did not end", is_untried=True)

    monkeypatch.setattr(compiling, "compiled_in_child", late)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    limits: dict[str, Any] = {"budget_seconds": budget, "shapes": 1, "on_progress": print}
    compiler = Compiler(lambda name: "", lambda: 10, Place("cpu", "inference"), deadline=100.0 + budget, **limits)
    assert compiler.refusal("prepacked").is_untried
    monkeypatch.setattr(time, "monotonic", lambda: 130.0)
    assert compiler.refusal("compiled").is_untried
    assert deadlines == [last_moment, last_moment]
