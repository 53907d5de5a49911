import multiprocessing
import os
import subprocess
import sys
import time

import psutil
import pytest

from rnnbench.harness.worker import child_processes


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", os.fork)
    monkeypatch.setattr(os, "forkpty", os.forkpty)
    child_processes.refuse_copies()


@pytest.mark.usefixtures("refusing")
def test_a_process_can_not_copy_itself() -> None:
    for fork in (os.fork, os.forkpty):
        with pytest.raises(RuntimeError, match=r"os\.fork would copy rnnbench's worker"):
            fork()


@pytest.mark.usefixtures("refusing")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_multiprocessing_still_works() -> None:
    process = multiprocessing.get_context("fork").Process(target=sys.exit, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == 3


def test_what_runs_is_told_and_what_has_ended_is_not() -> None:
    before = child_processes.running()
    with subprocess.Popen(["sleep", "60"]) as running, subprocess.Popen(["true"]) as ended:
        while not psutil.Process(running.pid).cmdline():  # on a busy machine a new process has no arguments at first
            time.sleep(0.001)
        new = {pid: name for pid, name in child_processes.running().items() if pid not in before}
        running.kill()
    new.pop(ended.pid, None)
    assert new == {running.pid: f"{running.pid} (sleep 60)"}


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone gives orphans to another process than the first")
def test_an_orphan_belongs_to_the_process_that_adopts_it() -> None:
    code = """
import subprocess, sys, time
from rnnbench.harness.worker import child_processes
child_processes.adopt_orphans()
subprocess.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"])
until = time.monotonic() + 10
while "sleep 60" not in (names := " ".join(child_processes.running().values())) and time.monotonic() < until:
    time.sleep(0.01)  # `setsid` becomes `sleep` a moment later
print(names, flush=True)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "sleep 60" in output
    psutil.Process(int(output.split()[0])).kill()
