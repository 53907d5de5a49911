"""The identity of this machine's processor, from the text files of Linux; other systems tell less."""

import platform
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from rnnbench.harness.machine.cores import file_text
from rnnbench.store.run_info import UNKNOWN_HYPERVISOR, Cache, Processor, instruction_sets

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def processor(root: Path = Path("/")) -> Processor:
    """Return this machine's processor, as the system below `root` describes it; None for what it does not tell."""
    texts = re.split(r"\n\s*\n", file_text(root / "proc/cpuinfo"))
    cores = [dict(re.findall(r"^(\S[^\t:]*?)\s*: *(\S.*)$", text, re.MULTILINE)) for text in texts]
    flags = {flag for key in ("flags", "Features") for flag in cores[0].get(key, "").split()}

    def value(*keys: str) -> str | None:
        """Return what the cores say under these keys; cores of several kinds have several values."""
        said = (" ".join(core[key] for key in keys if key in core) for core in cores)
        return " + ".join(filter(None, dict.fromkeys(said))) or None

    is_arm = "CPU part" in cores[0]
    hypervisor = None  # ARM has no such flag
    if "hypervisor" in flags:
        hypervisor = file_text(root / "sys/class/dmi/id/sys_vendor") or UNKNOWN_HYPERVISOR
    return Processor(
        name=value("model name") or _lscpu_name() or platform.processor() or None,
        vendor=value("CPU implementer" if is_arm else "vendor_id"),
        family=value("CPU architecture" if is_arm else "cpu family"),
        model=value("CPU part" if is_arm else "model"),
        stepping=value("CPU variant", "CPU revision") if is_arm else value("stepping"),
        instruction_sets=instruction_sets(flags),
        caches=_caches(root / "sys/devices/system/cpu"),
        microcode=None if hypervisor else value("microcode"),  # hypervisors make one up
        hypervisor=hypervisor,
    )


def _lscpu_name() -> str | None:
    """Return the processor's name by `lscpu`, which knows the part numbers of ARM; None if it knows none."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["lscpu"], capture_output=True, text=True, errors="replace", check=True, timeout=10)
        if match := re.search(r"^Model name: *(\S.*)$", done.stdout, re.MULTILINE):
            return match[1].strip()
    return None


def _caches(cores: Path) -> tuple[Cache, ...]:
    """Return the caches of the first core that tells its caches; many ARM machines tell none."""
    files = sorted(cores.glob("cpu[0-9]*/cache/index*/size"), key=lambda file: int(file.parts[-4].removeprefix("cpu")))
    caches = []
    for file in files:
        size = re.fullmatch(r"(\d+)([KMG]?)", file_text(file))
        level, kind, shared = (file_text(file.with_name(name)) for name in ("level", "type", "shared_cpu_list"))
        if file.parts[-4] == files[0].parts[-4] and size and level:
            ends = [[int(end) for end in part.split("-")] for part in shared.split(",") if part]
            sharing = sum(part[-1] - part[0] + 1 for part in ends)
            caches.append(Cache(int(level), kind.lower(), int(size[1]) * UNITS[size[2]], max(1, sharing)))
    return tuple(sorted(caches, key=lambda cache: (cache.level, cache.kind)))
