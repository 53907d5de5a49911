"""Energy counters: the processor's in a folder like the kernel's, a GPU's from a fake NVML library."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.devices import Cpu, Cuda, nvml
from rnnbench.harness.devices.meters import GpuEnergy, Rapl
from rnnbench.store.readings import Unavailable
from tests.doubles.fake_cuda import FakeLine
from tests.doubles.fake_nvml import FIRST, Driver

RANGE = 262_143_328_850  # microjoules, as on many Xeons


def why(call: Callable[[], object]) -> str:
    """The reason why a call has no answer, or "" if it has one."""
    try:
        call()
    except Unavailable as reason:
        return str(reason)
    return ""


def zone(root: Path, folder: str, name: str, energy_uj: int, **files: object) -> Path:
    """A powercap zone, linked as in /sys/class."""
    real = root.parent / "devices" / folder
    real.mkdir(parents=True)
    contents: Mapping[str, object] = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": RANGE} | files
    for file, content in contents.items():
        (real / file).write_text(f"{content}\n")
    root.mkdir(exist_ok=True)
    (root / folder).symlink_to(real, target_is_directory=True)
    return real


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "powercap"


@pytest.fixture
def package(root: Path) -> Path:
    return zone(root, "intel-rapl:0", "package-0", 10_000_000)


def test_packages_are_summed_and_all_other_zones_are_left_out(root: Path, package: Path) -> None:
    second = zone(root, "intel-rapl:1", "package-1-die-0", 20_000_000)
    others = [
        zone(root, "intel-rapl:0:0", "core", 1),
        zone(root, "intel-rapl:1:0", "package-1-part", 2),
        zone(root, "intel-rapl:2", "psys", 3),
        zone(root, "intel-rapl-mmio:0", "package-0", 4),
        zone(root, "dtpm:0", "package-0", 5),
    ]
    (root / "intel-rapl").mkdir()  # the driver's own entry beside its zones
    meter = Rapl(root)
    before = meter.read()
    assert before == {"intel-rapl:0": 10.0, "intel-rapl:1": 20.0}
    for file in (package, second, *others):
        (file / "energy_uj").write_text("25500000\n")
    assert meter.joules(before, meter.read()) == 15.5 + 5.5


def grow(package: Path, start: int, end: int) -> float:
    meter = Rapl(package.parents[1] / "powercap")
    (package / "energy_uj").write_text(str(start))
    before = meter.read()
    (package / "energy_uj").write_text(str(end))
    return meter.joules(before, meter.read())


def test_a_counter_that_starts_over_is_made_good(package: Path) -> None:
    assert grow(package, RANGE - 3_000_000, 4_500_000) == pytest.approx(7.5)


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (5_000_000, 5_000_000, "intel-rapl:0 did not move"),
        (5_000_000, 4_000_000, "intel-rapl:0 went back far from where it starts over"),
        (RANGE + 9_000_000, 4_000_000, "intel-rapl:0 went back far from where it starts over"),
    ],
)
def test_a_counter_that_stands_or_jumps_tells_no_energy(package: Path, start: int, end: int, reason: str) -> None:
    assert why(lambda: grow(package, start, end)) == reason


def test_one_standing_package_spoils_the_sum(root: Path, package: Path) -> None:
    zone(root, "intel-rapl:1", "package-1", 20_000_000)
    assert why(lambda: grow(package, 1, 2)) == "intel-rapl:1 did not move"


@pytest.mark.parametrize("content", [None, "", "unlimited"])
def test_without_a_range_a_counter_that_went_back_tells_no_energy(package: Path, content: str | None) -> None:
    limit = package / "max_energy_range_uj"
    limit.unlink()
    if content is not None:
        limit.write_text(content)
    assert "went back, and where it starts over is not known: " in why(lambda: grow(package, RANGE - 1, 1))
    assert grow(package, 1_000_000, 3_000_000) == 2.0


def test_without_powercap_or_a_package_the_reason_says_what_would_help(root: Path) -> None:
    assert why(lambda: Rapl(root)) == f"no RAPL: there is no {root} (usual in virtual machines and outside Linux)"
    zone(root, "intel-rapl:2", "psys", 3)
    (root / "intel-rapl:0").symlink_to(root / "hidden")  # a dangling link, as in a container
    assert why(lambda: Rapl(root)) == (
        f"no RAPL: no processor package in {root} (virtual machines have none and containers hide them; "
        "elsewhere `modprobe intel_rapl_msr` may help)"
    )


def test_without_permission_the_reason_says_what_would_help(
    root: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter, read = Rapl(root), Path.read_text

    def forbid(path: Path, *arguments: Any, **named: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", forbid)  # file modes do not restrict root
    with pytest.raises(Unavailable, match=r"no permission to read .*intel-rapl:0/energy_uj: only root may.*chmod a\+r"):
        meter.read()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no number but ''"),
        (b"-5", "holds no number but '-5'"),
        (b"12 34", "holds no number but '12 34'"),
        (b"\xff\xfe", "holds no text"),
    ],
)
def test_a_garbage_counter_is_no_number(root: Path, package: Path, content: bytes, reason: str) -> None:
    (package / "energy_uj").write_bytes(content)
    assert why(Rapl(root).read) == f"{root}/intel-rapl:0/energy_uj {reason}"


def test_an_unreadable_counter_is_unavailable(root: Path, package: Path) -> None:
    (package / "energy_uj").unlink()
    assert why(Rapl(root).read).endswith("energy_uj can't be read: No such file or directory")
    (package / "energy_uj").mkdir()
    assert why(Rapl(root).read).endswith("energy_uj can't be read: Is a directory")


def window(driver: Driver, step: int) -> float:
    driver.cards[0].energy_step = step
    meter = GpuEnergy(nvml.open_gpu(FIRST))
    return meter.joules(meter.read(), meter.read())


def test_a_gpus_counter_tells_the_energy_unless_it_stands_or_goes_back(driver: Driver) -> None:
    assert window(driver, 1_500) == 1.5
    assert why(lambda: window(driver, 0)) == "the GPU's energy counter did not move"
    assert why(lambda: window(driver, -1)) == "the GPU's energy counter went backwards (was the driver reloaded?)"
    driver.lose(0)
    assert why(lambda: window(driver, 1)) == "NVML: GPU is lost"


class Known(Cuda):
    """A device with a fixed UUID, so that the driver is not asked."""

    def __init__(self, uuid: str) -> None:
        line: Any = FakeLine()
        super().__init__("cuda", line)
        self._uuid = uuid

    def uuid(self) -> str:
        return self._uuid


def test_a_gpus_meter_that_opens_has_answered(driver: Driver) -> None:
    assert why(Known(FIRST).meter) == ""
    assert why(Known("0").meter) == "NVML: Not Found"


def test_a_processors_meter_that_opens_has_answered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rapl.__init__, "__defaults__", (root,))
    assert why(Cpu().meter).startswith("no RAPL: there is no ")
    package = zone(root, "intel-rapl:0", "package-0", 10_000_000)
    assert Cpu().meter().read() == {"intel-rapl:0": 10.0}
    (package / "energy_uj").write_text("?")
    assert "holds no number" in why(Cpu().meter)
