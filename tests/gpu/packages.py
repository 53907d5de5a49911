"""`python -m tests.gpu.packages`: the card, and the packages of pyproject.toml; exit code 1 if one is missing."""

import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
BESIDE = ("pytest", "triton", "nvidia-cudnn-cu13")  # shown, not required


def main(required: list[str]) -> int:
    """Print a line for each package."""
    faults = []
    for text in [*required, *BESIDE]:
        requirement = Requirement(text)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = "none"
        is_there = version != "none" and requirement.specifier.contains(version, prereleases=True)
        print(f"{requirement.name:<24}{version}")
        if text in required and not is_there:
            faults.append(text)
    print(f"put wheels of these into the folder WHEELS: {', '.join(faults)}" if faults else "all packages are there")
    return int(bool(faults))


if __name__ == "__main__":
    if shutil.which("nvidia-smi"):
        subprocess.run(["nvidia-smi", "-q"], check=False)
    sys.exit(main(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]))
