"""Which cases run the same code on both sides."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.check.affected import SameCode, Used, changed_files, same_code, sorted_by_kind
from rnnbench.harness.check.sides import sides
from rnnbench.suite import suites
from tests.doubles import repository
from tests.validation.affected import CELLS

SUITE = 'name = "mine"\n[[sweep]]\ncell = "cell.py:Mine"\nreference = "rnn"\n'


def reply(*code: str, doubts: tuple[str, ...] = (), may_import: bool = False) -> dict[str, Any]:
    return {"ok": True, "code": list(code), "doubts": list(doubts), "may_import": may_import}


def same(changed: str, base: Any, head: Any, **used: Any) -> SameCode:
    imported: dict[str, Any] = {"imported": frozenset({"a.py"}), "opened": frozenset[str]()}
    sides = Used(**imported), Used(**imported | used)
    return same_code(sorted_by_kind([changed], "bench.toml"), sides, {"case": {"base": base, "head": head}}, ["case"])


@pytest.mark.parametrize(
    ("changed", "base", "head", "used"),
    [
        ("a.py", reply("f 1"), reply("f 2"), {}),  # it may run other code
        ("a.py", reply("f 1"), reply("f 1", "g 1"), {}),
        ("a.py", reply("f 1", doubts=("it keeps a thread",)), reply("f 1"), {}),
        ("a.py", reply("f 1"), {"ok": False}, {}),
        ("b.py", reply("f 1", may_import=True), reply("f 1"), {}),  # any module, by a name made at run time
        ("data.bin", reply("f 1"), reply("f 1"), {}),
        ("README.md", reply("f 1"), reply("f 1"), {"opened": frozenset({"README.md"})}),
        ("b.py", reply("f 1"), reply("f 1"), {"opened": frozenset({"b.py"})}),  # its text is read
        ("a.py", reply("f 1"), reply("f 1"), {"has_untracked": True}),
        (
            "rnnbench/harness/x.py",
            reply("f 1"),
            reply("f 1"),
            {"imported": frozenset({"rnnbench/harness/x.py"})},
        ),
    ],
)
def test_what_may_differ_is_timed(changed: str, base: Any, head: Any, used: Any) -> None:
    assert same(changed, base, head, **used).cases == frozenset()


@pytest.mark.parametrize(
    ("changed", "guard"), [("a.py", True), ("b.py", False), ("bench.toml", False), ("docs/x.bin", False)]
)
def test_equal_code_is_the_same_and_needs_a_pair_only_if_an_imported_file_differs(changed: str, guard: bool) -> None:
    assert same(changed, reply("f 1"), reply("f 1")) == SameCode(frozenset({"case"}), guard)


def test_if_only_documentation_has_changed_nobody_is_asked() -> None:
    changed = sorted_by_kind(["README.md"], "")
    assert same_code(changed, [], None, ["case"]) == SameCode(frozenset({"case"}))


@pytest.mark.parametrize("base", ["HEAD", "folder"])
def test_changed_files_are_those_of_the_working_tree_and_of_folders(tmp_path: Path, base: str) -> None:
    repo = tmp_path / "there"
    files = {"mine.toml": SUITE, "cell.py": "1", "same.py": "1", "README.md": "1", "table.csv": "1", "gone.py": "1"}
    repository.commit(repo, files)
    repository.git(tmp_path, "clone", "--quiet", "there", "copy")
    for name in ("cell.py", "README.md", "table.csv", "mine.toml"):
        (repo / name).write_text((repo / name).read_text() + "# 2")
    (repo / "gone.py").unlink()
    with sides(
        suites.read(str(repo / "mine.toml")), base.replace("folder", str(tmp_path / "copy")), None, None
    ) as both:
        changed = changed_files(*both)
    assert changed is not None
    assert changed.python == {"cell.py", "gone.py"}
    assert changed.documents == {"README.md", "mine.toml"}
    assert changed.others == {"table.csv"}


def test_another_interpreter_changes_more_than_files(tmp_path: Path) -> None:
    repository.commit(tmp_path / "there", {"mine.toml": SUITE, "cell.py": "1"})
    other = repository.executable(tmp_path / "python", f'exec "{sys.executable}" "$@"')
    with sides(suites.read(str(tmp_path / "there" / "mine.toml")), "HEAD", str(other), None) as both:
        assert changed_files(*both) is None


def test_after_random_edits_no_case_is_wrongly_called_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.validation.affected", "5", "3"], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    said, wrong, cases = (sum(int(row[place]) for row in rows) for place in (-4, -2, -1))
    assert (wrong, cases) == (0, 5 * len(CELLS)), done.stdout + done.stderr
    assert said > cases / 2
