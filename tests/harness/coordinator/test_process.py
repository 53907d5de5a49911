"""A real worker process: its replies, and how its end is reported."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from rnnbench.errors import UserError
from rnnbench.harness import protocol
from rnnbench.harness.coordinator.process import (
    MAX_PRINTED_BYTES,
    WorkerProcess,
    WorkerStart,
    deadline_seconds,
    ready,
)
from rnnbench.harness.protocol import PROTOCOL_VERSION, Building, Request
from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.records import Case
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.visits import TURNS
from tests.doubles.visits import visit as one_visit
from tests.harness.coordinator.conftest import Begin

CELL = """
import ctypes, os, signal, subprocess, sys, time
import torch
from torch import nn
class {name}(nn.RNNCell):
    def forward(self, input, h):
        {body}
        return super().forward(input, h)
"""


@pytest.fixture
def worker(begin_worker: Begin) -> WorkerProcess:
    process = begin_worker()
    assert process.wait_ready()["protocol"] == PROTOCOL_VERSION
    return process


def prepare(
    worker: WorkerProcess, root: Path, body: str, deadline_seconds: float = 60, name: str = "Mine"
) -> dict[str, Any]:
    (root / f"{name}.py").write_text(CELL.format(name=name, body=body))
    building = Building(str(root), 64)
    request = building.request("prepare", case_of(name), window_seconds=0.001, call_seconds=None)
    return worker.request(request, deadline_seconds)


def case_of(name: str) -> Case:
    return Case(f"{name}.py:{name}", "loop", small.workload(dtype="float32"))


def visit(worker: WorkerProcess, name: str = "Mine") -> dict[str, Any]:
    """Take two turns of a prepared case; returns its first window, or the reply if it failed."""
    reply = worker.request(one_visit(case_of(name), turns=Turns(2, 1, 1, is_warm=False)), 60)
    return reply["windows"][0] if reply["ok"] else reply


def test_a_worker_does_not_obey_a_scheduler_that_tells_all_processes_of_a_job_to_end(worker) -> None:
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.request({"op": "release"}, 60)["ok"]


def test_a_case_that_prints_and_reads_does_not_disturb_the_protocol(worker, tmp_path) -> None:
    body = "print('noise'); sys.stdout.flush(); os.write(1, b'{\"ok\": 0}\\n'); assert sys.stdin.read() == ''"
    assert prepare(worker, tmp_path, body)["ok"]
    assert worker.request({"op": "release"}, 60)["ok"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the files of another process")
def test_what_a_case_prints_is_bounded(worker, tmp_path) -> None:
    assert prepare(worker, tmp_path, f"os.write(2, b'x' * {MAX_PRINTED_BYTES + 1})")["ok"]
    assert Path(f"/proc/{worker.pid}/fd/2").stat().st_size <= MAX_PRINTED_BYTES


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the worker was killed by SIGSEGV"),
        ("os.kill(os.getpid(), 40)", "the worker was killed by signal 40"),
        ("print('last words', file=sys.stderr); os._exit(3)", "the worker exited with 3: last words"),
        (
            f"os.write(2, b'x' * {MAX_PRINTED_BYTES + 1}); time.sleep(1.2); "
            "os.write(2, b'\\nmore\\xff\\n'); os._exit(3)",
            "the worker exited with 3: more\ufffd",
        ),
    ],
)
def test_the_death_of_a_worker_is_told_in_words(worker, tmp_path, body: str, reason: str) -> None:
    reply = prepare(worker, tmp_path, body)
    assert (reply["reason"], reply["failure"]) == (reason, "lost")
    assert worker.request({"op": "release"}, 60) == reply  # it goes on to say why


def test_a_cell_that_takes_over_the_process_harms_only_itself(worker: WorkerProcess, tmp_path: Path) -> None:
    takes_over = """
        os.closerange(0, 3), sys.stdout.close()
        torch.autograd.set_detect_anomaly(True), torch.use_deterministic_algorithms(True), os.chdir("/")
    """.strip()
    assert prepare(worker, tmp_path, takes_over)["ok"]
    says_all_is_well = """
        assert not torch.is_anomaly_enabled() and not torch.are_deterministic_algorithms_enabled()
        assert os.getcwd() != "/"
        assert sys.stdin.read() == ""
        print("heard")
    """.strip()
    prepared = prepare(worker, tmp_path, says_all_is_well, name="Other")
    assert prepared["ok"], prepared["reason"]
    assert visit(worker, "Other")["printed"]


# In the first call; a started program has its own command line shortly after `Popen` returns.
STARTS = "if 'p' not in vars(self): self.p = subprocess.Popen({command}); time.sleep(0.2)"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.close(2); raise ValueError('deaf')", r"(ValueError: deaf|OSError: .*descriptor) \(Mine.py:7\)"),
        (
            STARTS.format(command=["sleep", "300"]),
            r"the call leaves processes running: \d+ \(sleep 300\)",
        ),
        (
            STARTS.format(command=["setsid", "sleep", "300"]),
            r"the call leaves processes running: \d+ \(.*sleep 300\)",
        ),
    ],
)
def test_a_cell_whose_deeds_can_not_be_undone_fails(
    worker: WorkerProcess, tmp_path: Path, body: str, reason: str
) -> None:
    reply = prepare(worker, tmp_path, body)
    assert re.match(reason, reply["reason"])


@pytest.mark.parametrize(("command", "then"), [(["setsid", "sleep", "300"], "pass"), (["sleep", "300"], "os._exit(3)")])
def test_what_a_case_has_started_ends_with_its_worker(
    worker: WorkerProcess, tmp_path: Path, command: list[str], then: str
) -> None:
    file = tmp_path / "pid"
    body = f"self.p = subprocess.Popen({command}); open({str(file)!r}, 'w').write(str(self.p.pid)); {then}"
    prepare(worker, tmp_path, body)
    worker.close()
    deadline = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(int(file.read_text())).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_pause_of_this_process_is_no_fault_of_the_worker(tmp_path: Path, begin_worker: Begin) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '{}\\n'\nread line\nsleep 1\nprintf '{\"id\": 1, \"ok\": true}\\n'\n")
    python.chmod(0o755)
    stops: list[float] = []  # extra seconds that pass before each look at the clock
    shift = 0.0

    def clock() -> float:
        nonlocal shift
        shift += stops.pop(0) if stops else 0.0
        return time.monotonic() + shift

    worker = begin_worker("0000", python=str(python), now=clock)
    assert worker.wait_ready() == {}
    stops += [0.0, 3600.0]  # during the first wait for the reply
    assert worker.request({"op": "release"}, 2.0)["ok"]


@pytest.mark.usefixtures("real_workers")
def test_a_worker_imports_nothing_from_the_current_folder_that_no_suite_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin_worker: Begin
) -> None:
    for name in ("random", "json", "sitecustomize", "usercustomize", "torch", "numpy", "rnnbench", "triton"):
        (tmp_path / f"{name}.py").write_text("import os; os._exit(9)\n")
    (tmp_path / "layers.py").write_text("from torch.nn import RNNCell\n")
    (tmp_path / "cells.py").write_text("import layers\nclass Mine(layers.RNNCell): ...\n")
    monkeypatch.chdir(tmp_path)
    worker = begin_worker()
    worker.wait_ready()
    case = Case("cells:Mine", "loop", small.workload(dtype="float32"))
    request = Building("/", 64).request("prepare", case, window_seconds=0.001, call_seconds=None)
    reply = worker.request(request, 60)
    assert reply["ok"], reply["reason"]


def test_a_worker_that_hangs_is_ended_after_its_deadline(worker, tmp_path) -> None:
    reply = prepare(worker, tmp_path, "time.sleep(60)", deadline_seconds=0.5)
    assert reply["reason"] == "no answer within 0.5 s"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system can't pin processes")
def test_every_thread_of_a_worker_is_pinned(worker) -> None:
    core = max(os.sched_getaffinity(0))
    worker.pin([core])
    tasks = [int(task.name) for task in Path(f"/proc/{worker.pid}/task").iterdir()]
    assert {frozenset(os.sched_getaffinity(task)) for task in tasks} == {frozenset({core})}


def test_ctrl_c_in_the_terminal_does_not_reach_a_worker(worker) -> None:
    assert os.getsid(worker.pid) != os.getsid(0)


def test_a_worker_does_not_outlive_its_coordinator(tmp_path) -> None:
    code = (
        "import os, signal; from rnnbench.harness.coordinator.process import WorkerProcess; w = WorkerProcess('0000');"
        "w.wait_ready(); print(w._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stdout)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}/cmdline").exists()


@pytest.mark.usefixtures("real_workers")
def test_workers_of_one_layout_have_the_same_hash_seed_and_addresses_where_linux_allows_it(
    begin_worker: Begin,
) -> None:
    pair = [begin_worker(layout=7) for _ in range(2)]
    hellos = [worker.wait_ready() for worker in (*pair, begin_worker())]
    maps = [sorted(addresses(worker)) for worker in pair]
    assert hellos[0]["fixed_addresses"] == hellos[1]["fixed_addresses"]
    assert not hellos[2]["fixed_addresses"]
    assert (maps[0] == maps[1]) == hellos[0]["fixed_addresses"]


def addresses(worker: WorkerProcess) -> set[str]:
    """The addresses of torch's libraries in a worker."""
    lines = Path(f"/proc/{worker.pid}/maps").read_text().splitlines()
    return {line.split()[0] for line in lines if "libtorch_cpu" in line}


SETS = """
import os
from torch import nn
os.environ["OF_THE_IMPORT"] = "here"
class Mine(nn.RNNCell):
    def forward(self, input, h):
        with open(__file__ + ".seen", "w") as file:
            file.write(f"{os.environ.get('OF_THE_IMPORT')}")
        return super().forward(input, h)
"""


@pytest.mark.parametrize(("cells", "seen"), [([], "None"), (["Mine.py:Mine"], "here")])
def test_what_an_import_at_the_start_sets_stays_for_every_call(
    tmp_path: Path, begin_worker: Begin, cells: list[str], seen: str
) -> None:
    (tmp_path / "Mine.py").write_text(SETS)
    building = Building(str(tmp_path), 64)
    process = begin_worker(first=building.imports(cells, ""))
    process.wait_ready()
    request = building.request("prepare", case_of("Mine"), window_seconds=0.001, call_seconds=None)
    prepared = process.request(request, 60)
    assert prepared["ok"], prepared
    assert visit(process)["calls"] == 1
    assert (tmp_path / "Mine.py.seen").read_text() == seen


def test_a_worker_that_is_lost_at_its_start_is_started_once_more(tmp_path: Path, begin_worker: Begin) -> None:
    (tmp_path / "Mine.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    killed = partial(begin_worker, first=Building(str(tmp_path), 64).imports(["Mine.py:Mine"], ""))
    starts: list[Any] = [begin_worker, killed]
    _, reply = ready(lambda: starts.pop()())  # noqa: PLW0108 - each start is another one
    assert reply["protocol"] == PROTOCOL_VERSION
    with pytest.raises(UserError, match=r"^no worker can start: the worker was killed by SIGKILL$"):
        ready(killed)


@pytest.mark.usefixtures("real_workers")
def test_workers_that_have_ended_leave_no_file_open_and_no_child() -> None:
    def resources() -> tuple[int, int, int]:
        process = psutil.Process()
        return process.num_fds(), len(process.children()), process.num_threads()

    before = resources()
    for _ in range(5):
        WorkerProcess("0000").close()
    assert resources() == before


@pytest.mark.usefixtures("real_workers")
def test_a_worker_that_another_command_runs_is_started_and_not_forked(begin_worker: Begin) -> None:
    """Counted instructions would be those of no valgrind."""
    worker = begin_worker(under=["env"], origin=object())  # has no `fork`
    assert worker.wait_ready()["protocol"] == PROTOCOL_VERSION


@pytest.mark.usefixtures("real_workers")
def test_a_system_that_starts_no_process_is_told_as_it_is_and_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*arguments: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    before = psutil.Process().num_fds()
    with pytest.raises(UserError, match=f"^no worker can start: {tmp_path}/python: No such file or directory$"):
        WorkerProcess("0000", WorkerStart(python=f"{tmp_path}/python"))
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", none_left)
        with pytest.raises(UserError, match=r"^no worker can start: Resource temporarily unavailable$"):
            WorkerProcess("0000")
    assert psutil.Process().num_fds() == before


BUILDING, EAGER, COMPILED = Building("", 16), small.case("gru"), small.case("gru", "compiled")


@pytest.mark.parametrize(
    ("asked", "settings", "seconds"),
    [
        (BUILDING.request("observe", EAGER), {}, 120.0),
        (BUILDING.request("observe", COMPILED), {}, 600.0),
        (BUILDING.request("energy", COMPILED), {"compile_deadline_seconds": 50.0, "deadline_seconds": 40.0}, 50.0),
        (BUILDING.request("prepare", COMPILED), {"deadline_seconds": 900.0}, 900.0),  # never less than others
        (BUILDING.request("count", EAGER), {}, 2400.0),
        (protocol.visit([COMPILED], [TURNS], [], "run", 2.0), {}, 160.0),  # it is compiled by then
        (protocol.release(), {}, 120.0),
    ],
)
def test_what_compiles_or_counts_has_a_deadline_of_its_own_and_a_visit_one_that_follows_from_its_turns(
    asked: Request, settings: dict[str, Any], seconds: float
) -> None:
    assert deadline_seconds(asked, Settings.model_validate(settings)) == seconds


def test_a_worker_without_room_for_its_files_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError, match=f"in {tmp_path}: No space left on device; set TMPDIR"):
        WorkerProcess("worker")
