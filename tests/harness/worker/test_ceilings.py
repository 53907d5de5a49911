"""A device's best rates, on a fake clock and on this machine."""

import math

import pytest

from rnnbench.harness.devices import Cpu
from rnnbench.harness.worker import ceilings
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import DType
from tests.harness.fake_cuda import FakeLine, FakeMark, fake_cuda, kernels

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def short(monkeypatch) -> None:
    monkeypatch.setattr(ceilings, "SECONDS_PER_RATE", 0.01)
    monkeypatch.setattr(Cpu, "product_sizes", (64, 128))
    monkeypatch.setattr(Cpu, "copy_bytes", (1 << 15, 1 << 18))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_rates_of_this_machine_are_possible_ones(short: None, dtype: DType) -> None:
    ceiling = ceilings.measure(Cpu(), dtype, 1)
    assert 1e7 < ceiling.macs_per_second < 1e15
    assert [size for size, _ in ceiling.copies] == [1 << 15, 1 << 18]
    assert all(1e7 < rate < 1e14 for _, rate in ceiling.copies)
    assert 1e-8 < ceiling.dispatch_seconds < 1e-2
    assert ceiling.launch_seconds is None


def test_where_kernels_are_launched_an_empty_one_is_clocked(short: None, monkeypatch) -> None:
    launched: list[int] = []
    monkeypatch.setattr(Cpu, "launch", lambda device: lambda: launched.append(1))
    ceiling = ceilings.measure(Cpu(), "float32", 1)
    assert ceiling.launch_seconds is not None
    assert 0 < ceiling.launch_seconds < 1e-3
    assert launched


def test_a_ceiling_is_the_best_of_several_tries() -> None:
    looks = iter([0.0, 3.0, 4.0, 6.0])  # tries of 3, 1 and 2 seconds
    best, spent = ceilings._best(Cpu(now=lambda: next(looks)), lambda: None, 0.01)
    assert (best, spent) == (1.0, 6.0)


@pytest.mark.parametrize("device_seconds", [1e-6, 1.7e-6, 4e-6, 40e-6, 2e-3])
def test_a_kernel_that_takes_less_time_than_its_launch_is_clocked_by_the_device(device_seconds: float) -> None:
    line = FakeLine()
    work = kernels(line, 1, 6e-6, device_seconds)
    best, _ = ceilings._best(fake_cuda(line), work, 0.05)
    assert best == pytest.approx(device_seconds)
    assert line.host.seconds < 0.2  # it ends


def test_an_operator_that_launches_nothing_takes_the_hosts_time() -> None:
    line = FakeLine()

    def call() -> None:
        line.host.seconds += 1e-6

    best, _ = ceilings._best(fake_cuda(line), call, 0.05, lead=0)
    assert best == pytest.approx(1e-6)


def test_a_short_call_is_not_clocked_alone_by_a_clock_of_coarse_steps() -> None:
    class Coarse(FakeMark):
        def seconds_until(self, later: FakeMark) -> float:
            return math.floor(super().seconds_until(later) / 0.5e-6) * 0.5e-6

    line = FakeLine(mark=Coarse)
    best, _ = ceilings._best(fake_cuda(line), kernels(line, 1, 3e-6, 1.9e-6), 0.05)
    assert best == pytest.approx(1.9e-6, rel=0.005)


def test_a_ceiling_comes_back_from_its_json() -> None:
    ceiling = Ceiling("cpu", "float32", 2, 5e10, ((1024, 1e10), (4096, 2e10)), 5e-7, None)
    assert Ceiling.from_json(ceiling.to_json()) == ceiling
