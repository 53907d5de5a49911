"""Resident pages against blocks of known size, in a separate process."""

import json
import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from rnnbench.harness.devices import resident
from rnnbench.store.readings import Unavailable

SCRIPT = """
import ctypes, json, sys
import torch
from rnnbench.workloads.phases import TimedCall
from rnnbench.harness.devices.resident import resident_bytes

def of(call):
    return resident_bytes(TimedCall(call, torch.inference_mode))

def one(size):
    def call():
        block = torch.ones(size, dtype=torch.uint8)
    return call

def both(size):
    def call():
        first = torch.ones(size, dtype=torch.uint8)
        second = torch.ones(size, dtype=torch.uint8)
        del first, second
    return call

def in_turn(size):
    def call():
        torch.ones(size, dtype=torch.uint8)
        torch.ones(size, dtype=torch.uint8)
    return call

def untouched(size):
    def call():
        torch.empty(size, dtype=torch.uint8)
    return call

sizes = json.loads(sys.argv[1])
print(json.dumps({name: [of(make(size)) for size in sizes] for name, make in
                  [("one", one), ("both", both), ("in_turn", in_turn), ("untouched", untouched)]}
                 | {"nothing": of(lambda: None)}))
"""
SIZES = [1 << 16, 1 << 20, 3 * (1 << 20) + 12345, 100 << 20]


@pytest.mark.skipif(sys.platform != "linux", reason="the resident set is read from Linux's /proc")
def test_a_known_block_is_measured_within_a_page() -> None:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(SIZES)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    growth = json.loads(process.stdout)
    page = mmap.PAGESIZE
    assert growth["nothing"] <= page
    for index, size in enumerate(SIZES):
        assert abs(growth["one"][index] - size) <= page
        assert abs(growth["in_turn"][index] - size) <= page
        assert abs(growth["both"][index] - 2 * size) <= 2 * page  # one page for each block
        assert growth["untouched"][index] <= 2 * page  # malloc writes a header before and after it


def test_a_system_that_hides_the_resident_set_gives_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.open", refuse)
    resident._rollup.cache_clear()
    with pytest.raises(Unavailable, match="can't be read: Permission denied"):
        resident._resident()


def refuse(*_: object) -> int:
    raise PermissionError(13, "Permission denied")
