"""Cases that a worker prepares, times and counts, and what they may leave behind: no thread, no process."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import Mock

import psutil
import pytest
import torch

from rnnbench.cells import CellError, CellMissing, load
from rnnbench.harness import devices, protocol
from rnnbench.harness.coordinator.process import MARK
from rnnbench.harness.devices import Clocked, Cpu
from rnnbench.harness.turns.schedule import Turns
from rnnbench.harness.worker import cases
from rnnbench.harness.worker import operations as operations_module
from rnnbench.harness.worker.cases import no_threads_left, running_processes
from rnnbench.store.metrics import Unavailable
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import least_bytes
from tests.doubles import repository
from tests.doubles import workload as small
from tests.doubles.visits import TURNS, operations, visit
from tests.harness.worker.test_operations import prepare, take_turns


def test_a_prepared_case_can_be_timed_and_is_forgotten_on_release() -> None:
    worker, case = operations(), small.case("gru")
    reply = prepare(worker, case)
    assert reply["ok"]
    assert reply["warmup_windows"] >= 1
    assert reply["wall_seconds"] == reply["call_seconds"] > 0
    first, second = take_turns(worker, case, Turns(turns=6, blocks=3, calls=2, is_warm=False))["windows"]
    assert first["case"] == second["case"] == case.key
    assert first["calls"] == second["calls"] == 18
    assert first["waits"] == 3
    assert len(first["quantiles"]) == 9
    assert sorted(first["quantiles"]) == list(first["quantiles"])
    assert worker.handle({"op": "release"})["ok"]
    assert not take_turns(worker, case)["ok"]


@pytest.mark.parametrize("is_warm", [False, True])
def test_both_halves_of_the_turns_see_a_drift_alike(monkeypatch: pytest.MonkeyPatch, is_warm: bool) -> None:
    worker, case, made = operations(), small.case("gru"), list[int]()
    assert prepare(worker, case, call_seconds=0.125)["call_seconds"] == 0.125  # which is known, so not calibrated
    clock = Cpu.clock

    def drifting(*arguments: Any, **options: Any) -> Any:
        made.append(clock(*arguments, **options).calls)
        number = len(made)
        return Clocked([float(number)], float(number), number, number, made[-1])

    monkeypatch.setattr(Cpu, "clock", drifting)
    first, second = take_turns(worker, case, Turns(turns=8, blocks=1, calls=1, is_warm=is_warm))["windows"]
    assert made == [1 + (not is_warm)] * 8  # a turn of short calls begins with one that is not clocked
    assert list(first["quantiles"]) == [1, 4, 5, 8]
    assert list(second["quantiles"]) == [2, 3, 6, 7]


def test_a_case_is_timed_cold_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    monkeypatch.setattr(Cpu, "flush", lambda _: flushes.append(1))
    worker, case = operations(), small.case("gru", caches="cold")
    reply = prepare(worker, case)
    assert reply["wall_seconds"] >= reply["call_seconds"] > 0
    before = len(flushes)
    window, _ = take_turns(worker, case, Turns(turns=2, blocks=4, calls=1, is_warm=False))["windows"]
    assert window["calls"] == 4
    assert len(flushes) - before == 2 * (1 + 4)  # one flush in each turn is for the call that is not clocked


class Tells(Cpu):
    """A device that tells the rate of its clock, and shows ranges to a profiler."""

    shown: ClassVar[list[str]] = []
    hertz: ClassVar[list[float]] = []

    def clock_hertz(self) -> float | None:
        self.shown.append("clock")
        return self.hertz.pop(0)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        self.shown.append(name)
        yield
        self.shown.append("end")


def test_each_turn_is_a_range_of_the_cases_name_and_tells_the_rate_of_the_clock_after_its_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "BACKENDS", {"cpu": Tells})
    worker = operations()
    case = small.case("gru")
    assert prepare(worker, case)["ok"]
    Tells.shown.clear()
    Tells.hertz[:] = [1.7e9, 1.1e9, 1.2e9, 1.5e9, 1.9e9, 1.3e9]
    windows = take_turns(worker, case, Turns(turns=6, blocks=1, calls=1, is_warm=False))["windows"]
    assert Tells.shown == [case.key, "clock", "end"] * 6
    assert [window["sm_clock_mhz"] for window in windows] == pytest.approx([1700.0, 1200.0])


def test_a_device_is_heated_by_turns_of_all_cases_that_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = operations()
    made = [small.case("gru"), small.case("vanilla")]
    for case in made:
        assert prepare(worker, case)["ok"]
    clock = Mock(side_effect=[float(second) for second in range(7)])
    monkeypatch.setattr(operations_module, "time", Mock(monotonic=clock))
    taken: list[str] = []

    def take_turn(self: cases.PreparedCase, plan: Turns, pulses: Any) -> Clocked:
        taken.append(self.built.case.cell)
        return Clocked([1.0] * 3, 3.0, 3.0, 3.0, 3)

    monkeypatch.setattr(cases.PreparedCase, "take_turn", take_turn)
    request = visit(*made) | {"preheat_seconds": 5.0}
    assert worker.handle(request)["ok"]
    assert taken == ["gru", "vanilla"] * 2 + ["gru"] * 2 + ["vanilla"] * 2  # four before the turns that count


@pytest.mark.parametrize(("processes", "is_shared", "fits"), [(1, False, True), (2, False, False), (2, True, True)])
def test_two_processes_share_the_memory_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, processes: int, is_shared: bool, fits: bool
) -> None:
    class Own(Cpu):
        memory_bytes = int(1.5 * least_bytes(small.workload()))

    Own.is_shared = is_shared
    monkeypatch.setattr(devices, "BACKENDS", {"cpu": Own})
    if fits:
        cases.check_fits(small.case("vanilla"), processes)
        return
    with pytest.raises(Skip, match="for each of 2 processes"):
        cases.check_fits(small.case("vanilla"), processes)


def shared_mark() -> int:
    """Return memory that shows the number of the case in turn."""
    mark = os.memfd_create("mark")
    os.pwrite(mark, MARK.pack(-1), 0)
    return mark


def test_two_sides_take_turns_in_the_given_order_and_show_which_case_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases, names = [small.case("gru"), small.case("vanilla")], ("base", "head")
    marks, (to_base, to_head) = {name: shared_mark() for name in names}, (os.pipe(), os.pipe())
    relays = (
        {"marks": marks["base"], "token_from": to_base[0], "token_to": to_head[1]},
        {"marks": marks["head"], "token_from": to_head[0], "token_to": to_base[1]},
    )
    workers = {name: operations(relay=relay) for name, relay in zip(names, relays, strict=True)}
    for worker in workers.values():
        assert all(prepare(worker, case)["ok"] for case in cases)
    seen: list[tuple[str, int]] = []
    clock = Cpu.clock

    def watched(*arguments: Any, **options: Any) -> Any:
        numbers = {name: MARK.unpack(os.pread(mark, MARK.size, 0))[0] for name, mark in marks.items()}
        [(name, number)] = [(name, number) for name, number in numbers.items() if number >= 0]
        seen.append((name, number))
        return clock(*arguments, **options)

    monkeypatch.setattr(Cpu, "clock", watched)
    order = [("head", 0), ("base", 0), ("base", 0), ("head", 0), ("base", 1), ("head", 1), ("head", 1), ("base", 1)]
    requests = {name: protocol.visit(cases, [TURNS] * 2, order, name, 1.0) for name in names}
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda name: workers[name].handle({**requests[name]}), names))
    assert all(reply["ok"] for reply in replies), replies
    assert seen == order


def test_a_case_that_raises_in_its_turn_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    cases, mark = [small.case("gru"), small.case("vanilla")], shared_mark()
    worker = operations(relay={"marks": mark})
    for case in cases:
        prepare(worker, case)
    clock, good = Cpu.clock, iter(range(2))

    def raising(*arguments: Any, **options: Any) -> Any:
        next(good)
        return clock(*arguments, **options)

    monkeypatch.setattr(Cpu, "clock", raising)
    assert worker.handle(visit(*cases))["reason"].startswith("StopIteration")
    assert MARK.unpack(os.pread(mark, MARK.size, 0)) == (1,)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> TimedCall:
    """A call; in place of instructions, the kernel counts how often it was made."""
    call = Mock()
    monkeypatch.setattr(cases, "counting", lambda: nullcontext(lambda: call.call_count))
    return TimedCall(call, nullcontext, restart=Mock())


def test_one_call_is_counted_in_each_round_after_enough_steps(timed: TimedCall) -> None:
    before = set(vars(torch.nn.Module)), set(vars(torch.Tensor))
    assert cases.count_instructions(timed, 16, "perf_event") == [1] * cases.COUNTED_ROUNDS
    assert (set(vars(torch.nn.Module)), set(vars(torch.Tensor))) == before  # the classes that were changed
    warmups = cases.WARMUP_STEPS // 16
    assert timed.call.call_count == warmups + cases.COUNTED_ROUNDS * (warmups + 1)  # type: ignore[attr-defined]
    assert timed.restart.call_count == cases.COUNTED_ROUNDS  # type: ignore[attr-defined]


def test_under_callgrind_all_calls_so_far_and_then_the_one_are_dumped(
    timed: TimedCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Mock = timed.call  # type: ignore[assignment]
    toggle, dump = Mock(side_effect=lambda: calls("toggle")), Mock(side_effect=lambda: calls("dump"))
    monkeypatch.setattr(torch._C, "_valgrind_toggle", toggle, raising=False)
    monkeypatch.setattr(torch._C, "_valgrind_toggle_and_dump_stats", dump, raising=False)
    monkeypatch.setattr(cases, "switch_callgrind", lambda prefix, state: calls(f"{prefix} {state}"))
    assert cases.count_instructions(timed, 100, "callgrind", "vgdb") == [0] * cases.COUNTED_ROUNDS
    made = [" ".join(each.args) or "call" for each in calls.call_args_list]
    rounds = ["call", *["toggle", "call", "dump"] * 2] * cases.COUNTED_ROUNDS
    assert made == ["call", "vgdb on", *rounds, "vgdb off"]  # what is imported in the first call is not seen


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo no such process >&2; exit 3", "callgrind can't be switched on: no such process"),
        ("exec sleep 60", "callgrind can't be switched on: no answer within 0.5 s"),
    ],
)
def test_a_callgrind_that_can_not_be_switched_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, reason: str
) -> None:
    repository.executable(tmp_path / "vgdb", program)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(cases, "SWITCH_SECONDS", 0.5)
    with pytest.raises(Unavailable, match=reason):
        cases.switch_callgrind("prefix", "on")


@pytest.mark.parametrize(
    ("error", "arose", "lacks"),
    [
        ("import nothing_of_this_name", ["mine.py"], ["nothing_of_this_name"]),
        ("from os import nothing_of_this_name", ["mine.py", "os.py"], []),
        ("class Mine(:", ["mine.py"], []),
        ("1 / 0", ["mine.py"], []),
    ],
)
def test_where_a_failed_import_arose_is_told(tmp_path: Path, error: str, arose: list[str], lacks: list[str]) -> None:
    (tmp_path / "mine.py").write_text(error)
    with pytest.raises(CellMissing) as raised:
        load("mine.py:Mine", tmp_path)
    found = cases.failed_imports(raised.value)
    assert [Path(file).name for file in found["arose_in"] if file != __file__] == arose
    assert found["lacks"] == lacks
    assert found["is_lack"] == ("import" in error)


@pytest.fixture
def thread() -> Iterator[threading.Thread]:
    """A thread, not yet started, that runs until the end of the test."""
    ended = threading.Event()
    made = threading.Thread(target=ended.wait, name="mine")
    yield made
    ended.set()
    made.join()


def test_a_thread_that_is_left_is_named(thread: threading.Thread) -> None:
    with pytest.raises(CellError, match="it leaves threads running: mine; end"), no_threads_left(small.case("gru")):
        thread.start()


def test_a_thread_that_ran_before_or_has_ended_is_none_of_the_cases(thread: threading.Thread) -> None:
    with no_threads_left(small.case("gru", phase="epoch", samples=8, workers=1)):
        thread.start()  # it feeds processes that load data
    with no_threads_left(small.case("gru")):
        other = threading.Thread(target=int)
        other.start()
        other.join()
    assert thread.is_alive()


def test_what_runs_is_told_and_what_has_ended_is_not() -> None:
    before = running_processes()
    with subprocess.Popen(["sleep", "60"]) as running, subprocess.Popen(["true"]) as ended:
        while not psutil.Process(running.pid).cmdline():  # on a busy machine a new process has no arguments at first
            time.sleep(0.001)
        new = {pid: name for pid, name in running_processes().items() if pid not in before}
        running.kill()
    new.pop(ended.pid, None)
    assert new == {running.pid: f"{running.pid} (sleep 60)"}


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone gives orphans to another process than the first")
def test_an_orphan_belongs_to_the_process_that_adopts_it() -> None:
    code = """
import subprocess, time
from rnnbench.harness.worker.cases import running_processes
from rnnbench.harness.worker.loop import bind_to_family
bind_to_family()
subprocess.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"])
until = time.monotonic() + 10
while "sleep 60" not in (names := " ".join(running_processes().values())) and time.monotonic() < until:
    time.sleep(0.01)  # `setsid` becomes `sleep` a moment later
print(names, flush=True)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "sleep 60" in output
    psutil.Process(int(output.split()[0])).kill()
