"""The gate of a team: a small package with twelve commits whose truth is known, checked as its pages say.

The package has three cells that rnnbench does not have, one of which reads a data file and one of which imports a
module late, and a suite of its own for a cell in C++. Each commit is compared with the one before it, as a required
check of a pull request is: three times, the one that is 10% slower and the one of instructions twenty times.

    python -m tests.validation gate                                  # 45 minutes on a quiet machine with two cores
    python -m tests.validation gate --times 1                        # 12 minutes
    python -m tests.validation gate --only "10% slower" --times 5    # 2 minutes
    python -m tests.validation gate --busy 1                         # beside a busy process, as rows of their own
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd

from tests.doubles import repository
from tests.validation.noise import hogs

BUDGET = "60s"
CHECKS = 3  # of each commit
CELL = '''
import json
from pathlib import Path
import torch
from torch import nn
TURNS = {turns}


class Leaky(nn.Module):
    """Moves to its candidate by a tenth."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.input, self.state = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, input, h):
        candidate = torch.tanh(self.input(input) + self.state(h))
        for _ in range({count}):
            candidate = candidate * 0.999
        return h + 0.1 * (candidate - h)
'''
LEAKY = CELL.format(turns=200, count="TURNS")
GATED = (
    CELL.replace("Leaky", "Gated")
    .replace("TURNS = {turns}", 'TURNS = json.loads((Path(__file__).parent / "turns.json").read_text())["turns"]')
    .format(count="TURNS")
)
PAIRED = (
    CELL.replace("Leaky", "Paired")
    .format(turns=200, count="late.TURNS")
    .replace("        candidate = torch", "        from tinycells import late\n        candidate = torch")
)
COMPILED = '''
from pathlib import Path
import torch
from torch import nn
from torch.utils.cpp_extension import load
step = load("tinycells_step", [str(Path(__file__).parent / "step.cpp")])


class Compiled(nn.Module):
    """A step in C++."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.input, self.state = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, input, h):
        return step.settle(torch.tanh(self.input(input) + self.state(h)))
'''
STEP = """
#include <torch/extension.h>
torch::Tensor settle(torch::Tensor h) {
  for (int turn = 0; turn < %d; ++turn) h = h * 0.999;
  return h;
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("settle", &settle); }
"""
SUITE = """
name = "{name}"
[check]
margin = {margin}
[[sweep]]
cell = [{cells}]
reference = "none"
implementation = "loop"
batch_size = [1, 8]
seq_len = 4
input_size = 16
hidden_size = 32
"""
CELLS = ("tinycells.leaky:Leaky", "tinycells.gated:Gated", "tinycells.paired:Paired")
SRC = "src/tinycells"


def suite(name: str, *cells: str, margin: float = 0.025) -> str:
    """The text of a suite."""
    return SUITE.format(name=name, cells=", ".join(f'"{cell}"' for cell in cells), margin=margin)


FIRST = {
    "pyproject.toml": '[project]\nname = "tinycells"\nversion = "0"\n',
    "README.md": "Three cells.\n",
    "bench.toml": suite("bench", *CELLS),
    "compiled.toml": suite("compiled", "tinycells.compiled:Compiled"),
    f"{SRC}/__init__.py": "",
    f"{SRC}/leaky.py": LEAKY,
    f"{SRC}/gated.py": GATED,
    f"{SRC}/turns.json": '{"turns": 200}\n',
    f"{SRC}/paired.py": PAIRED,
    f"{SRC}/late.py": "TURNS = 200\n",
    f"{SRC}/compiled.py": COMPILED,
    f"{SRC}/step.cpp": STEP % 200,
}


@dataclass(frozen=True)
class Commit:
    """A commit, and what a check of it should say."""

    about: str
    files: dict[str, str]
    code: int  # the exit code
    slower: str = ""  # the class that must be named, and no other
    suite: str = "bench.toml"
    options: tuple[str, ...] = ()
    moved: tuple[str, str] | None = None
    checks: int = CHECKS


COMMITS = (
    Commit("docs only", {"README.md": "Three cells, and how to train them.\n"}, 0),
    Commit("10% slower", {f"{SRC}/leaky.py": CELL.format(turns=222, count="TURNS")}, 1, "Leaky", checks=20),
    Commit("10% faster", {f"{SRC}/leaky.py": LEAKY}, 0),
    Commit("a data file, 20% slower", {f"{SRC}/turns.json": '{"turns": 244}\n'}, 1, "Gated"),
    Commit("other names, the same speed", {f"{SRC}/gated.py": GATED.replace("candidate", "proposal")}, 0),
    Commit("a module that is imported late, 20% slower", {f"{SRC}/late.py": "TURNS = 244\n"}, 1, "Paired"),
    Commit("C++, 20% slower", {f"{SRC}/step.cpp": STEP % 244}, 1, "Compiled", suite="compiled.toml"),
    Commit(
        "a renamed suite, 20% slower",
        {f"{SRC}/late.py": "TURNS = 296\n"},
        1,
        "Paired",
        suite="speed.toml",
        moved=("bench.toml", "speed.toml"),
    ),
    Commit(
        "a margin of 99%, 20% slower",
        {"speed.toml": suite("bench", *CELLS, margin=0.99), f"{SRC}/turns.json": '{"turns": 298}\n'},
        1,
        "Gated",
        suite="speed.toml",
    ),
    Commit(
        "a cell that fails",
        {f"{SRC}/leaky.py": LEAKY.replace("return h +", "return g +")},
        1,
        "Leaky",
        suite="speed.toml",
    ),
    Commit("the cell is mended", {f"{SRC}/leaky.py": LEAKY}, 0, suite="speed.toml"),
    Commit(
        "3% slower, with --instructions=gate",
        {f"{SRC}/leaky.py": CELL.format(turns=207, count="TURNS")},
        1,
        "Leaky",
        suite="speed.toml",
        options=("--instructions=gate", "--budget", "10s"),
        checks=20,
    ),
)


def make(repo: Path, commit: Commit) -> None:
    """Add a commit to the repository."""
    if commit.moved:
        repository.git(repo, "mv", *commit.moved)
    repository.commit(repo, commit.files, commit.about)


def checks(_share: float = 1.0, only: str = "", times: int | None = None, busy: int = 0) -> pd.DataFrame:
    """A row for each commit whose name contains `only`: what was said, what is true, and how long it took.

    `times`: checks of each commit; `busy`: processes that run beside them.
    """
    rows = []
    with tempfile.TemporaryDirectory() as scratch, hogs(busy):
        repo = Path(scratch) / "tinycells"
        repository.commit(repo, FIRST)
        for commit in COMMITS:
            make(repo, commit)
            if only in commit.about:
                done = [_checked(commit, repo, scratch) for _ in range(times or commit.checks)]
                beside = f" (busy processes: {busy})" if busy else ""
                rows.append(row(commit, done) | {"what": f"{commit.about}{beside}"})
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Checked:
    """What one check said."""

    code: int
    output: str  # a JSON line for each case
    errors: str = ""
    seconds: float = 0.0


def _checked(commit: Commit, repo: Path, out: str) -> Checked:
    command = [
        sys.executable,
        "-m",
        "rnnbench",
        "check",
        commit.suite,
        "--base",
        "HEAD~1",
        "--budget",
        BUDGET,
        "--json",
    ]
    command += ["--out", f"{out}/results", *commit.options]
    began = time.monotonic()
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    return Checked(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def row(commit: Commit, done: Sequence[Checked]) -> dict[str, object]:
    """Sum up the checks of a commit."""
    expected = f"{commit.code}{f': {commit.slower}' if commit.slower else ''}"
    answers, cases = Counter[str](), Counter[str]()
    for each in done:
        findings = [json.loads(line) for line in each.output.splitlines()]
        named = {finding["cell"].rpartition(":")[2] for finding in findings if finding["verdict"] == "regressed"}
        answers[f"{each.code}{f': {listed}' if (listed := ', '.join(sorted(named))) else ''}"] += 1
        cases.update(finding["verdict"] or "not compared" for finding in findings)
    return {
        "what": commit.about,
        "expected": expected,
        "checks": len(done),
        "right": answers[expected],
        "others said": "; ".join(f"{number} x {text}" for text, number in answers.items() if text != expected),
        "cases": ", ".join(f"{number} {verdict}" for verdict, number in cases.most_common()),
        "error": next((" ".join(each.errors.split())[-160:] for each in done if not each.output), ""),
        "seconds": round(median(each.seconds for each in done)),
    }
