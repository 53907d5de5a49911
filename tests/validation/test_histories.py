"""The rule by which commits of public histories are judged, and the table that is made of them."""

from pathlib import Path

import pandas as pd
import pytest

from tests.validation.affected import in_child
from tests.validation.histories import completed, reason_of, reasons, summary, verdicts
from tests.validation.judged import could_change, functions_that_run

CELL = """
import torch
from package import scaled
class Cell(torch.nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.layer = torch.nn.Linear(input_size, hidden_size)
    def forward(self, input, h):
        return scaled(self.layer(input) + h)
"""
PACKAGE = """
from package.later import rare
FACTOR = 2
UNUSED = 3
def scaled(x, by=1):
    'about'
    result = x * FACTOR * by
    return rare(result) if by > 1 else result
def other(x):
    return x
"""
LATER = "def rare(x):\n    return x + 1\n"


def tree(folder: Path, **texts: str) -> Path:
    files = {"bench_cells.py": CELL, "package/__init__.py": PACKAGE, "package/later.py": LATER, "README.md": "about"}
    for name, text in {**files, **texts}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "could"),
    [
        ("package/__init__.py", "x * FACTOR", "x + FACTOR", "yes"),
        ("package/__init__.py", "FACTOR = 2", "FACTOR = 3", "yes"),
        ("package/__init__.py", "by=1", "by=0", "yes"),
        ("package/__init__.py", "UNUSED = 3", "print()", "yes"),
        ("package/later.py", "x + 1", "x + 2", "yes"),  # which no call runs, but what runs names it
        ("package/__init__.py", "UNUSED = 3", "UNUSED = 4", "no"),
        ("package/__init__.py", "    return x\n", "    return 2 * x\n", "no"),
        ("package/__init__.py", "'about'", "'more'", "no"),
        ("package/__init__.py", "result", "product", "no"),
        ("package/__init__.py", "(x, by=1)", "(x: 'float', by: int = 1) -> None", "no"),
        ("README.md", "about", "more", "no"),
        ("bench_cells.py", "scaled(", "missing(", "can't run"),
    ],
)
def test_the_rule_says_which_commits_could_affect_a_case(
    tmp_path: Path, file: str, old: str, new: str, could: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HISTORIES", str(tmp_path))
    base, head = tree(tmp_path / "base"), tree(tmp_path / "head")
    (head / file).write_text((head / file).read_text().replace(old, new))
    ran = [in_child(functions_that_run, side, "bench_cells.py:Cell", 3) for side in (base, head)]
    assert could_change(base, head, [file], *ran)[0] == could


def test_files_that_no_code_asks_for_time_nothing_in_a_replay() -> None:
    reply = {"reached": {"cell": {"ok": True, "code": ["a.py:f 1"], "doubts": []}}, "imported": ["a.py"], "read": []}
    assert verdicts(["=", "setup.cfg", "table.bin"], reply, reply, ["cell"]) == {"cell": ""}
    reads = reply | {"read": ["table.bin"]}
    assert verdicts(["table.bin"], reads, reply, ["cell"]) == {"cell": "table.bin changed"}


def test_the_summary_counts_precision_and_recall_without_cases_that_cant_run() -> None:
    rows = [
        ("a", "yes", "yes", "yes"),
        ("b", "yes", "no", "yes"),
        ("c", "no", "no", "yes"),
        ("d", "yes", "can't run", ""),
    ]
    table = pd.DataFrame(rows, columns=["revision", "timed", "could be affected", "before"]).assign(package="p")
    counted = summary(table).set_index("package").loc["all"]
    assert (counted["commits"], counted["precision"], counted["recall"]) == (3, "50%", "1/1")
    assert (counted["precision before"], counted["recall before"]) == ("33%", "1/1")


def test_reasons_are_counted_before_and_now() -> None:
    rows = pd.DataFrame(
        [
            ("1", "yes", "a.py: f changed", "yes"),
            ("2", "no", "runs the same code", "no"),
            ("3", "no", "runs the same code", "no"),
        ],
        columns=["revision", "timed", "clause", "could be affected"],
    ).assign(package="p", case="c")
    before = pd.DataFrame(
        [("1", "yes", "a.py: f changed, and 2 more"), ("2", "yes", "setup.cfg changed")],
        columns=["revision", "before", "clause before"],
    ).assign(package="p", case="c")
    whole = completed(rows, before, rows.head(0))
    assert whole["before"].tolist() == ["yes", "yes", ""]
    assert reasons(whole).to_numpy().tolist() == [["a definition", 1, 0, 1, 0], ["a packaging file", 1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("clause", "reason"),
    [
        ("a.py changed", "statements of a module"),
        ("a.py: C.f changed, and 2 more", "a definition"),
        ("a.bin changed", "another file"),
        ("a.py: f is used by the head alone", "used or imported by one side alone"),
        ("a process is started by a.py:3", "a process is started"),
    ],
)
def test_a_clause_is_of_a_kind(clause: str, reason: str) -> None:
    assert reason_of(clause) == reason
