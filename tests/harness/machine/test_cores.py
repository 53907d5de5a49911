"""Cores on which workers are timed and cases prepared, limits, and the processor from texts that machines gave."""

from pathlib import Path

import pytest

from rnnbench.harness.devices import Cpu
from rnnbench.harness.machine import cores
from rnnbench.harness.machine.cores import measuring_cores, preparing_cores, processor
from rnnbench.store.run_info import UNKNOWN_HYPERVISOR, Cache, Processor

SIBLINGS, PACKAGE = "topology/thread_siblings_list", "topology/physical_package_id"
FREQUENCY, CAPACITY = "cpufreq/cpuinfo_max_freq", "cpu_capacity"
ADJACENT = {core: f"{core // 2 * 2}-{core // 2 * 2 + 1}" for core in range(8)}  # as many virtual machines number them
APART = {core: f"{core % 4},{core % 4 + 4}" for core in range(8)}  # four cores of two threads
PAIRED = {core: ADJACENT[core] for core in range(4)}  # beside four cores of one thread
FAST, SLOW = range(4), range(4, 8)


@pytest.mark.parametrize(
    ("files", "number", "expected"),
    [
        ({SIBLINGS: ADJACENT}, 1, [7]),
        ({SIBLINGS: ADJACENT}, 2, [5, 7]),
        ({SIBLINGS: ADJACENT}, 4, [1, 3, 5, 7]),
        ({SIBLINGS: ADJACENT}, 5, [1, 3, 5, 6, 7]),
        ({SIBLINGS: APART}, 2, [6, 7]),
        ({}, 2, [6, 7]),
        # Of two kinds of cores the fastest, though the others come last: some systems give both one capacity.
        ({SIBLINGS: PAIRED, CAPACITY: dict.fromkeys(FAST, "1024") | dict.fromkeys(SLOW, "512")}, 2, [1, 3]),
        (
            {
                SIBLINGS: PAIRED,
                CAPACITY: dict.fromkeys(range(8), "1024"),
                FREQUENCY: dict.fromkeys(FAST, "4900000") | dict.fromkeys(SLOW, "3600000"),
            },
            2,
            [1, 3],
        ),
        ({PACKAGE: {core: str(core % 2) for core in range(8)}}, 2, [5, 7]),  # of one package, where they take turns
    ],
)
def test_threads_are_timed_on_the_fastest_physical_cores_of_their_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, dict[int, str]],
    number: int,
    expected: list[int],
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(8)))
    for file, texts in files.items():
        for core, text in texts.items():
            (tmp_path / f"cpu{core}" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"cpu{core}" / file).write_text(f"{text}\n")
    monkeypatch.setattr(cores, "SYSTEM", tmp_path)
    assert measuring_cores(number) == expected


@pytest.mark.parametrize(
    ("number", "expected"), [(1, [[5], [4]]), (3, [[3, 4, 5], [0, 1, 2]]), (4, [[2, 3, 4, 5], [2, 3, 4, 5]])]
)
def test_sides_prepare_on_cores_of_their_own_if_there_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: list[list[int]]
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(6)))
    monkeypatch.setattr(cores, "SYSTEM", tmp_path)
    assert preparing_cores(number, 2) == expected


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of control groups; the process is in its group a/b."""
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    (tmp_path / "own").write_text("0::/a/b\n")
    (tmp_path / "groups" / "a" / "b").mkdir(parents=True)
    return tmp_path / "groups"


def test_every_group_around_a_process_limits_its_memory(limits: Path) -> None:
    for folder, text in {"a/b": "3000\n", "a": "max\n", ".": "9000\n"}.items():
        (limits / folder / "memory.max").write_text(text)
    assert list(cores.group_texts("memory.max")) == ["3000", "max", "9000"]
    assert Cpu().memory_bytes == 3000


def test_a_system_that_reads_slowly_tells_waits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "SHORTEST_WAIT", 0.0)
    with cores.core_waits() as (at_start, at_end):
        assert at_end() - at_start() < 1.0


@pytest.mark.parametrize(
    ("files", "limit", "number"),
    [
        ({"a/b": "max 100000\n", "a": "50000 100000\n"}, "50000 100000", 0.5),
        ({"a/b": "90000 100000\n", "a": "10000 20000\n"}, "10000 20000", 0.5),
        ({"a": "max 100000\n"}, "max 100000", float("inf")),
    ],
)
def test_the_lowest_limit_of_processor_time_around_a_process_counts(
    limits: Path, files: dict[str, str], limit: str, number: float
) -> None:
    assert cores.cpu_limit() is None
    for folder, text in files.items():
        (limits / folder / "cpu.max").write_text(text)
    assert cores.cpu_limit() == limit
    assert cores.cpu_cores(limit) == number


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
    texts = {"level": str(level), "type": kind, "size": size, "shared_cpu_map": shared}
    return {f"{folder}__{name}": f"{text}\n" for name, text in texts.items()}


def test_a_xeon_in_a_microvm_is_known_but_for_its_microcode(tmp_path: Path) -> None:
    caches = cache(3, "Unified", "307200K", "3") | cache(1, "Data", "48K", "1") | cache(1, "Instruction", "32K", "1")
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
    named = "if [ $LC_ALL = C ]; then echo 'Model name:    Neoverse-V1'; else echo 'Modellname:    Neoverse-V1'; fi"
    program.write_text(f"#!/bin/sh\necho 'Architecture:  aarch64'\n{named}\n")
    program.chmod(0o755)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
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
        ("2M", "00000000,00000f0f", (Cache(2, "unified", 2 << 20, 8),)),
        ("512", "", (Cache(2, "unified", 512, 1),)),
        ("", "1", ()),
        ("much", "1", ()),
    ],
)
def test_a_cache_has_a_size_and_the_number_of_its_cores(
    tmp_path: Path, size: str, shared: str, expected: tuple[Cache, ...]
) -> None:
    assert on(tmp_path, "", **cache(2, "Unified", size, shared, core=10)).caches == expected
