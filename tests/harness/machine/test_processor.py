"""The processor's identity, from texts that real machines gave (their lines that matter) and from any other text."""

from pathlib import Path

import pytest

from rnnbench.harness.machine.processor import processor
from rnnbench.store.run_info import UNKNOWN_HYPERVISOR, Cache, Processor

XEON = """\
processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 207
model name	: Intel(R) Xeon(R) Processor
stepping	: 2
microcode	: 0x1
flags		: fpu sse2 ssse3 fma sse4_1 sse4_2 avx f16c hypervisor avx2 smep avx512f avx512_bf16 amx_tile amx_int8

processor	: 1
vendor_id	: GenuineIntel
cpu family	: 6
model		: 207
model name	: Intel(R) Xeon(R) Processor
stepping	: 2
microcode	: 0x1
power management:
"""
EPYC = """\
processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 26
model		: 68
model name	: AMD EPYC 4545P 16-Core Processor
stepping	: 0
microcode	: 0xb404023
flags		: fpu sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c sse4a avx2 smep avx512f sme
"""
GUEST = """\
processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 23
model		: 49
model name	: AMD EPYC 7K62 48-Core Processor
stepping	: 0
microcode	: 0x1000065
flags		: fpu sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c hypervisor sse4a avx2 smep
"""
GRAVITON = """\
processor	: 0
BogoMIPS	: 2100.00
Features	: fp asimd evtstrm aes fphp asimdhp cpuid sha512 sve asimdfhm dcpodp svei8mm svebf16 i8mm bf16 dgh rng
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x1
CPU part	: 0xd40
CPU revision	: 1

processor	: 1
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x1
CPU part	: 0xd40
CPU revision	: 1
"""


def on(folder: Path, cpuinfo: str, **files: str) -> Processor:
    """The processor of a machine with these texts; `__` in a name is a slash."""
    for name, text in {"proc__cpuinfo": cpuinfo, **files}.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return processor(folder)


def cache(level: int, kind: str, size: str, shared: str, core: int = 0) -> dict[str, str]:
    """The files of one cache."""
    folder = f"sys__devices__system__cpu__cpu{core}__cache__index{level}{kind[0]}"
    texts = {"level": str(level), "type": kind, "size": size, "shared_cpu_list": shared}
    return {f"{folder}__{name}": f"{text}\n" for name, text in texts.items()}


def test_a_xeon_in_a_microvm_is_known_but_for_its_microcode(tmp_path: Path) -> None:
    caches = cache(3, "Unified", "307200K", "0-1") | cache(1, "Data", "48K", "0") | cache(1, "Instruction", "32K", "0")
    assert on(tmp_path, XEON, **caches) == Processor(
        "Intel(R) Xeon(R) Processor",
        "GenuineIntel",
        "6",
        "207",
        "2",
        ("amx_int8", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512f", "f16c", "fma", "sse4_1", "sse4_2"),
        (Cache(1, "data", 48 << 10, 1), Cache(1, "instruction", 32 << 10, 1), Cache(3, "unified", 300 << 20, 2)),
        None,
        UNKNOWN_HYPERVISOR,
    )


def test_an_epyc_without_a_hypervisor_is_bare_metal_whoever_made_the_machine(tmp_path: Path) -> None:
    known = on(tmp_path, EPYC, sys__class__dmi__id__sys_vendor="Amazon EC2")
    assert (known.vendor, known.family, known.model, known.stepping) == ("AuthenticAMD", "26", "68", "0")
    assert (known.name, known.microcode, known.hypervisor) == ("AMD EPYC 4545P 16-Core Processor", "0xb404023", None)
    assert known.instruction_sets == ("avx", "avx2", "avx512f", "f16c", "fma", "sse4_1", "sse4_2", "sse4a")  # no sme
    assert known.caches == ()


def test_an_arm_server_has_its_numbers_and_the_name_that_the_system_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "lscpu"
    program.write_text("#!/bin/sh\necho 'Architecture:  aarch64'\necho 'Model name:    Neoverse-V1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert on(tmp_path, GRAVITON, sys__class__dmi__id__sys_vendor="Amazon EC2") == Processor(
        "Neoverse-V1",
        "0x41",
        "8",
        "0xd40",
        "0x1 1",
        ("asimd", "asimdfhm", "asimdhp", "bf16", "fphp", "i8mm", "sve", "svebf16", "svei8mm"),
    )


@pytest.mark.parametrize(
    ("files", "expected"), [({"sys__class__dmi__id__sys_vendor": "QEMU"}, "QEMU"), ({}, UNKNOWN_HYPERVISOR)]
)
def test_a_guest_names_its_hypervisor_where_that_is_known(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    known = on(tmp_path, GUEST, **files)
    assert (known.hypervisor, known.microcode) == (expected, None)


@pytest.mark.parametrize(
    ("size", "shared", "expected"),
    [
        ("2M", "0-3,8-11", (Cache(2, "unified", 2 << 20, 8),)),
        ("512", "4", (Cache(2, "unified", 512, 1),)),
        ("", "0", ()),
        ("much", "0", ()),
    ],
)
def test_a_cache_has_a_size_and_the_number_of_its_cores(
    tmp_path: Path, size: str, shared: str, expected: tuple[Cache, ...]
) -> None:
    assert on(tmp_path, "", **cache(2, "Unified", size, shared, core=10)).caches == expected
