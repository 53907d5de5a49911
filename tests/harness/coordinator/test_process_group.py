import subprocess
import time
from pathlib import Path

import psutil
import pytest

from rnnbench.harness.coordinator.process_group import end_with_descendants


def start(script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)


@pytest.mark.parametrize("script", ["sleep 60 & sleep 60", "setsid sleep 60 & sleep 60"])
def test_all_that_a_process_has_started_ends_with_it(script: str) -> None:
    process = start(f"echo; {script}")
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    family = wait_for_children(process.pid, 2)
    assert not end_with_descendants(process, grace_seconds=0.0)
    assert process.returncode is not None
    psutil.wait_procs(family, 10)
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)


def wait_for_children(pid: int, number: int) -> list[psutil.Process]:
    while len(children := psutil.Process(pid).children(recursive=True)) < number:
        time.sleep(0.01)
    return children


def test_what_is_left_of_a_group_ends_though_its_leader_has_ended_before(tmp_path: Path) -> None:
    process = start(f"sleep 60 & echo $! > {tmp_path}/pid")
    assert process.stdout is not None
    process.stdout.close()
    assert end_with_descendants(process, grace_seconds=10.0)
    pid = int((tmp_path / "pid").read_text())
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert process.returncode == 0
