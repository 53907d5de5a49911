"""Modules of the caller's own process on a GPU, a run that is cut off, and what is too large for the card.

On a GPU only, except with DEVICE=cpu, which tries the tests.
"""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.harness.coordinator.origin import STARTER
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.records import Phase
from tests.gpu.cases import DEVICE, NEEDS_DEVICE, ON_CPU

pytestmark = NEEDS_DEVICE
WAIT_SECONDS = 60.0


class Loop(nn.Module):
    """An LSTM as a loop over torch's cell, with the weights of a layer."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(layer.input_size, layer.hidden_size)
        weights = layer.state_dict()
        self.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in weights.items()})

    def forward(self, input: Tensor) -> Tensor:
        state, outputs = None, []
        for step in input:
            state = self.cell(step, state)
            outputs.append(state[0])
        return torch.stack(outputs)


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_modules_on_a_gpu_are_measured_there_with_equal_outputs(phase: Phase) -> None:
    layer = nn.LSTM(256, 256)
    modules, input = {"loop": Loop(layer).to(DEVICE), "torch": layer.to(DEVICE)}, torch.randn(32, 32, 256).to(DEVICE)
    measured = rnnbench.measure(modules, input, phase, budget=20.0, progress=False)
    print(measured)
    assert measured.frame["ratio"]["loop"] > 0
    assert "agree" in measured.frame["parity"]["loop"]
    assert torch.device(measured.device).type == torch.device(DEVICE).type


def test_the_fastest_way_to_run_a_module_on_a_gpu_computes_the_same() -> None:
    layer, input = nn.LSTM(64, 64).to(DEVICE).eval(), torch.randn(16, 8, 64).to(DEVICE)
    loop = Loop(layer).to(DEVICE).eval()
    fastest = rnnbench.fastest(loop, input, budget=30.0, progress=False)
    print(fastest)
    with torch.inference_mode():
        assert torch.allclose(fastest(input), loop(input), rtol=1e-2, atol=1e-2)


SUITE = """
name = "resumed"
[measure]
replicates = 8
precision = 0.9
[[sweep]]
cell = ["lstm", "gru"]
implementation = ["loop", "hoisted", "torch.nn"]
batch_size = [1, 32]
"""


def windows(out: Path) -> list[str]:
    """Return the lines of all windows that are stored below `out`."""
    return [line for file in out.glob("*/windows-*.jsonl") for line in file.read_text(encoding="utf-8").splitlines()]


def kill_worker(pid: int) -> bool:
    """Kill a worker of a process and return whether there was one."""
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if str(STARTER) in process.cmdline():
                process.kill()
                return True
        except psutil.Error:
            continue  # it has ended meanwhile
    return False


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_a_run_whose_worker_was_killed_is_resumed_and_no_window_is_lost_or_doubled(tmp_path: Path) -> None:
    (tmp_path / "resumed.toml").write_text(SUITE)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rnnbench", "run", str(tmp_path / "resumed.toml"), "--allow-missing"]
    process = subprocess.Popen([*command, "--device", DEVICE, "--out", str(out)])
    try:
        wait_until(lambda: len(windows(out)) > 10, "the run has no windows")
        wait_until(lambda: kill_worker(process.pid), "no worker was found")
        before = len(windows(out))
        wait_until(lambda: len(windows(out)) > before + 10, "the run does not go on after its worker was killed")
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_SECONDS)
    finally:
        process.kill()
    kept, run = Counter(windows(out)), next(out.glob("*/run.json")).parent
    subprocess.run([*command, "--resume", str(run)], check=True)
    after = Counter(windows(out))
    assert not kept - after
    assert set(after.values()) == {1}
    assert after.total() > kept.total()
    assert read_info(run).status == "finished"
    lost = [measurement for measurement in last_measurements(run).values() if measurement.status != "measured"]
    assert len(lost) <= 1  # the case that the killed worker was at
    assert all("SIGKILL" in measurement.reason for measurement in lost)


@pytest.mark.skipif(ON_CPU, reason="a CPU's memory may be swapped")
def test_a_batch_that_is_too_large_for_the_card_is_skipped_in_words(tmp_path: Path) -> None:
    sweep = '[[sweep]]\ncell = "vanilla"\nreference = "rnn"\nbatch_size = [1, 4_000_000_000]\n'
    (tmp_path / "large.toml").write_text(f'name = "large"\n[measure]\nreplicates = 2\n{sweep}')
    options = ["--device", DEVICE, "--out", str(tmp_path / "out"), "--allow-missing"]
    subprocess.run([sys.executable, "-m", "rnnbench", "run", str(tmp_path / "large.toml"), *options], check=True)
    measurements = last_measurements(next((tmp_path / "out").iterdir())).values()
    for measurement in measurements:
        is_large = measurement.case.workload.batch_size > 1
        assert measurement.status == ("skipped" if is_large else "measured")
        assert measurement.reason.startswith("it needs" if is_large else "")
