"""The doctor's advice on a GPU, read from a fake driver."""

from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.harness.devices import nvml
from rnnbench.harness.doctor.gpu_advice import advice, torch_cuda
from tests.doubles.fake_nvml import FACTS, MOMENT, Driver


def stand(driver: Driver, **numbers: Any) -> list[str]:
    driver.cards = driver.cards[:1]
    for name, value in ({"reasons": 1} | numbers).items():
        setattr(driver.cards[0], name, value)
    return advice(nvml.read_all(nvml.Gpu.stand), "13.0")


def test_a_gpu_as_one_would_wish_it_needs_no_advice(driver: Driver) -> None:
    assert stand(driver) == []
    assert advice({"gpu": "NVML: NVML Shared Library Not Found"}, "13.0") == []


FAULTS: list[dict[str, Any]] = [
    {"processes": [(77, 1), (4242, 1), (77, 1)]},
    {"used": 9 << 30},
    {"reasons": 0x20},
    {"temperature": 84},
    {"reasons": 2},
]


@pytest.mark.parametrize("numbers", FAULTS, ids=str)
def test_each_fault_of_a_gpu_is_told_with_what_to_do(
    driver: Driver, numbers: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    assert stand(driver, **numbers) == snapshot


def test_a_gpu_is_described_as_it_stands(driver: Driver, snapshot: SnapshotAssertion) -> None:
    driver.lose(1)
    readings = nvml.read_all(nvml.Gpu.stand)
    assert readings["gpu 0"] == FACTS | MOMENT | {"processes": [], "not known": {}}
    assert {torch: advice(readings, torch) for torch in ("13.0", None)} == snapshot


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("cuda: Optional[str] = '13.0'", "13.0"),
        ('cuda = "12.8"', "12.8"),
        ("cuda: Optional[str] = None", None),
        ("cuda_other = '1.0'", None),
    ],
)
def test_the_cuda_of_torch_is_read_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, version: str | None
) -> None:
    package = tmp_path / "like_torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "version.py").write_text(f"__version__ = '2.11.0'\n{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert torch_cuda("like_torch") == version
    assert torch_cuda("there_is_no_such_package") is None
