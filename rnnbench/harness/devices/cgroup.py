"""How much memory Linux's control groups (version 1 or 2) allow this process."""

from collections.abc import Iterator
from pathlib import Path

OWN = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def memory_limits(own: Path = OWN, root: Path = ROOT) -> list[int]:
    """Memory limits of the process's group and of its parents, in bytes; empty if nothing is limited or reported."""
    return [int(text) for text in map(_text, _files(_text(own), root)) if text.isdecimal()]


def _files(groups: str, root: Path) -> Iterator[Path]:
    """Files that may hold a limit. Some may not exist: a container can see its own group as the root."""
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = base / path.lstrip("/")
        yield from (folder / name for folder in (group, *group.parents) if folder.is_relative_to(base))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
