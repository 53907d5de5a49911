"""Known cheats through the command line, with real workers."""

import json
import shutil
from pathlib import Path

from tests.cheats import cells
from tests.doubles import repository
from tests.doubles.commands import rnnbench

SUITE = """
name = "cheats"
[measure]
replicates = 1
max_replicates = 1
windows = 2
window_seconds = 0.002
[[sweep]]
cell = [{cells}]
reference = "rnn"
implementation = ["sequence", "torch.nn"]
batch_size = 4
seq_len = 3
input_size = 4
hidden_size = 8
"""
DISAGREES = "parity after timing: final h is off by "


def suite(*names: str) -> str:
    return SUITE.format(cells=", ".join(f'"cells.py:{name}"' for name in names))


def test_a_run_fails_what_cheats(tmp_path: Path) -> None:
    shutil.copy(cells.__file__, tmp_path)
    (tmp_path / "cheats.toml").write_text(suite("Honest", "MemoByAddress"))
    done = rnnbench("run", "cheats.toml", cwd=tmp_path, code=2)
    assert f": 1 of 3 cases could not be measured; the first: {DISAGREES}" in done.stderr
    printed = " ".join(done.stdout.split())
    assert DISAGREES in printed
    assert "2 cases measured, 1 failed" in printed


def test_a_check_fails_a_head_that_keeps_results(tmp_path: Path) -> None:
    cheating = Path(cells.__file__).read_text()
    honest = f"{cheating}\n\nclass MemoByIdentity(nn.RNN):\n    pass\n"
    repository.commit(tmp_path, {"cheats.toml": suite("MemoByIdentity"), "cells.py": honest})
    (tmp_path / "cells.py").write_text(cheating)
    rnnbench("check", "cheats.toml", "--base", "HEAD", "--budget", "1s", cwd=tmp_path, code=1)
    [file] = tmp_path.glob("results/*/verdicts.json")
    verdicts = json.loads(file.read_text())
    memo = next(each for each in verdicts["findings"] if each["cell"] == "cells.py:MemoByIdentity")
    assert memo["verdict"] == "regressed"
    assert memo["reason"].startswith(f"fails now: {DISAGREES}")
