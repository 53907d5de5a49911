"""`python -m tests.gpu.unchanged DEVICE SECONDS OUT`: a check of this code against a copy of it, without git.

Exit code 1 if a case is called regressed or improved, or none was compared.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rnnbench import suites

PACKAGE = Path(__file__).resolve().parents[2] / "rnnbench"
SUITE = "ci"


def copy(base: Path) -> None:
    """Copy this package and the suite to where `--base DIR` looks for them: the suite's file in the folder itself."""
    shutil.copytree(PACKAGE, base / "rnnbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(suites.find(SUITE), base)


def findings(text: str) -> list[dict[str, Any]]:
    """The findings that `rnnbench check --json` printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def counted(found: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How often each verdict was given; `none` counts cases that were not compared."""
    return Counter(str(finding["verdict"] or "none") for finding in found)


def is_right(verdicts: Counter[str]) -> bool:
    """Whether cases were compared and none raised an alarm."""
    quiet = verdicts["unchanged"] + verdicts["undecided"]
    return quiet > 0 and quiet == verdicts.total()


def main(device: str, seconds: str, out: str) -> int:
    """Run the check, print the verdicts and count them."""
    with tempfile.TemporaryDirectory() as folder:
        copy(Path(folder))
        options = ["--base", folder, "--device", device, "--budget", f"{seconds}s", "--out", out, "--json"]
        command = [sys.executable, "-m", "rnnbench", "check", SUITE, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    judged = findings(done.stdout)
    for finding in judged:
        case = f"{finding['cell']} {finding['implementation']} {finding['phase']} batch {finding['batch_size']}"
        print(f"{case:<34} {finding['verdict'] or 'none':<13} {finding['sentence'] or finding['reason']}")
    verdicts = counted(judged)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or "no verdict")
    return int(done.returncode != 0 or not is_right(verdicts))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
