"""A device's best rates, on a clock that the test winds and on this machine."""

import pytest

from rnnbench.measure import ceilings
from rnnbench.measure.devices import Cpu
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import DType


@pytest.fixture
def short(monkeypatch) -> None:
    monkeypatch.setattr(ceilings, "SECONDS_PER_RATE", 0.01)
    monkeypatch.setattr(Cpu, "product_sizes", (64, 128))
    monkeypatch.setattr(Cpu, "copy_bytes", (1 << 15, 1 << 18))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_rates_of_this_machine_are_possible_ones(short: None, dtype: DType) -> None:
    found = ceilings.measure(Cpu(), dtype, 1)
    assert 1e7 < found.macs_per_second < 1e15
    assert [size for size, _ in found.copies] == [1 << 15, 1 << 18]
    assert all(1e7 < rate < 1e14 for _, rate in found.copies)
    assert 1e-8 < found.dispatch_seconds < 1e-2
    assert found.launch_seconds is None


def test_where_kernels_are_launched_an_empty_one_is_clocked(short: None, monkeypatch) -> None:
    launched: list[int] = []
    monkeypatch.setattr(Cpu, "launch", lambda device: lambda: launched.append(1))
    found = ceilings.measure(Cpu(), "float32", 1)
    assert found.launch_seconds is not None
    assert 0 < found.launch_seconds < 1e-3
    assert len(launched) % ceilings.EMPTY_CALLS == 0


def test_a_ceiling_is_the_best_of_several_tries(short: None) -> None:
    # Each try is two looks at the clock: the tries take 3, 1 and 2 seconds.
    looks = iter([0.0, 1.0, 0.0, 3.0, 0.0, 1.0, 0.0, 2.0])
    best, spent = ceilings._best(Cpu(now=lambda: next(looks)), lambda: None, 0.01)
    assert (best, spent) == (1.0, 6.0)


def test_a_ceiling_comes_back_from_its_json() -> None:
    one = Ceiling("cpu", "float32", 2, 5e10, ((1024, 1e10), (4096, 2e10)), 5e-7, None)
    assert Ceiling.from_json(one.to_json()) == one
