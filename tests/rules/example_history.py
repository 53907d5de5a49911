"""The example of a history: `python -m tests.rules.example_history REPOSITORY` makes it anew.

REPOSITORY is https://github.com/alxndrTL/mamba.py, or a clone of it. The loop of `docs/checks.md` checks 30 commits
of it, of which two or three take `BUDGET` and the others some ten seconds each. What `report --history` makes of the
checks is put into `reports/`, with a picture of its first screen, and added to git's index.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.doubles.browser import Opened, started

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "checks.md"
EXAMPLE = ROOT / "reports" / "mamba-history"
PICTURE = ROOT / "reports" / "mamba-history.png"
ADDRESS = "https://github.com/alxndrTL/mamba.py.git"
FIRST = "e8d40d2"
LAST = "2aaf010"
BUDGET = "150s"
SEEN = {"width": 1280, "height": 900}  # pixels
CELLS = '''"""Mamba as rnnbench takes a module: built from sizes, it runs a whole sequence (length, batch, features)."""

from torch import nn

try:
    from mambapy import mamba
except ImportError:  # before it was a package
    import mamba


class ParallelScan(nn.Module):
    pscan = True

    def __init__(self, hidden_size):
        super().__init__()
        self.layer = mamba.Mamba(mamba.MambaConfig(d_model=hidden_size, n_layers=1, pscan=self.pscan))

    def forward(self, input, state=None):
        output = self.layer(input.transpose(0, 1)).transpose(0, 1)
        return output, output[-1:]


class Sequential(ParallelScan):
    pscan = False
'''
SUITE = """name = "mamba"
description = "The two scans of mamba.py."
[[sweep]]
cell = ["bench_cells.py:ParallelScan", "bench_cells.py:Sequential"]
implementation = "sequence"
reference = "none"
phase = ["inference", "training"]
batch_size = 4
seq_len = 16
input_size = 32
hidden_size = 32
"""


def loop_of_the_page() -> str:
    """Return the loop of `docs/checks.md`: the first block of its section on histories."""
    section = PAGE.read_text().partition("## Replay a history\n")[2]
    block = re.search(r"(?:^    .*\n)+", section, re.MULTILINE)
    assert block is not None
    return "\n".join(line.removeprefix("    ") for line in block[0].splitlines())


def loop_of_the_example() -> str:
    """Return that loop over the commits of the example."""
    loop = loop_of_the_page()
    for shown, own in {"first=v1.0 last=main": f"first={FIRST} last={LAST}", "60s": BUDGET}.items():
        assert shown in loop
        loop = loop.replace(shown, own)
    return loop


def check_all(repository: str, folder: Path) -> None:
    """Clone a repository into a folder, and check its commits there; prints a line for each."""
    subprocess.run(["git", "clone", "--quiet", repository, folder], check=True)
    subprocess.run(["git", "-C", folder, "remote", "set-url", "origin", ADDRESS], check=True)
    (folder / "bench.toml").write_text(SUITE)
    (folder / "bench_cells.py").write_text(CELLS)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-c", loop_of_the_example()], cwd=folder, env=os.environ | {"PATH": path}, check=True)


def show(folder: Path) -> None:
    """Put the history of the checks in a clone, and its first screen, into `reports/`."""
    if EXAMPLE.exists():
        shutil.rmtree(EXAMPLE)
    command = [sys.executable, "-m", "rnnbench", "report", "--history", "results/replay", "--out", str(EXAMPLE)]
    subprocess.run(command, cwd=folder, check=True)
    with started() as browser:
        seen = Opened(browser, (EXAMPLE / "index.html").as_uri(), viewport=SEEN)
        seen.page.screenshot(path=PICTURE)
        seen.close()
    subprocess.run(["git", "add", "-f", EXAMPLE, PICTURE], cwd=ROOT, check=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "mamba.py"
        check_all(sys.argv[1], clone)
        show(clone)
    print(EXAMPLE / "index.html")
