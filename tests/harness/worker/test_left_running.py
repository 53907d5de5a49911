"""What a case may not leave behind: threads and processes."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from rnnbench.cells import CellError
from rnnbench.harness.worker.left_running import no_threads_left, running_processes
from tests.doubles import workload as small


@pytest.fixture
def thread() -> Iterator[threading.Thread]:
    """A thread, not yet started, that runs until the end of the test."""
    ended = threading.Event()
    made = threading.Thread(target=ended.wait, name="mine")
    yield made
    ended.set()
    made.join()


def test_a_thread_that_is_left_is_named(thread: threading.Thread) -> None:
    with (
        pytest.raises(CellError, match="the call leaves threads running: mine; end"),
        no_threads_left(small.case("gru")),
    ):
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
from rnnbench.harness.worker.left_running import running_processes
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
