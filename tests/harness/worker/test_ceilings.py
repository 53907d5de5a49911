"""A device's best rates, on a fake clock and on this machine."""

import json
import math
import shutil
from pathlib import Path

import pytest

from rnnbench.harness.devices import Cpu
from rnnbench.harness.worker import ceilings
from rnnbench.kernels import direct
from rnnbench.store.ceilings import REGISTERS, Ceiling, Rate
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import DType
from tests.doubles.fake_cuda import FakeCuda, FakeLine, FakeMark, kernels

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def short(monkeypatch) -> None:
    monkeypatch.setattr(ceilings, "SECONDS_PER_RATE", 0.01)
    monkeypatch.setattr(Cpu, "product_sizes", (64, 128))
    monkeypatch.setattr(Cpu, "copy_bytes", (1 << 15, 1 << 18))


def test_a_ceiling_is_the_best_of_several_tries() -> None:
    looks = iter([0.0, 0.0, 3.0, 3.0, 4.0, 4.0, 6.0])  # tries of 3, 1 and 2 seconds
    assert ceilings._best(Cpu(now=lambda: next(looks)), lambda: None) == 1.0


class Coarse(FakeMark):
    """A mark of a clock of coarse steps, by which a short call must not be clocked alone."""

    def elapsed_time(self, later: FakeMark) -> float:
        return math.floor(super().elapsed_time(later) / 0.5e-3) * 0.5e-3


@pytest.mark.parametrize("mark", [FakeMark, Coarse])
@pytest.mark.parametrize("device_seconds", [1e-6, 1.7e-6, 4e-6, 40e-6, 2e-3])
def test_a_kernel_that_takes_less_time_than_its_launch_is_clocked_by_the_device(
    device_seconds: float, mark: type[FakeMark]
) -> None:
    line = FakeLine(mark)
    assert ceilings._best(FakeCuda(line), kernels(line, 1, 6e-6, device_seconds)) == pytest.approx(
        device_seconds, rel=1e-6 if mark is FakeMark else 0.25
    )
    assert line.host.seconds < 0.2  # it ends


def test_a_ceiling_with_every_rate_comes_back_from_its_json() -> None:
    products = (Rate("MKL", 5e10, 0.2), Rate(REGISTERS, 8e10, 0.01))
    ceiling = Ceiling("cpu", "float32", 2, products, (Rate(1024, 1e10),), (Rate(1024, 3e10, 0.1),), 5e-7, None)
    assert Ceiling.from_json(json.loads(json.dumps(ceiling.to_json()))) == ceiling


def test_two_measurements_of_a_ceiling_make_the_best_of_both_and_a_spread() -> None:
    first = Ceiling("cpu", "float32", 1, (Rate("MKL", 4e10),), (Rate(64, 1e10),), (), 5e-7, None)
    again = Ceiling("cpu", "float32", 1, (Rate("MKL", 5e10), Rate(REGISTERS, 9e10)), (), (), 4e-7, None)
    both = first.joined(again)
    assert both.products == (Rate("MKL", 5e10, 0.25), Rate(REGISTERS, 9e10))
    assert (both.copies, both.dispatch_seconds, both.macs_per_second) == (first.copies, 4e-7, 9e10)


@pytest.mark.alone
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_no_product_is_faster_than_multiply_adds_on_registers(short: None, tmp_path: Path, dtype: DType) -> None:
    native = ceilings.load(dtype, tmp_path)
    ceiling, multiplies = ceilings.measure(Cpu(), dtype, 1, native), native[1] > 0
    products = {rate.work: rate for rate in ceiling.products}
    assert (REGISTERS in products) == multiplies
    assert multiplies or dtype in ("bfloat16", "float16")
    best = ceiling  # a kernel for another type would be half as fast; a busy machine can make any look so for a while
    for _ in range(20 if multiplies else 0):
        if next(rate.value for rate in best.products if rate.work == REGISTERS) > 0.6 * best.macs_per_second:
            break
        best = best.joined(ceilings.measure(Cpu(), dtype, 1, native, again=True))
    else:
        assert not multiplies
    assert [rate.work for rate in ceiling.reads] == [1 << 15]  # the largest is only copied
    assert [rate.work for rate in ceiling.copies] == [1 << 15, 1 << 18]
    values = [rate.value for rate in ceiling.products] + [rate.value for rate in ceiling.copies]
    assert all(1e7 < value < 1e15 for value in values)
    assert 1e-8 < ceiling.dispatch_seconds < 1e-2
    measured = ceilings.measure(Cpu(), dtype, 1, ceilings.load(dtype, tmp_path), again=True)  # not built again
    again = Ceiling.from_json(json.loads(json.dumps(measured.to_json())))  # as it passes to the coordinator
    assert ceiling.joined(again).macs_per_second >= ceiling.macs_per_second


@pytest.mark.parametrize(
    ("is_x86", "dtype", "sets", "kernel"),
    [
        (True, "float32", (), "float"),
        (True, "float64", ("avx2", "fma"), "double"),
        (True, "bfloat16", ("avx2", "fma"), "float"),
        (True, "bfloat16", ("avx512_bf16", "avx512f"), "bfloat16"),
        (True, "bfloat16", ("amx_bf16", "amx_tile", "avx512_bf16"), None),
        (True, "float16", ("avx512_bf16", "avx512f"), "float"),
        (True, "float16", ("avx512_fp16", "avx512f"), None),
        (True, "bfloat16", (), None),  # nobody knows
        (False, "float32", ("asimd",), "float"),
        (False, "bfloat16", ("asimd", "bf16"), None),
    ],
)
def test_a_type_of_16_bits_is_multiplied_by_its_own_units_or_as_float32(
    monkeypatch: pytest.MonkeyPatch, is_x86: bool, dtype: DType, sets: tuple[str, ...], kernel: str | None
) -> None:
    monkeypatch.setattr(ceilings, "IS_X86", is_x86)
    assert ceilings.kernel_for(dtype, sets) == kernel


@pytest.mark.parametrize("kernel", ceilings.KERNEL_DEFINITIONS)
def test_every_kernel_can_be_built_also_where_the_processor_lacks_its_instruction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel: str
) -> None:
    portable = tuple(each for each in direct.BUILD_OPTIONS if each != "-march=native")
    monkeypatch.setattr(direct, "BUILD_OPTIONS", portable)
    monkeypatch.setattr(ceilings, "kernel_for", lambda dtype, sets: kernel)
    native = ceilings.load("bfloat16", tmp_path)
    assert (native[1] > 0) == (kernel != "bfloat16")
    ceiling = ceilings.measure(Cpu(), "bfloat16", 2, native, again=True)  # two threads, each of which reads its half
    assert min(rate.value for rate in ceiling.reads) > 1e8


@pytest.mark.parametrize(
    ("built", "reason"),
    [
        ("", "no C compiler was found"),
        ("exec touch", "can't be loaded: .*file too short"),
        ("printf 'Fehl\\351r\\n' >&2; exit 1; :", r"can't build kernels\.c: Fehl.r"),
    ],
)
def test_without_a_working_compiler_the_reason_is_told(
    built: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/bash\nwhile [ "$1" != -o ]; do shift; done\n{built} "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(compiler) if built else None)
    with pytest.raises(Unavailable, match=reason):
        ceilings.load("float32", tmp_path)


def test_a_stall_makes_no_call_of_a_kernel_seem_long() -> None:
    seconds, calls = 0.0, list[int]()

    def arithmetic(rounds: int) -> None:
        """A round takes a microsecond, and the very first call five seconds."""
        nonlocal seconds
        seconds += 1e-6 * rounds + (0.0 if calls else 5.0)
        calls.append(rounds)

    assert ceilings.rounds_per_second([arithmetic], 0.01, now=lambda: seconds) == pytest.approx(1e6)
    assert calls[-1] >= 1000  # a millisecond
