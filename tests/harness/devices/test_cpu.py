"""The processor: its clock, its caches, resident pages against blocks of known size, and energy counters."""

import json
import mmap
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from rnnbench.harness.devices import Cpu, Meter, cpu, why_not
from rnnbench.harness.machine.cores import SCHEDSTAT
from rnnbench.store.metrics import Unavailable
from rnnbench.store.run_info import Cache, Processor


@pytest.mark.parametrize("name", ["cpu:3", "tpu", "", "cuda:x", "cuda:99", "cuda:", "cuda:0:1", "cudacpu"])
def test_a_device_that_is_not_there_is_refused_in_words(name: str) -> None:
    assert re.fullmatch(r"no device '.*[:;].*|torch .* without CUDA.*|torch finds no CUDA.*", why_not(name))


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_batch_is_clocked_as_a_whole_and_the_first_call_not_unless_it_is_warm(is_warm: bool) -> None:
    calls: list[int] = []
    clocked = Cpu().clock(lambda: calls.append(1), batches=3, batch=5, is_warm=is_warm)
    assert len(calls) == clocked.calls == 15 + (not is_warm)
    assert len(clocked.batch_seconds) == 3
    assert sum(clocked.batch_seconds) == pytest.approx(clocked.seconds)


@pytest.mark.parametrize("counts_waits", [False, True])
def test_waits_for_a_core_are_taken_off_unless_they_are_to_count(
    monkeypatch: pytest.MonkeyPatch, counts_waits: bool
) -> None:
    waits = iter([0.0, 0.5, 0.5, 9.5])  # half a second in the first batch; a wait just before or after the second
    monkeypatch.setattr(cpu, "core_waits", lambda: nullcontext((waits.__next__, waits.__next__)))
    looks = iter([0.0, 0.0, 1.0, 1.0, 4.0])  # the first look of all, then both of each batch
    now = Mock(side_effect=looks)
    monkeypatch.setattr(cpu, "time", Mock(perf_counter=now))
    clocked = Cpu(now=now).clock(lambda: None, batches=2, batch=1, counts_waits=counts_waits)
    assert clocked.batch_seconds == [1.0 if counts_waits else 0.5, 3.0]
    assert (clocked.seconds, clocked.host_seconds) == (sum(clocked.batch_seconds), 4.0)


def test_a_flush_before_every_cold_call_touches_more_than_the_caches_of_all_cores_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caches = (Cache(1, "data", 1 << 10, 1), Cache(3, "unified", 1 << 20, 2))
    monkeypatch.setattr(cpu, "processor", lambda: Processor(caches=caches))
    monkeypatch.setattr(cpu, "allowed_cores", lambda: [0, 1, 2])
    cpu._block.cache_clear()
    try:
        block, seen = cpu._block(3), list[int]()
        assert block.nbytes == 1.5 * (2 << 20)
        clocked = Cpu().clock_cold(lambda: seen.append(int(block[0])), calls=4)
        assert seen == [1, 2, 3, 4, 5]
        assert clocked.seconds == pytest.approx(sum(clocked.batch_seconds))
        with torch.inference_mode():
            Cpu().flush()
        assert set(block.tolist()) == {6}
    finally:
        cpu._block.cache_clear()


SCRIPT = """
import json, sys
import torch
from rnnbench.workloads.phases import TimedCall
from rnnbench.harness.devices.cpu import resident_bytes

def one(size):
    torch.ones(size, dtype=torch.uint8)

def in_turn(size):
    one(size), one(size)

def untouched(size):
    torch.empty(size, dtype=torch.uint8)

sizes = json.loads(sys.argv[1])
print(json.dumps({call.__name__: [resident_bytes(TimedCall(lambda: call(size), torch.inference_mode)) for size in sizes]
                  for call in (one, in_turn, untouched)}))
"""
SIZES = [0, 1 << 16, 1 << 20, 3 * (1 << 20) + 12345, 100 << 20]


@pytest.mark.skipif(sys.platform != "linux", reason="the resident set is read from Linux's /proc")
def test_a_known_block_is_measured_within_a_page() -> None:
    command = [sys.executable, "-c", SCRIPT, json.dumps(SIZES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    growth = json.loads(done.stdout)
    page = mmap.PAGESIZE
    for index, size in enumerate(SIZES):
        assert abs(growth["one"][index] - size) <= page
        assert abs(growth["in_turn"][index] - size) <= page
        assert growth["untouched"][index] <= 2 * page  # malloc writes a header before and after it


def zone(root: Path, folder: str, name: str, energy_uj: int = 10_000_000) -> Path:
    """A powercap zone."""
    (root / folder).mkdir(parents=True)
    for file, content in {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": 100_000_000}.items():
        (root / folder / file).write_text(f"{content}\n")
    return root / folder / "energy_uj"


def test_packages_are_summed_and_all_other_zones_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "POWERCAP", tmp_path)
    with pytest.raises(Unavailable, match=r"no RAPL: no processor package in .* `modprobe intel_rapl_msr` may help"):
        Cpu().meter()
    names = {
        "intel-rapl:0": "package-0",
        "intel-rapl:1": "package-1-die-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:1:0": "package-1-part",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    files = [zone(tmp_path, folder, name) for folder, name in names.items()]
    meter = Cpu().meter()
    before = meter.read()
    for file in files:
        file.write_text("25500000\n")
    assert meter.joules(before, meter.read()) == 2 * 15.5


@pytest.mark.parametrize(("start", "end", "joules"), [(1.0, 3.5, 2.5), (97.0, 4.5, 7.5)])
def test_a_counter_that_starts_over_is_made_good(start: float, end: float, joules: float) -> None:
    assert Meter(0.0, dict, {"a": 100.0}).joules({"a": start}, {"a": end}) == pytest.approx(joules)


@pytest.mark.parametrize(
    ("start", "end", "ranges"), [(5.0, 5.0, {"a": 100.0}), (5.0, 4.0, {"a": 100.0}), (5.0, 4.0, {})]
)
def test_a_counter_that_stands_or_jumps_tells_no_energy(start: float, end: float, ranges: dict[str, float]) -> None:
    with pytest.raises(Unavailable, match="the energy counter a did not move, or went back"):
        Meter(0.0, dict, ranges).joules({"a": start, "b": 0.0}, {"a": end, "b": 1.0})


def test_a_counter_that_can_not_be_read_says_why_and_what_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "POWERCAP", tmp_path)
    zone(tmp_path, "intel-rapl:0", "package-0").write_text("12 34")
    with pytest.raises(Unavailable, match=r"energy_uj can't be read \(.*12 34.*Only root.*chmod a\+r"):
        Cpu().meter()


WAITING = """
import hashlib, json, multiprocessing, os, sys, threading, time
from rnnbench.harness.devices import Cpu

def forever():
    while True:
        pass

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
block = bytes(1 << 20)
other = multiprocessing.get_context("fork").Process(target=forever, daemon=True)
if sys.argv[1] == "process":
    other.start()
found = []
for _ in range(50):
    if sys.argv[1] == "thread":  # hashes of its own, without Python's lock, while the call hashes
        thread = threading.Thread(target=lambda: [hashlib.sha256(block) for _ in range(40)])
        thread.start()
    ran = []

    def call():
        ran.append(time.process_time())
        hashlib.sha256(block)
        ran.append(time.process_time())

    clocked = Cpu().clock(call, batches=1, batch=20, is_warm=True)
    found.append([clocked.seconds, clocked.host_seconds, ran[-1] - ran[0]])
    if sys.argv[1] == "thread":
        thread.join()
    elif sum(host > 1.5 * seconds for seconds, host, _ in found) == 5:
        break
if sys.argv[1] == "process":  # the one in the middle of those that had to wait
    waited = sorted((each for each in found if each[1] > 1.5 * each[0]), key=lambda each: each[0] / each[2])
    print(json.dumps(waited[len(waited) // 2]))
else:
    print(json.dumps(max(found, key=lambda each: each[2] / each[1])))
if other.is_alive():
    other.kill()
"""


@pytest.mark.parametrize("other", ["process", "thread"])
@pytest.mark.skipif(not SCHEDSTAT.exists(), reason="only Linux tells how long a thread waits for a core")
def test_waiting_for_a_core_that_another_process_has_does_not_count_but_threads_of_the_own_process_do(
    other: str,
) -> None:
    """On one core, what counts is what this process ran: the wait for the hash of its own thread is part of it."""
    done = subprocess.run([sys.executable, "-c", WAITING, other], capture_output=True, text=True, check=True)
    seconds, host_seconds, ran = json.loads(done.stdout)
    assert seconds == pytest.approx(ran, rel=0.25)
    assert other == "thread" or host_seconds > 1.5 * seconds
