import re
from pathlib import Path

import pytest
import torch

from rnnbench.harness.devices import BACKENDS, Cpu, Cuda, cpu, open_device, why_not
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.store.metrics import METRICS


def test_the_processor_is_always_there() -> None:
    assert why_not("cpu") == ""
    assert isinstance(open_device("cpu"), Cpu)


@pytest.mark.parametrize("name", ["cpu:3", "tpu", "", "cuda:x", "cuda:99", "cuda:", "cuda:0:1", "cudacpu"])
def test_a_device_that_is_not_there_is_refused_in_words(name: str) -> None:
    assert re.fullmatch(r"no device '.*[:;].*|torch .* without CUDA.*|torch finds no CUDA.*", why_not(name))


def test_a_batch_is_clocked_as_a_whole() -> None:
    calls = []
    clocked = Cpu().clock(lambda: calls.append(1), batches=3, batch=5)
    assert len(calls) == clocked.calls == 1 + 15  # the first call is not clocked
    assert len(clocked.batch_seconds) == 3
    assert sum(clocked.batch_seconds) == pytest.approx(clocked.seconds)


def test_warm_calls_are_all_clocked() -> None:
    calls = []
    clocked = Cpu().clock(lambda: calls.append(1), batches=3, batch=5, is_warm=True)
    assert len(calls) == clocked.calls == 15


@pytest.mark.parametrize(
    ("content", "megahertz"), [("2893203\n", 2893.203), ("0\n", None), ("<unknown>\n", None), (None, None)]
)
def test_a_clock_rate_that_the_system_does_not_tell_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, megahertz: float | None
) -> None:
    monkeypatch.setattr(cpu, "SYSTEM", tmp_path)
    if content is not None:
        file = tmp_path / f"cpu{allowed_cores()[0]}" / "cpufreq" / "scaling_cur_freq"
        file.parent.mkdir(parents=True)
        file.write_text(content)
    assert Cpu().clock_mhz() == megahertz


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_events_clock_a_gpu_call_and_the_host_waits_for_it() -> None:
    device = Cuda("cuda")
    a = torch.randn(2048, 2048, device="cuda")
    clocked = device.clock(lambda: a @ a, batches=10, batch=2)
    assert len(clocked.batch_seconds) == 10
    assert 0 < clocked.seconds <= clocked.host_seconds * 1.05


def test_each_metric_of_one_kind_of_device_belongs_to_a_kind_that_there_is() -> None:
    assert {metric.device for metric in METRICS} - {""} <= BACKENDS.keys()
