"""What is compiled in a child: it can be ended, and this process then finds it on disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from rnnbench.harness.turns.schedule import Progress
from rnnbench.speedup import compiling
from rnnbench.speedup.compiling import Child, Compiler, Place, Refusal, can_be_ended, compiled_in_children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked only on Linux")


def result_of(work: Callable[[], str]) -> str:
    child = Child(work)
    try:
        while not child.read():
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


def alone(check: Callable[[], str], deadline: float) -> Refusal:
    """Why a way can't be used that is compiled by itself, without the time that it took."""
    return compiled_in_children({"way": check}, deadline)["way"]


def test_a_compilation_is_ended_at_its_deadline_and_one_that_has_too_little_time_is_not_begun() -> None:
    here: list[int] = []

    def endless() -> str:
        here.append(os.getpid())
        while True:
            time.sleep(1.0)

    import_module("torch._inductor.compile_fx")  # which takes a second or two of the first compilation
    late = alone(endless, time.monotonic() + 2 * compiling.LEAST_SECONDS)
    assert late.is_untried
    assert late.reason.startswith("compiling it did not end within ")
    early = alone(endless, time.monotonic() + compiling.LEAST_SECONDS)
    assert early.is_untried
    assert early.reason.startswith("there were only ")
    assert not here


def test_a_way_that_fails_in_the_child_is_not_tried_here() -> None:
    tried: list[str] = []

    def check() -> str:
        tried.append("")
        return "" if len(tried) > 1 else "it fails"

    assert alone(check, time.monotonic() + 600) == Refusal("it fails")
    assert not tried
    tried.append("")
    compiled = alone(check, time.monotonic() + 600)
    assert compiled == Refusal()
    assert compiled.compile_seconds > 0
    assert len(tried) == 2


@pytest.mark.parametrize(("cores", "begun_first"), [({0, 1}, ["first", "second"]), ({0}, ["first"])])
def test_ways_are_compiled_side_by_side_on_the_cores_that_there_are(
    cores: set[int], begun_first: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first way ends as soon as those have begun that may be compiled beside it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores)
    parent = os.getpid()

    def check(name: str) -> str:
        if os.getpid() == parent:
            return ""
        begun = sorted(file.name for file in tmp_path.iterdir())
        (tmp_path / name).touch()
        while name == "first" and not all((tmp_path / each).exists() for each in begun_first):
            time.sleep(0.01)
        return "" if name == "first" else f"{begun}"

    found = compiled_in_children({name: partial(check, name) for name in ("first", "second")}, time.monotonic() + 100)
    assert [*found] == ["first", "second"]
    assert found["first"] == Refusal()
    assert found["second"].reason in (["[]", "['first']"] if len(cores) > 1 else ["['first']"])


def test_what_is_not_compiled_in_time_does_not_hold_up_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()

    def endless() -> str:
        assert os.getpid() != parent, "only a child can be ended"
        while True:
            time.sleep(1.0)

    import_module("torch._inductor.compile_fx")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    checks = {"endless": endless, "short": lambda: "", "never begun": endless}
    seconds = 1.3 * compiling.LEAST_SECONDS * (1 + compiling.AGAIN_SHARE * len(checks))
    found = compiled_in_children(checks, time.monotonic() + seconds)
    assert found["short"] == Refusal()
    assert "did not end" in found["endless"].reason
    assert found["never begun"].is_untried


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
        assert alone(check, time.monotonic() + 900) == Refusal()
        assert counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]
        assert not counters["inductor"]["fxgraph_cache_miss"] + counters["aot_autograd"]["autograd_cache_miss"]


Checks = Mapping[str, Callable[[], str]]


@pytest.mark.parametrize("in_child", [True, False])
def test_a_compilation_is_a_stage_of_its_own_before_the_first_round(
    monkeypatch: pytest.MonkeyPatch, in_child: bool
) -> None:
    def compiled(checks: Checks, deadline: float, show: Callable[[float], None]) -> dict[str, Refusal]:
        show(3.0)
        return {name: Refusal(check()) for name, check in checks.items()}

    steps = list[Progress]()
    monkeypatch.setattr(compiling, "can_be_ended", lambda device: in_child)
    monkeypatch.setattr(compiling, "compiled_in_children", compiled)
    limits: dict[str, Any] = {"deadline": time.monotonic() + 1e6, "budget_seconds": 1e6, "shapes": 1}
    compiler = Compiler(lambda name: "", lambda: 10, Place("cpu", "inference"), on_progress=steps.append, **limits)
    assert not any(refusal.reason for refusal in compiler.refusals(["prepacked", "compiled"]).values())
    stages = ["compiling (prepacked, compiled)"] if in_child else ["compiling (prepacked)", "compiling (compiled)"]
    assert [(step.replicate, step.visits_done, step.visits, step.stage) for step in steps] == [
        (0, 0, 1, stage) for stage in stages
    ]
    assert all(step.seconds_left for step in steps)


@pytest.mark.parametrize(("budget", "last_moment"), [(60.0, 145.0), (400.0, 480.0)])
def test_all_ways_together_leave_a_quarter_of_the_time_for_the_clock_and_20_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch, budget: float, last_moment: float
) -> None:
    deadlines = list[float]()

    def late(checks: Checks, deadline: float, show: Callable[[float], None]) -> dict[str, Refusal]:
        deadlines.append(deadline)
        return dict.fromkeys(checks, Refusal("compiling it did not end", is_untried=True))

    monkeypatch.setattr(compiling, "compiled_in_children", late)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    limits: dict[str, Any] = {"budget_seconds": budget, "shapes": 1, "on_progress": print}
    compiler = Compiler(lambda name: "", lambda: 10, Place("cpu", "inference"), deadline=100.0 + budget, **limits)
    found = compiler.refusals(["prepacked", "compiled"])
    assert all("did not end; give a budget of" in refusal.reason for refusal in found.values())
    assert deadlines == [last_moment]
