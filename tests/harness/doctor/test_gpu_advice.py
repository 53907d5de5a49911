"""The doctor's advice on a GPU, read from the fake NVML library."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness import devices
from rnnbench.harness.doctor.gpu_advice import Harm, advice, torch_cuda
from tests.doubles import fake_nvml
from tests.doubles.fake_nvml import Fake

# Numbers of the fake library that describe a card without faults.
GOOD = {"clock_reasons": 1, "ecc_errors": 0, "compute_mode": 0, "power_limit": 650000}

FAULTS: list[tuple[dict[str, int], Harm, str]] = [
    ({"cuda_version": 12040}, Harm.UNUSABLE, "supports CUDA up to 12.4, and torch is built for 13.0"),
    ({"compute_mode": 2}, Harm.UNUSABLE, "forbids all programs: `sudo nvidia-smi -i 0 -c DEFAULT`"),
    ({"memory_used": 9 << 30}, Harm.NOISE, "9.7 GB of its memory are in use, though no process is listed"),
    ({"ecc_errors": 3}, Harm.NOISE, "3 uncorrected memory errors"),
    ({"compute_mode": 3}, Harm.NOISE, "`rnnbench check` needs two: `sudo nvidia-smi -i 0 -c DEFAULT`"),
    ({"clock_reasons": 0x20}, Harm.NOISE, "held back at this moment (sw_thermal_slowdown)"),
    ({"temperature": 84}, Harm.NOISE, "it has 84 °C before anything is measured"),
    ({"mig_mode": 1}, Harm.SETTING, "MIG is on"),
    ({"clock_reasons": 2}, Harm.SETTING, "(applications_clocks_setting; 1755 MHz now, 1980 MHz at most)"),
    ({"power_limit": 500000}, Harm.SETTING, "limited to 500 W, and 650 W are usual"),
    ({"ecc": 0}, Harm.SETTING, "ECC is off"),
    ({"persistence": 0}, Harm.DELAY, "`sudo nvidia-smi -i 0 -pm 1` keeps it loaded"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_nvml.build(tmp_path_factory.mktemp("nvml")).parent


def stand_each(fake: Fake, cases: list[dict[str, int]]) -> list[Any]:
    readings = []
    for numbers in cases:
        fake.reset()
        for number, value in ({"cards": 1} | numbers).items():
            fake.set(0, number, value)
        readings.append(devices.current_readings())
    return readings


def stand_with_others(fake: Fake) -> Any:
    for pid in (77, 4242, 77):
        fake.start(0, pid, 1 << 20)
    fake.lose(1)
    return devices.current_readings()


def test_a_gpu_is_described_as_it_stands_and_with_the_processes_on_it(folder: Path) -> None:
    readings = fake_nvml.run(folder, stand_with_others)
    assert readings["gpu 0"] == fake_nvml.FACTS | fake_nvml.MOMENT | {"processes": [77, 4242], "not known": {}}
    assert readings["gpu 1"]["not known"]["processes"] == "NVML: the GPU is lost"


def test_a_gpu_as_one_would_wish_it_needs_no_advice(folder: Path) -> None:
    [good] = fake_nvml.run(folder, stand_each, [GOOD])
    assert advice(good, "13.0") == []
    assert advice(good, "12.8") == []  # a newer driver runs programs built for an older CUDA
    assert advice({"gpu": "no NVML library (libnvidia-ml.so.1)"}, "13.0") == []


def test_each_fault_of_a_gpu_is_told_with_what_to_do(folder: Path) -> None:
    readings = fake_nvml.run(folder, stand_each, [GOOD | numbers for numbers, _, _ in FAULTS])
    for (numbers, harm, words), facts in zip(FAULTS, readings, strict=True):
        [(found_harm, text)] = advice(facts, "13.0")
        assert found_harm == harm, numbers
        assert words in text, numbers
        assert text.startswith("GPU 0 (Fake H100): "), numbers


def test_what_can_not_be_measured_at_all_comes_before_the_rest(folder: Path) -> None:
    readings = fake_nvml.run(folder, stand_with_others)
    messages = sorted(advice(readings, "13.0"))
    assert messages[0] == (
        Harm.UNUSABLE,
        "GPU 1: it does not answer (NVML: the GPU is lost): look at `nvidia-smi` and at the kernel's log.",
    )
    assert "other processes use it (77, 4242)" in " ".join(text for _, text in messages)
    [(harm, text)] = advice(readings, None)
    assert harm == Harm.UNUSABLE
    assert "torch is built without CUDA" in text


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
