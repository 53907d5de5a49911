"""Rates of the machine that can be believed, in the user's cache."""

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator import kept_rates
from rnnbench.harness.coordinator.kept_rates import MAX_APART, MOSTLY_QUIET, KeptRates, agree
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.store.ceilings import Ceiling, Rate

SOFTWARE = {"python": "3.11.7", "torch": "2.8.0"}
FIRST = Ceiling("cpu", "float32", 1, (Rate("MKL", 4e10),), (Rate(1024, 1e10), Rate(1 << 30, 1e9)), (), 5e-7, None)


@pytest.fixture(autouse=True)
def _as_in_runs_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe what runs of users believe; other tests believe what the first of them has measured."""
    monkeypatch.setattr(kept_rates, "MOSTLY_QUIET", MOSTLY_QUIET)


def times(factor: float, ceiling: Ceiling = FIRST) -> Ceiling:
    """The ceiling on a machine that is so many times as fast."""
    return replace(ceiling, products=tuple(Rate(rate.work, factor * rate.value) for rate in ceiling.products))


def test_rates_are_taken_from_the_cache_after_two_runs_that_agree(tmp_path: Path) -> None:
    assert KeptRates(tmp_path, SOFTWARE).ceiling_at(FIRST.place) is None
    assert KeptRates(tmp_path, SOFTWARE).keep(FIRST) == FIRST
    assert KeptRates(tmp_path, SOFTWARE).ceiling_at(FIRST.place) is None
    best = KeptRates(tmp_path, SOFTWARE).keep(times(1.02))
    assert best.macs_per_second == pytest.approx(1.02 * 4e10)
    assert KeptRates(tmp_path, SOFTWARE).ceiling_at(FIRST.place) == best


def test_rates_of_a_quiet_core_are_kept_at_once_and_those_of_a_shared_one_never(tmp_path: Path) -> None:
    rates = KeptRates(tmp_path, SOFTWARE)
    for _ in range(3):  # equal, and equally wrong
        rates.keep(FIRST, quiet_share=0.1)
        assert rates.ceiling_at(FIRST.place) is None
    best = rates.keep(times(1.9), quiet_share=0.9)
    assert rates.ceiling_at(FIRST.place) == best
    assert best.macs_per_second == pytest.approx(1.9 * 4e10)


@pytest.mark.parametrize("factor", [0.5, 1.9])
def test_a_run_on_a_busy_core_is_not_believed_and_does_not_lower_what_a_quiet_one_has_seen(
    factor: float, tmp_path: Path
) -> None:
    rates = KeptRates(tmp_path, SOFTWARE)
    rates.keep(FIRST)
    best = rates.keep(times(factor))
    assert best.macs_per_second == max(1.0, factor) * 4e10
    assert rates.ceiling_at(FIRST.place) is None
    rates.keep(times(max(1.0, factor)))
    assert rates.ceiling_at(FIRST.place) is not None


def test_a_higher_rate_in_a_later_run_makes_the_kept_one_doubtful(tmp_path: Path) -> None:
    rates = KeptRates(tmp_path, SOFTWARE)
    for _ in range(2):
        rates.keep(FIRST)
    rates.correct(times(1 + MAX_APART / 2))
    assert rates.ceiling_at(FIRST.place) is not None
    rates.correct(times(1.5))
    assert rates.ceiling_at(FIRST.place) is None
    rates.keep(FIRST)  # from a busy moment
    assert rates.ceiling_at(FIRST.place) is None
    assert rates.keep(times(1.5)).macs_per_second == 1.5 * 4e10
    assert rates.ceiling_at(FIRST.place) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"software": {**SOFTWARE, "torch": "2.9.0"}},
        {"software": {**SOFTWARE, "python": "3.12.0"}},
        {"host": "another"},
        {"cores": [0]},
        {"variables": {"ONEDNN_MAX_CPU_ISA": "AVX2"}},
        {"place": ("cpu", "float32", 2)},
        {"place": ("cpu", "float64", 1)},
    ],
)
def test_rates_are_those_of_a_machine_its_software_and_a_place(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        KeptRates(tmp_path, SOFTWARE).keep(FIRST)
    host, cores = platform.node(), allowed_cores()
    monkeypatch.setattr(platform, "node", lambda: change.get("host", host))
    monkeypatch.setattr(kept_rates, "allowed_cores", lambda: change.get("cores", cores))
    for name, value in change.get("variables", {}).items():
        monkeypatch.setenv(name, value)
    changed = KeptRates(tmp_path, change.get("software", SOFTWARE))
    assert changed.ceiling_at(change.get("place", FIRST.place)) is None


@pytest.mark.parametrize(
    ("folder", "software", "device"), [(False, SOFTWARE, "cpu"), (True, {}, "cpu"), (True, SOFTWARE, "cuda:0")]
)
def test_nothing_is_kept_without_a_folder_of_unknown_software_or_of_a_gpu(
    folder: bool, software: dict[str, str], device: str, tmp_path: Path
) -> None:
    rates, ceiling = KeptRates(tmp_path if folder else None, software), replace(FIRST, device=device)
    for _ in range(3):
        assert rates.keep(ceiling) == ceiling
    rates.correct(times(2.0, ceiling))
    assert rates.ceiling_at(ceiling.place) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"agrees": true, "ceiling": {"device": "cpu"}}'])
def test_a_broken_file_is_measured_again(content: bytes, tmp_path: Path) -> None:
    rates = KeptRates(tmp_path, SOFTWARE)
    for _ in range(2):
        rates.keep(FIRST)
    [file] = tmp_path.iterdir()
    file.write_bytes(content)
    assert rates.ceiling_at(FIRST.place) is None
    assert rates.keep(FIRST) == FIRST


def test_large_blocks_may_differ_since_their_memory_is_shared() -> None:
    slow = replace(FIRST, copies=(Rate(1024, 1e10), Rate(1 << 30, 1e8)))
    assert agree(FIRST, slow)
    assert not agree(FIRST, replace(FIRST, copies=(Rate(1024, 1e9), Rate(1 << 30, 1e9))))
    assert not agree(FIRST, replace(FIRST, dispatch_seconds=6e-7))
    assert not agree(FIRST, replace(FIRST, products=()))
