"""`python -m tests.gpu.packages`: versions of all that pyproject.toml requires; exit code 1 if a package is missing."""

import platform
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
BESIDE = ("pytest", "triton", "nvidia-cudnn-cu13")  # told, not required
Row = tuple[str, str, str]  # package, installed version, what is wrong


def requirements() -> dict[str, str]:
    """The least version of each package that rnnbench depends on."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return dict(requirement.split(">=") for requirement in project["dependencies"])


def rows(required: dict[str, str]) -> Iterable[Row]:
    """What is installed of each."""
    for package, least in required.items():
        found = installed(package)
        if found is None:
            yield package, "none", f"is not installed; put its wheel into the folder WHEELS (at least {least})"
        elif numbers(found) < numbers(least):
            yield package, found, f"is older than {least}; put a newer wheel into the folder WHEELS"
        else:
            yield package, found, ""


def installed(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> tuple[int, ...]:
    """The release of a version, to be compared: (2, 11, 0) of 2.11.0+cu130."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def main() -> int:
    """Print the table."""
    found = list(rows(requirements()))
    print(f"{'python':<24}{platform.python_version()}")
    for package in BESIDE:
        print(f"{package:<24}{installed(package) or 'none'}")
    for package, version, fault in found:
        print(f"{package:<24}{version:<14}{fault}".rstrip())
    faults = [package for package, _, fault in found if fault]
    print(f"missing or too old: {', '.join(faults)}" if faults else f"all {len(found)} packages are there")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
