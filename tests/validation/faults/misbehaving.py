"""Cells that misuse their process, beside good cells: each harms only itself."""

import random
from collections.abc import Iterator
from pathlib import Path

from rnnbench import load, summarize
from rnnbench.errors import UserError
from tests.validation.faults.command import Command, Outcome, runs, tiny

# What a cell does, and whether it may still be measured; otherwise it must fail. `once` is true in its first call.
DEEDS = {
    "copies its process": ("once and os.fork()", False),
    "leaves a program running": ("once and subprocess.Popen(['sleep', '300'])", False),
    "leaves a program of another session": ("once and subprocess.Popen(['setsid', '-f', 'sleep', '300'])", False),
    "runs a program to its end": ("subprocess.run(['true'])", True),
    "closes its standard streams": ("os.closerange(0, 3)", True),
    "closes all its descriptors": ("os.closerange(0, 100)", False),
    "takes over signals": ("[signal.signal(n, lambda *_: os._exit(9)) for n in (1, 2, 10, 14, 15)]", True),
    "prints a megabyte": ("print('x' * (1 << 20))", True),
    "turns on anomaly detection": ("torch.autograd.set_detect_anomaly(True)", True),
    "sets a default device": ("torch.set_default_device('cpu')", True),
    "changes its folder": ("os.chdir('/')", True),
    "limits its memory": ("resource.setrlimit(resource.RLIMIT_AS, (1 << 45, -1))", True),
    "turns warnings into errors": ("warnings.simplefilter('error')", True),
    "raises half a character": ("raise_(ValueError(chr(0xd800)))", False),
    "exits": ("sys.exit(3)", False),
    "kills itself": ("os.kill(os.getpid(), 9)", False),
    "kills its whole group": ("os.killpg(0, 9)", False),
    "stops itself": ("os.kill(os.getpid(), signal.SIGSTOP)", False),
    "sleeps for ever": ("time.sleep(1000)", False),
}
CELL = """
import os, resource, signal, subprocess, sys, time, warnings
import torch
from torch import nn

def raise_(error):
    raise error

class Bad(nn.GRUCell):
    once = True
    def forward(self, input, h):
        once, Bad.once = Bad.once, False
        {deed}
        return super().forward(input, h)
"""
GOOD = """
import os, sys
import torch
from torch import nn

class Good(nn.GRUCell):
    def forward(self, input, h):
        assert not torch.is_anomaly_enabled()
        assert os.getcwd() != "/"
        assert sys.stdin.read() == ""
        return super().forward(input, h)
"""
SUITE = """
name = "tiny"
[measure]
replicates = 2
max_replicates = 2
windows = 2
window_seconds = 0.001
deadline_seconds = 10
[defaults]
implementation = ["loop", "torch.nn"]
reference = "gru"
seq_len = 2
hidden_size = 4
[[sweep]]
cell = ["good.py:Good", "{first}.py:Bad", "{second}.py:Bad"]
"""
GOOD_CASES = ("torch.nn.GRU", "good.py:Good")


def cells(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Run two such cells at a time, so that one also meets what the other left behind."""
    rng = random.Random(seed)
    names = list(DEEDS)
    for number in range(times):
        first = names[number % len(names)]
        second = rng.choice([name for name in names if name != first])
        folder = tiny(parent / f"misbehaving-{number}")
        (folder / "good.py").write_text(GOOD)
        for file, name in (("first", first), ("second", second)):
            (folder / f"{file}.py").write_text(CELL.format(deed=DEEDS[name][0]))
        (folder / "tiny.toml").write_text(SUITE.format(first="first", second="second"))
        command = Command(folder, "run", "tiny.toml", "--allow-missing")
        code, errors = command.end()
        outcome = Outcome("cell that misbehaves", first)
        if code != 0 or "Traceback" in errors:
            outcome.wrong.append(f"exit code {code}: {errors[-1000:]}")
        outcome.wrong += command.leftovers()
        for run in runs(folder):
            may_be_measured = {"first.py:Bad": DEEDS[first][1], "second.py:Bad": DEEDS[second][1]}
            try:
                outcome.windows = len(load(run).windows)
                outcome.wrong += _wrong(run, may_be_measured)
            except UserError as fault:
                outcome.wrong.append(f"does not open: {fault}")
        if outcome.wrong:
            outcome.wrong.append(f"beside a cell that {second}")
        yield outcome


def _wrong(run: Path, may_be_measured: dict[str, bool]) -> list[str]:
    statuses = summarize(load(run)).set_index("cell")[["status", "reason"]]
    wrong = []
    for cell, (status, reason) in statuses.iterrows():
        expected = True if cell in GOOD_CASES else may_be_measured[str(cell)]
        if (status == "measured") != expected:
            wrong.append(f"{cell}: {status}: {reason}")
    return wrong
