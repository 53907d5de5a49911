"""`python -m tests.gpu.unchanged DEVICE SECONDS OUT`: a check of this code against a copy of it, without git.

Exit code 1 if a case is called regressed or improved, or none was compared.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rnnbench.suite import suites

PACKAGE = Path(__file__).resolve().parents[2] / "rnnbench"
SUITE = "ci"


def main(device: str, seconds: str, out: str) -> int:
    """Run the check, print the verdicts and count them."""
    with tempfile.TemporaryDirectory() as folder:
        # Where `--base DIR` looks for them: the suite's file in the folder itself.
        shutil.copytree(PACKAGE, Path(folder) / "rnnbench", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(suites.find(SUITE), folder)
        options = ["--base", folder, "--device", device, "--budget", f"{seconds}s", "--out", out, "--json"]
        command = [sys.executable, "-m", "rnnbench", "check", SUITE, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    findings = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for finding in findings:
        case = f"{finding['cell']} {finding['implementation']} {finding['phase']} batch {finding['batch_size']}"
        print(f"{case:<34} {finding['verdict'] or 'none':<13} {finding['sentence'] or finding['reason']}")
    verdicts = Counter(str(finding["verdict"]) for finding in findings)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or "no verdict")
    is_right = bool(verdicts) and verdicts.keys() <= {"unchanged", "undecided"}
    return int(done.returncode != 0 or not is_right)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
