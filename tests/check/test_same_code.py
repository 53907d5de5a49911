"""Which cases run the same code on both sides, and why the others are timed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.check.same_code import (
    SameCode,
    Used,
    are_on_both,
    changed_files,
    lacking_files,
    same_code,
    shared_library,
    sorted_by_kind,
    still_same,
    used_files,
    with_used,
)
from rnnbench.check.sides import Side, sides
from rnnbench.harness.coordinator.recorder import WorkerFiles
from rnnbench.harness.protocol import Doubt
from rnnbench.suite import suites
from tests.doubles import repository
from tests.doubles.commands import MINE, cells, rnnbench
from tests.validation.affected import CELLS

SUITE = 'name = "mine"\n[[sweep]]\ncell = "cell.py:Mine"\nreference = "rnn"\n'
USED = Used({"a.py"}, set())
Doubts = tuple[tuple[str, str], ...]
CHECK = ("check", "mine.toml", "--base", "HEAD", "--budget", "1s", "--on-undecided", "pass", "--json")
NOT_LACKING = ("tracked", "folder", "lent.py", "none")
WITH_PATH = "from pathlib import Path\nHERE = Path(__file__).parent\n"


def reply(*code: str, doubts: Doubts = ()) -> dict[str, Any]:
    return {"ok": True, "code": list(code), "doubts": [{"kind": kind, "clause": clause} for kind, clause in doubts]}


def same(changed: str, base: Any, head: Any, used: Used | None = USED) -> SameCode:
    return same_code(sorted_by_kind([changed], "bench.toml"), used, {"case": {"base": base, "head": head}}, ["case"])


@pytest.mark.parametrize(
    ("changed", "base", "head", "used", "kind", "clause"),
    [
        ("a.py", reply("a.py:f 1"), reply("a.py:f 2"), USED, "changed", "a.py: f changed"),
        ("a.py", reply("a.py:<module> 1"), reply("a.py:<module> 2"), USED, "changed", "a.py changed"),
        ("a.py", reply("f 1"), {"ok": False}, USED, "unknown", "the code that it runs could not be determined"),
        (
            "a.py",
            reply("a.py:C.f 1", "a.py:<module> 1"),
            reply("a.py:C.f 2", "b.py:g 1"),
            USED,
            "changed",
            "a.py: C.f changed, and 2 more",
        ),
        (
            "a.py",
            reply("a.py:C.f 1"),
            reply("a.py:C.f 1", "b.py:g 1"),
            USED,
            "changed",
            "b.py: g is used by the head alone",
        ),
        ("a.py", reply("np:<import> np"), reply(), USED, "changed", "np is imported by the base alone"),
        (
            "a.py",
            reply("f 1"),
            {"ok": False, "reason": "no such layer"},
            USED,
            "unknown",
            "the code that it runs could not be determined; head: no such layer",
        ),
        (
            "data.bin",
            reply("f 1"),
            reply("f 1"),
            Used({"a.py"}, set(), libraries={"/fast.so"}),
            "changed",
            "data.bin changed, and /fast.so, a compiled library, may use it",
        ),
        ("fast.so", reply("f 1"), reply("f 1"), Used({"a.py", "fast.so"}, set()), "changed", "fast.so changed"),
        (
            "extras/README.md",
            reply("f 1"),
            reply("f 1"),
            Used({"a.py"}, set(), {"extras"}),
            "changed",
            "only one side has extras/README.md, which code asks for",
        ),
        ("setup.cfg", reply("f 1"), reply("f 1"), Used({"a.py"}, {"setup.cfg"}), "changed", "setup.cfg changed"),
        ("README.md", reply("f 1"), reply("f 1"), Used({"a.py"}, {"README.md"}), "changed", "README.md changed"),
        ("bench.toml", reply("f 1"), reply("f 1"), Used({"a.py"}, {"bench.toml"}), "changed", "bench.toml changed"),
        (
            "lib/site-packages/own.py",
            reply("f 1"),
            reply("f 1"),
            USED,
            "changed",
            "lib/site-packages/own.py changed, in a folder with the name of one for installed packages",
        ),
        ("b.py", reply("f 1"), reply("f 1"), Used({"a.py"}, {"b.py"}), "changed", "b.py changed"),  # its text is read
        ("a.py", reply("f 1"), reply("f 1"), None, "unknown", "a file is used that git does not track"),
        (
            "rnnbench/harness/x.py",
            reply("f 1"),
            reply("f 1"),
            Used({"rnnbench/harness/x.py"}, set()),
            "changed",
            "rnnbench/harness/x.py changed",
        ),
    ],
)
def test_what_may_differ_is_timed_and_the_doubt_says_why(
    changed: str, base: Any, head: Any, used: Used | None, kind: Any, clause: str
) -> None:
    assert same(changed, base, head, used).doubts == {"case": Doubt(kind, clause)}
    assert same(changed, base, head, used).cases == frozenset()


@pytest.mark.parametrize(
    ("kind", "counts_for"),
    [
        ("code", {"a.py", "b.py"}),
        ("text", {"a.py"}),  # b.py is nothing that the case imports
        ("path", {"README.md", "setup.cfg", "data.bin"}),
    ],
)
def test_a_doubt_of_a_worker_counts_if_a_file_of_its_kind_has_changed(kind: Any, counts_for: set[str]) -> None:
    doubtful, sure = reply("a.py:f 1", doubts=((kind, "why"),)), reply("a.py:f 1")
    for changed in ("a.py", "b.py", "README.md", "setup.cfg", "data.bin", "bench.toml"):
        expected = {"case": Doubt(kind, "why")} if changed in counts_for else {}
        assert same(changed, doubtful, sure).doubts == same(changed, sure, doubtful).doubts == expected, changed


@pytest.mark.parametrize(
    ("changed", "guard"),
    [
        ("a.py", True),
        ("b.py", True),
        *(
            (file, False)
            for file in ("bench.toml", "docs/x.bin", "requirements.txt", "weights.pt", "Makefile", ".gitmodules")
        ),
    ],
)
def test_equal_code_is_the_same_and_any_changed_python_file_needs_a_pair_that_shows_it(
    changed: str, guard: bool
) -> None:
    assert same(changed, reply("f 1"), reply("f 1")) == SameCode(frozenset({"case"}), {}, guard)
    assert same_code({}, Used(set(), set()), None, ["case"]) == SameCode(frozenset({"case"}))


def test_a_data_file_does_not_hide_the_changed_definition_of_a_case() -> None:
    changed = sorted_by_kind(["a.py", "weights.pt"], "bench.toml")
    replies = {
        "edited": {"base": reply("a.py:C.f 1"), "head": reply("a.py:C.f 2")},
        "other": {"base": reply("a.py:g 1"), "head": reply("a.py:g 1")},
        "silent": {"base": reply("a.py:g 1"), "head": {"ok": False}},
    }
    same = same_code(changed, Used({"a.py"}, {"weights.pt"}), replies, replies)
    clauses = {key: doubt.clause for key, doubt in same.doubts.items()}
    assert clauses == {"edited": "a.py: C.f changed", "other": "weights.pt changed", "silent": "weights.pt changed"}


def test_a_case_that_only_a_pair_shows_to_be_changed_is_known_as_such() -> None:
    same_now = SameCode(frozenset({"one", "two"})).but(["one"])
    assert same_now.doubts["one"].kind == "guard"
    assert same_now.cases == {"two"}


@pytest.mark.parametrize(
    ("changed", "late", "clause"),
    [
        ("b.py", Used({"a.py", "b.py"}, set()), "b.py changed, which a later call imports"),
        ("b.py", Used({"a.py"}, {"b.py"}), "b.py changed"),
        ("README.md", Used({"a.py"}, {"a.bin"}), "a later call opens a.bin by its path"),
        ("b.py", None, "a file is used that git does not track"),
        ("b.py", Used({"a.py", "c.py"}, {"a.bin"}), ""),
        ("a.py", Used({"a.py", "c.py"}, set()), ""),  # which was known, and did not matter
    ],
)
def test_a_changed_file_that_only_a_later_call_uses_ends_what_was_thought_of_all_cases(
    changed: str, late: Used | None, clause: str
) -> None:
    before = SameCode(frozenset({"one", "two"}), {"three": Doubt("code", "why")}, needs_guard=True)
    after = still_same(before, sorted_by_kind([changed], ""), USED, late)
    assert {after.doubts[key].clause for key in ("one", "two") if key in after.doubts} == ({clause} - {""})
    assert after.cases == (frozenset() if clause else before.cases)
    assert after.doubts["three"] == before.doubts["three"]


@pytest.mark.parametrize("base", ["HEAD", "folder"])
def test_changed_files_are_those_of_the_working_tree_and_of_folders(tmp_path: Path, base: str) -> None:
    repo = tmp_path / "there"
    files = {
        "mine.toml": SUITE,
        "cell.py": "1",
        "same.py": "1",
        "README.md": "1",
        "table.csv": "1",
        "gone.py": "1",
    }
    repository.commit(repo, files)
    repository.git(tmp_path, "clone", "--quiet", "there", "copy")
    for name in ("cell.py", "README.md", "table.csv", "mine.toml"):
        (repo / name).write_text((repo / name).read_text() + "# 2")
    (repo / "gone.py").unlink()
    with sides(
        suites.read_suite(str(repo / "mine.toml")), base.replace("folder", str(tmp_path / "copy")), None
    ) as both:
        changed = changed_files(*both)
    expected = {"README.md": "data", "cell.py": "python", "gone.py": "python", "mine.toml": "suite"}
    assert changed == {**expected, "table.csv": "data"}


def assumed_unchanged(repo: Path) -> None:
    repository.git(repo, "update-index", "--assume-unchanged", "cell.py")


def skipped(repo: Path) -> None:
    repository.git(repo, "update-index", "--skip-worktree", "cell.py")


def cleaned_by_a_filter(repo: Path) -> None:
    repository.git(repo, "config", "filter.hide.clean", "sed s/2/1/")
    repository.commit(repo, {".gitattributes": "*.py filter=hide\n"})


def of_equal_times(repo: Path) -> None:
    """Git looks at the size and the times of a file, and at nothing else if they are as they were."""
    repository.git(repo, "config", "core.trustctime", "false")
    os.utime(repo / "cell.py", (1, 1))
    repository.git(repo, "update-index", "--refresh")


HIDINGS = [assumed_unchanged, skipped, cleaned_by_a_filter, of_equal_times]


@pytest.mark.parametrize("hide", HIDINGS)
def test_an_edit_that_git_does_not_tell_is_a_change_all_the_same(tmp_path: Path, hide: Callable[[Path], None]) -> None:
    repository.commit(tmp_path, {"mine.toml": SUITE, "cell.py": "1", "same.py": "1", "sub/link.py": "1"})
    hide(tmp_path)
    (tmp_path / "cell.py").write_text("2")
    os.utime(tmp_path / "cell.py", (1, 1))
    assert repository.git(tmp_path, "diff", "HEAD") == ""
    with sides(suites.read_suite(str(tmp_path / "mine.toml")), "HEAD", None) as both:
        assert changed_files(*both) == {"cell.py": "python"}


def test_a_link_to_another_place_is_a_change_and_so_is_a_used_file_of_a_submodule(tmp_path: Path) -> None:
    repo = tmp_path / "there"
    repository.commit(tmp_path / "lib", {"code.py": "1"})
    repository.commit(repo, {"mine.toml": SUITE, "cell.py": "1", "one/a.py": "1", "two/a.py": "1"})
    repository.add_submodule(repo, tmp_path / "lib", "libs/lib")
    (repo / "link").symlink_to("one")
    repository.git(repo, "add", "link")
    repository.git(repo, "commit", "--quiet", "-m", "link")
    (repo / "link").unlink()
    (repo / "link").symlink_to("two")
    repository.git(repo, "update-index", "--assume-unchanged", "link")
    with sides(suites.read_suite(str(repo / "mine.toml")), "HEAD", None) as (base, head):
        changed = changed_files(base, head)
        assert changed == {"link": "data"}
        of_head = WorkerFiles(imported={"code": str(repo / "libs/lib/code.py")})
        used = used_files(base, head, {"base": WorkerFiles(), "head": of_head})
        assert used == Used({"libs/lib/code.py"}, set())
        assert with_used(changed, used, base, head) == {"link": "data", "libs/lib/code.py": "python"}


def test_what_is_compiled_into_a_sides_own_caches_is_no_library_that_may_use_other_files(tmp_path: Path) -> None:
    repository.commit(tmp_path, {"mine.toml": SUITE, "cell.py": "1"})
    with sides(suites.read_suite(str(tmp_path / "mine.toml")), "HEAD", None) as (base, head):
        own = f"{head.variables['TORCHINDUCTOR_CACHE_DIR']}/ab/kernel.so"
        files = {"base": WorkerFiles(), "head": WorkerFiles(libraries={own: None, "/home/me/fast.so": None})}
        used = used_files(base, head, files)
    assert used is not None
    assert used.libraries == {"/home/me/fast.so"}


def test_a_suite_that_was_renamed_is_the_suite_under_both_names(tmp_path: Path) -> None:
    repository.commit(tmp_path, {"bench.toml": SUITE, "cell.py": ""})
    (tmp_path / "bench.toml").rename(tmp_path / "perf.toml")
    repository.commit(tmp_path, {})
    with sides(suites.read_suite(str(tmp_path / "perf.toml")), "HEAD~1", None) as (base, head):
        assert changed_files(base, head) == {"bench.toml": "suite", "perf.toml": "suite"}


@pytest.mark.parametrize(
    ("edit", "is_on_both"), [({"README.md": "2"}, True), ({"STRICT": ""}, False), ({"extras/README.md": "1"}, False)]
)
def test_a_pair_shows_what_a_file_does_that_was_added_since_code_may_ask_whether_it_exists(
    tmp_path: Path, edit: dict[str, str], is_on_both: bool
) -> None:
    repository.commit(tmp_path, {"bench.toml": SUITE, "cell.py": "", "README.md": "1"})
    repository.commit(tmp_path, edit)
    with sides(suites.read_suite(str(tmp_path / "bench.toml")), "HEAD~1", None) as (base, head):
        changed = changed_files(base, head)
        assert changed is not None
        assert are_on_both(changed, base, head) == is_on_both
    replies = {"case": {"base": reply("f 1"), "head": reply("f 1")}}
    same_now = same_code(changed, USED, replies, ["case"], is_on_both=is_on_both)
    assert same_now == SameCode(frozenset({"case"}), {}, needs_guard=not is_on_both)


@pytest.mark.weekly
@pytest.mark.slow
def test_after_random_edits_no_case_is_wrongly_called_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.validation.affected", "3", "3"], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    said, wrong, cases = (sum(int(row[place]) for row in rows) for place in (-4, -2, -1))
    assert (wrong, cases) == (0, 3 * len(CELLS)), done.stdout + done.stderr
    assert said > cases / 4


@pytest.mark.weekly
@pytest.mark.slow
def test_code_that_is_found_by_a_computed_name_and_texts_that_code_reads_are_never_called_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.validation.planted_edits", "13"], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    said, wrong, cases = (sum(int(row[place]) for row in rows) for place in (-4, -2, -1))
    assert (said, wrong) == (0, 0), done.stdout + done.stderr
    assert cases > 5


def verdicts(folder: Path, code: int) -> dict[str, tuple[str, str]]:
    """Return the verdict and the reason of each cell."""
    done = rnnbench(*CHECK, cwd=folder, code=code)
    lines = map(json.loads, done.stdout.splitlines())
    return {line["cell"].partition(":")[2]: (line["verdict"], line["reason"]) for line in lines}


@pytest.mark.parametrize(
    ("top", "ignored"),
    [
        ("from _version import version\n", "_version.py"),
        ("try:\n    import _fast\nexcept ImportError:\n    _fast = None\n", "_fast.py"),
        ("from sub.inner import size\n", "sub/inner.py"),
        (f"{WITH_PATH}table = (HERE / 'table.txt').read_text()\n", "table.txt"),
        (f"{WITH_PATH}is_large = (HERE / 'large').is_dir()\n", "large/a.txt"),
    ],
)
def test_a_base_without_a_file_that_its_code_asks_for_and_git_does_not_track_is_not_compared(
    tmp_path: Path, top: str, ignored: str
) -> None:
    text = f"{top}{cells()}"
    repository.commit(tmp_path, {"mine.toml": MINE, "mine.py": text, ".gitignore": ignored})
    (tmp_path / ignored).parent.mkdir(exist_ok=True)
    (tmp_path / ignored).write_text("version = size = '1'\n")
    (tmp_path / "mine.py").write_text(f"{text}# changed\nMORE = [1].copy()\n")
    found = verdicts(tmp_path, 2)
    assert {verdict for verdict, _ in found.values()} == {"incomparable"}
    name = ignored.partition("/")[0]
    reason = f"the base lacks {name}, which its code asks for and git does not track; compare two folders"
    assert all(why.startswith(reason) for _, why in found.values())


def test_a_submodule_that_the_base_has_not_checked_out_is_such_a_file(tmp_path: Path) -> None:
    repo = tmp_path / "there"
    repository.commit(tmp_path / "lib", {"code.py": "size = 1"})
    text = f"from libs.lib.code import size\n{cells()}"
    repository.commit(repo, {"mine.toml": MINE, "mine.py": text})
    repository.add_submodule(repo, tmp_path / "lib", "libs/lib")
    (repo / "mine.py").write_text(f"{text}MORE = [1].copy()\n")
    assert "the base lacks libs/lib/code.py" in verdicts(repo, 2)["Mine"][1]


def test_only_the_cases_that_ask_for_it_are_not_compared(tmp_path: Path) -> None:
    text = WITH_PATH + cells("if (HERE / 'weights').exists(): pass")
    repository.commit(tmp_path, {"mine.toml": MINE, "mine.py": text, ".gitignore": "weights"})
    (tmp_path / "weights").write_text("1")
    (tmp_path / "mine.py").write_text(f"{text}MORE = [1].copy()\n")
    found = verdicts(tmp_path, 2)
    assert (found["Mine"][0], found["Other"][0] in ("undecided", "unchanged")) == ("incomparable", True)


def test_a_new_file_that_only_the_heads_code_asks_for_and_one_that_the_base_makes_are_no_such_files(
    tmp_path: Path,
) -> None:
    keeps = "kept = HERE / 'kept'\nif not kept.exists():\n    kept.write_text('1')\n"
    text = f"{WITH_PATH}{keeps}{cells()}"
    repository.commit(tmp_path, {"mine.toml": MINE, "mine.py": text, ".gitignore": "kept"})
    (tmp_path / "kept").write_text("1")
    (tmp_path / "helper.py").write_text("size = 1")
    (tmp_path / "mine.py").write_text(f"from helper import size\n{text}")
    assert {verdict for verdict, _ in verdicts(tmp_path, 0).values()} <= {"undecided", "unchanged"}


@pytest.fixture
def both(tmp_path: Path) -> tuple[Side, Side]:
    """A base at a commit, and a head in the working tree."""
    repository.commit(tmp_path / "head", {"tracked.py": "1", "folder/a.txt": "1"})
    (tmp_path / "base").mkdir()
    head = Side("head", "the head", suites.read_suite("quick"), tree=tmp_path / "head")
    return Side("base", "main", head.suite, tree=tmp_path / "base", commit="1a2b3c4"), head


def test_tracked_files_lent_files_and_files_that_nobody_has_are_not_lacking(
    both: tuple[Side, Side], tmp_path: Path
) -> None:
    base, head = both
    for name in ("lent.py", "made.py", "fast.abi3.so"):
        (tmp_path / "head" / name).write_text("1")
    missed: dict[str, list[str | None]] = {str(tmp_path / "base" / name): ["case"] for name in NOT_LACKING}
    assert lacking_files(replace(base, lent=("lent.py",)), head, missed) == {}
    missed |= {str(tmp_path / "base" / "made"): ["one", "two"], str(tmp_path / "base" / "fast"): [None]}
    lacking = lacking_files(replace(base, lent=("lent.py",)), head, missed)
    assert lacking.keys() == {"one", "two", None}
    assert "lacks fast.abi3.so," in lacking[None]
    assert lacking_files(replace(base, commit=None), head, missed) == {}  # a folder, which its owner has built


@pytest.mark.parametrize(
    ("changed", "is_told"),
    [("csrc/fast.cu", True), ("setup.py", True), ("fast.pyx", True), ("mine.py", False), ("README.md", False)],
)
def test_one_library_for_both_sides_leaves_nothing_to_compare_if_its_sources_differ(
    both: tuple[Side, Side], changed: str, is_told: bool
) -> None:
    base, head = replace(both[0], commit=None), both[1]
    for side in (base, head):
        file = Path(str(side.tree), changed)
        file.parent.mkdir(exist_ok=True)
        file.write_text(side.name)
    shared = WorkerFiles(libraries={"/home/me/cache/fast.so": None})
    why = shared_library(base, head, {"base": shared, "head": shared})
    assert bool(why) is is_told
    assert not is_told or why.startswith(f"both sides load /home/me/cache/fast.so, though {changed} differs")
    own = {side: WorkerFiles(libraries={f"/{side}/fast.so": None}) for side in ("base", "head")}
    assert shared_library(base, head, own) == ""
