"""`python -m tests.gpu.unchanged DEVICE SECONDS OUT`: a check of this code against a copy of it, without git.

Exit code 1 where a case is called regressed or improved, or none was compared.
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
    """This package and the suite, as `--base DIR` looks for them: the suite's file in the folder itself."""
    shutil.copytree(PACKAGE, base / "rnnbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(suites.find(SUITE), base)


def findings(text: str) -> list[dict[str, Any]]:
    """What `rnnbench check --json` printed of each case."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def counted(found: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How often each verdict was given; `none` where a case was not compared."""
    return Counter(str(one["verdict"] or "none") for one in found)


def is_right(verdicts: Counter[str]) -> bool:
    """Whether cases were compared and none gave an alarm."""
    quiet = verdicts["unchanged"] + verdicts["inconclusive"]
    return quiet > 0 and quiet == verdicts.total()


def main(device: str, seconds: str, out: str) -> int:
    """Print the verdicts and how many there are of each."""
    with tempfile.TemporaryDirectory() as folder:
        copy(Path(folder))
        given = ["--base", folder, "--device", device, "--budget", f"{seconds}s", "--out", out, "--json"]
        command = [sys.executable, "-m", "rnnbench", "check", SUITE, *given]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    found = findings(done.stdout)
    for one in found:
        case = f"{one['cell']} {one['implementation']} {one['phase']} batch {one['batch_size']}"
        print(f"{case:<34} {one['verdict'] or 'none':<13} {one['sentence'] or one['reason']}")
    verdicts = counted(found)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or "no verdict")
    return int(done.returncode != 0 or not is_right(verdicts))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
