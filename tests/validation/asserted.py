"""Assertions of a team's tests: modules against themselves, under pytest-xdist with two processes. None should fail.

Each run starts pytest on a file of twenty tests: ten modules against a copy of themselves, in inference and in
training, with the default budget of ten seconds. The seconds of a test are its own: those for which it waits for the
tests of the other process do not count, the import of torch by the first assertion does.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

FACTOR = 1.1
BUDGET_SECONDS = 10.0
RUNS = 10
ANSWERS = ("not slower", "slower", "undecided")  # as sentences of assertions begin
TESTS = '''
import copy
import time
from contextlib import contextmanager

import pytest

from rnnbench import pytest_plugin

MODULES = {
    "rnn": lambda nn: nn.RNN(32, 64),
    "lstm": lambda nn: nn.LSTM(32, 64),
    "gru": lambda nn: nn.GRU(32, 64),
    "two layers": lambda nn: nn.LSTM(32, 32, num_layers=2),
    "both directions": lambda nn: nn.GRU(32, 32, bidirectional=True),
    "loop": lambda nn: rnnbench_of().unroll(nn.GRUCell(32, 64)),
    "linear": lambda nn: nn.Linear(32, 256),
    "mlp": lambda nn: nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 32)),
    "norm": lambda nn: nn.LayerNorm(32),
    "convolution": lambda nn: nn.Conv1d(8, 16, 3),
}


def rnnbench_of():
    import rnnbench

    return rnnbench


@pytest.fixture
def waited(monkeypatch):
    """Seconds for which the test waited for those of other processes."""
    seconds, whole = [], pytest_plugin.timed_alone

    @contextmanager
    def timed_alone():
        began = time.monotonic()
        with whole():
            seconds.append(time.monotonic() - began)
            yield

    monkeypatch.setattr(pytest_plugin, "timed_alone", timed_alone)
    return seconds


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("name", MODULES)
def test_no_slower_than_itself(rnnbench, waited, record_property, name, phase):
    began = time.monotonic()
    import torch

    torch.manual_seed(0)
    module, input = MODULES[name](torch.nn), torch.randn(16, 8, 32)
    try:
        rnnbench.assert_not_slower(
            module, than=copy.deepcopy(module), input=input, factor={factor}, phase=phase, budget={budget}
        )
    finally:
        record_property("own seconds", time.monotonic() - began - sum(waited))
'''


def runs(share: float = 1.0, *, only: str = "", budget: float = BUDGET_SECONDS) -> pd.DataFrame:
    """A row for each assertion of `share` of the runs; `only`: the tests, as `pytest -k` takes them."""
    rows = [row for number in range(max(1, round(share * RUNS))) for row in _run(number, only, budget)]
    return pd.DataFrame(rows)


def _run(number: int, only: str, budget: float) -> Iterator[dict[str, object]]:
    """Yield a row for each test of one run of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "test_modules.py")
        written = Path(folder, "junit.xml")
        file.write_text(TESTS.replace("{factor}", str(FACTOR)).replace("{budget}", str(budget)))
        options = ["-q", "-n", "2", "-p", "no:cacheprovider", f"--junit-xml={written}", *(["-k", only] if only else [])]
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", *options, file.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if not written.exists():
            raise RuntimeError(done.stdout + done.stderr)
        for case in ElementTree.parse(written).iter("testcase"):
            properties = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
            answer_text = properties.get("rnnbench", "no answer").partition("\n")[0]
            yield {
                "run": number,
                "test": case.attrib["name"],
                "answer": next((answer for answer in ANSWERS if answer_text.startswith(answer)), "no answer"),
                "seconds": round(float(properties["own seconds"]), 2),
                "seconds of the run": round(seconds, 1),
                "said": answer_text,
            }


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row: how many assertions passed, were undecided or failed, and how long they took."""
    answers = rows["answer"].value_counts()
    passed, slower, undecided = (int(answers.get(answer, 0)) for answer in ANSWERS)
    return pd.DataFrame(
        [
            {
                "runs": rows["run"].nunique(),
                "assertions": len(rows),
                "passed": passed,
                "undecided": undecided,
                "called slower": slower,
                "median seconds": float(rows["seconds"].median()),
                "most seconds": float(rows["seconds"].max()),
                "median seconds of a run": float(rows.groupby("run")["seconds of the run"].first().median()),
            }
        ]
    )
