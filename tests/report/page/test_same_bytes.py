"""Two processes write every figure and table with the same bytes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

DRAW = """
import hashlib
import io
import numpy as np
from rnnbench import plot
from rnnbench.suite import suites
from rnnbench.analysis.history import history
from rnnbench.analysis.summary import Noise
from rnnbench.analysis.stored import together
from rnnbench.report.page.page import files as files_of, page_of_several
from rnnbench.report.page.run import run_page
from rnnbench.report.history import section as history_section
from rnnbench.report.together import section as together_section
from rnnbench.store.run_info import RunInfo
from tests.doubles import workload as small
from tests.report.conftest import summary_of
from tests.validation.history_simulated import stored_run

summary = summary_of(suites.read("quick").groups({}, None, most=None))
info = RunInfo("quick", "", {"name": "quick"}, "", "2026-01-01T00:00:00+00:00", {})
own = summary.query("phase == 'training' and reference == 'gru'")
files = files_of(run_page(own, Noise(0.01, 0.02, 1, 20, 0.003), info))
cases = [small.case("gru", batch_size=size) for size in range(1, 6)]
logs = np.random.default_rng(1).normal(0, 0.01, (6, 5, 6)) + 0.2 * (np.arange(6) >= 3)[:, None, None]
runs = [stored_run(index, cases, logs[index]) for index in range(6)]
sections = [history_section(history(runs)), together_section(together(runs[:3], 0.025))]
files |= {f"runs/{name}": content for name, content in files_of(page_of_several("runs", sections)).items()}
for kind in ("png", "svg", "pdf"):
    out = io.BytesIO()
    plot.ratio(own, width=7).savefig(out, format=kind)
    files[f"plot.{kind}"] = out.getvalue()
for name, content in sorted(files.items()):
    print(name, hashlib.sha256(content).hexdigest())
"""


def drawn(seed: int) -> list[str]:
    """The names and checksums of all files, from a process with its own hash seed."""
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", DRAW], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_all_files_of_reports_are_the_same_from_two_processes() -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(drawn, (1, 2))
    assert first == second
    names = {line.split()[0] for line in first}
    figures = [f"figures/{name}" for name in ("ratio", "ratio_by_size")]
    figures += [f"runs/figures/{name}" for name in ("history", "together")]
    assert {f"{name}.{kind}" for name in figures for kind in ("svg", "png")} <= names
    assert {"index.html", "runs/index.html", "plot.png", "plot.svg", "plot.pdf"} <= names
