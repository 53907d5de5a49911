"""The identity of this machine's processor, from the text files of Linux; other systems tell less."""

import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rnnbench.harness.machine.cores import SYSTEM
from rnnbench.harness.machine.system_files import file_text
from rnnbench.store.processor import UNKNOWN_HYPERVISOR, Cache, Processor, instruction_sets

CPUINFO = Path("/proc/cpuinfo")
DMI = Path("/sys/class/dmi/id")
XEN = Path("/sys/hypervisor/type")
PLACEHOLDERS = (0x0, 0x1, 0xFFFFFFFF, 0x1000065)  # microcode that hypervisors make up
RANGE = r"\d{1,6}(?:-\d{1,6})?"
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def processor(cpuinfo: Path = CPUINFO, cores: Path = SYSTEM, dmi: Path = DMI, xen: Path = XEN) -> Processor:
    """This machine's processor. What the system does not tell is None; nothing is raised."""
    blocks = _blocks(file_text(cpuinfo))
    flags = {flag for block in blocks[:1] for key in ("flags", "Features") for flag in block.get(key, "").split()}
    cores_facts = [_arm_facts(block) for block in blocks if "CPU part" in block] or blocks
    maker = file_text(xen) or file_text(dmi / "sys_vendor") or UNKNOWN_HYPERVISOR  # of a virtual machine
    return Processor(
        name=_value(cores_facts, "model name") or _lscpu_name() or platform.processor() or None,
        vendor=_value(cores_facts, "vendor_id"),
        family=_value(cores_facts, "cpu family"),
        model=_value(cores_facts, "model"),
        stepping=_value(cores_facts, "stepping"),
        instruction_sets=instruction_sets(flags),
        caches=_caches(cores),
        microcode=_microcode(_value(cores_facts, "microcode")),
        hypervisor=maker if "hypervisor" in flags else None,  # ARM has no such flag
    )


def _blocks(text: str) -> list[dict[str, str]]:
    """The facts about each logical core; some systems add a block about the board."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        pairs = (line.partition(":") for line in block.splitlines())
        blocks.append({key.strip(): value.strip() for key, _, value in pairs if value.strip()})
    return blocks


def _arm_facts(block: Mapping[str, str]) -> dict[str, str]:
    """What an ARM core tells, under the names that x86 has."""
    revision = [block.get("CPU variant", ""), block.get("CPU revision", "")]
    facts = {
        "model name": block.get("model name", ""),
        "vendor_id": block.get("CPU implementer", ""),
        "cpu family": block.get("CPU architecture", ""),
        "model": block["CPU part"],
        "stepping": f"r{revision[0].removeprefix('0x')}p{revision[1]}" if all(revision) else "",
    }
    return {key: value for key, value in facts.items() if value}


def _value(blocks: Sequence[Mapping[str, str]], key: str) -> str | None:
    """What the cores say under a key; cores of several kinds have several values."""
    return " + ".join(dict.fromkeys(block[key] for block in blocks if key in block)) or None


def _microcode(text: str | None) -> str | None:
    try:
        return None if text is None or int(text, 16) in PLACEHOLDERS else text
    except ValueError:
        return text


def _lscpu_name() -> str | None:
    """The processor's name by `lscpu`, which knows the part numbers of ARM; None if it is not there or knows none."""
    with suppress(OSError, subprocess.SubprocessError):
        text = subprocess.run(
            ["lscpu"], capture_output=True, text=True, errors="replace", check=True, timeout=10
        ).stdout
        if match := re.search(r"^Model name: *(\S.*)$", text, re.MULTILINE):
            return match[1].strip()
    return None


def _caches(cores: Path) -> tuple[Cache, ...]:
    """The caches of the first core that tells its caches."""
    folders = (folder / "cache" for folder in sorted(cores.glob("cpu[0-9]*"), key=_number))
    first = next((folder for folder in folders if any(folder.glob("index*"))), cores)
    found = (_cache(folder) for folder in first.glob("index*"))
    return tuple(sorted(filter(None, found), key=lambda cache: (cache.level, cache.kind)))


def _number(core: Path) -> int:
    return int(core.name.removeprefix("cpu")) if core.name[3:].isdecimal() else 0


def _cache(folder: Path) -> Cache | None:
    """One cache; None if its level or size is not known, as on many ARM machines."""
    level, size = (file_text(folder / name) for name in ("level", "size"))
    match = re.fullmatch(r"(\d{1,9})([KMG]?)", size, re.ASCII)
    if not match or not re.fullmatch(r"\d", level, re.ASCII):
        return None
    sharing = file_text(folder / "shared_cpu_list")
    return Cache(int(level), file_text(folder / "type").lower(), int(match[1]) * UNITS[match[2]], _cores(sharing))


def _cores(text: str) -> int:
    """How many cores a list such as `0-3,8` names; 1 if it is not such a list."""
    if not re.fullmatch(rf"{RANGE}(,{RANGE})*", text, re.ASCII):
        return 1
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return max(1, sum(part[-1] - part[0] + 1 for part in ends))
