"""`python -m tests.gpu.packages`: versions of the packages in pyproject.toml; exit code 1 if one is missing."""

import platform
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
BESIDE = ("pytest", "triton", "nvidia-cudnn-cu13")  # shown, not required
Row = tuple[str, str, str]  # package, installed version, what is wrong


def requirements() -> dict[str, str]:
    """The minimum version of each package that rnnbench depends on."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return dict(requirement.partition(",")[0].split(">=") for requirement in project["dependencies"])


def rows(required: dict[str, str]) -> Iterable[Row]:
    """The installed version and the fault of each required package."""
    for package, least in required.items():
        version = installed(package)
        if version is None:
            yield package, "none", f"is not installed; put its wheel into the folder WHEELS (at least {least})"
        elif numbers(version) < numbers(least):
            yield package, version, f"is older than {least}; put a newer wheel into the folder WHEELS"
        else:
            yield package, version, ""


def installed(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> tuple[int, ...]:
    """The release part of a version for comparisons: (2, 11, 0) for 2.11.0+cu130."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def main() -> int:
    """Print the table."""
    packages = list(rows(requirements()))
    print(f"{'python':<24}{platform.python_version()}")
    for package in BESIDE:
        print(f"{package:<24}{installed(package) or 'none'}")
    for package, version, fault in packages:
        print(f"{package:<24}{version:<14}{fault}".rstrip())
    faults = [package for package, _, fault in packages if fault]
    print(f"missing or too old: {', '.join(faults)}" if faults else f"all {len(packages)} packages are there")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
