"""One table for each kind: a new member is a row and what it needs, and nobody else asks for it by its name."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from rnnbench.analysis.comparison import RuleName
from rnnbench.speedup.ways import WayName
from rnnbench.store.implementations import Swept
from rnnbench.store.profiles import CauseKind
from rnnbench.store.run_info import NoteKind

from .test_layout import PACKAGE, parsed

# Words that also stand for something else, or that suites and users write by default.
COMMON = {"loop", "sequence", "scan", "compiled", "torch.nn", "per_item", "as given"}
COMMON |= {
    "budget",
    "precision",
    "threads",
    "copy",
    "unused",
    "weight gradients",
    "apart",
    "status",
    "slower",
    "new",
    "growth",
    "time",
}
KINDS = {
    "implementations": get_args(Swept),
    "notes": get_args(NoteKind),
    "causes": get_args(CauseKind),
    "rules": get_args(RuleName),
    "ways": get_args(WayName),
}
TABLES = {
    "implementations": {"store/implementations.py", "workloads/implementations.py"},
    "notes": {"store/run_info.py"},
    "causes": {"store/profiles.py"},
    "rules": {"analysis/comparison.py", "analysis/decide.py"},
    "ways": {"speedup/ways.py"},
}
# What asks for a member by its name beside the tables. Implementations: ways of `fastest` and loaders of data sets that
# have the same names. Notes: where they are made. Causes: what finds them, and the implementations that leave them out.
# Rules: what is shown of them. Ways: the implementations of these names; what loads folders, without importing much.
BESIDE = {
    "implementations": {
        *("speedup/ways.py", "speedup/agreement.py"),
        *("workloads/data.py", "suite/axes.py"),
    },
    "notes": {"harness/coordinator/session.py", "slurm/sweep.py", "analysis/run_times.py"},
    "causes": {"profiling/causes.py", "profiling/operators.py", "store/implementations.py"},
    "rules": {"report/verdicts/rows.py", "check/live.py"},
    "ways": {
        *("store/implementations.py", "workloads/implementations.py"),
        *("speedup/kept/code.py", "speedup/compiling.py", "speedup/agreement.py"),
    },
}
MOST = 3  # modules that a member needs
READERS = {  # who may read facts out of sentences: those of frames that users hold
    "Parity.read": {"store/parity.py"},
    "parities": {"analysis/run_times.py", "report/growth.py", "report/ratios.py", "report/paper.py"},
}


def files() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE).as_posix(), parsed(file)


def constants() -> dict[str, set[str]]:
    """Every text that stands alone in the package, and the files in which it does."""
    places: dict[str, set[str]] = {}
    for name, tree in files():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                places.setdefault(node.value, set()).add(name)
    return places


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_of_a_kind_is_named_in_its_table_and_in_few_other_places(kind: str) -> None:
    places = constants()
    members = set(KINDS[kind]) - COMMON
    assert members
    assert {name: rest for name in members if (rest := places[name] - TABLES[kind] - BESIDE[kind])} == {}
    assert {name: places[name] for name in members if len(places[name] - BESIDE[kind]) > MOST} == {}


@pytest.mark.parametrize("reader", READERS)
def test_facts_are_read_out_of_sentences_only_where_these_come_from_outside(reader: str) -> None:
    callers = {
        name
        for name, tree in files()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == reader
    }
    assert callers == READERS[reader]


def test_no_sentence_is_compared_nor_searched_for_what_a_type_says() -> None:
    """Nobody asks `str(parity) == "agrees"`, or whether a note's words begin with something."""
    asked = []
    for name, tree in files():
        for node in ast.walk(tree):
            operands: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                operands = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                operands = [node.func.value] if node.func.attr in ("startswith", "endswith", "partition") else []
            asked += [f"{name}:{each.lineno} {ast.unparse(node)}" for each in operands if is_sentence(each)]
    assert asked == []


def is_sentence(value: ast.expr) -> bool:
    """Return True for `str(parity)`, `str(note)`, `note.words`, `parity.why` and the like."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "str" and value.args:
        return ast.unparse(value.args[0]).split(".")[-1] in ("parity", "note")
    return ast.unparse(value).endswith(("note.words", "parity.why", "parity.brief", "parity.note"))


def test_the_fields_of_a_row_of_implementations_are_asked_for() -> None:
    """A column of the table that nobody reads is a second truth."""
    row = next(
        node
        for node in parsed(Path(PACKAGE / "store/implementations.py")).body
        if isinstance(node, ast.ClassDef) and node.name == "ImplementationRow"
    )
    columns = {
        node.target.id for node in row.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    read = {node.attr for _, tree in files() for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert columns <= read
