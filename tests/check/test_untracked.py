"""Files that git does not track, on real repositories: what the base lacks, and what both sides share."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench.check.sides import Side
from rnnbench.check.untracked import lacking_files, shared_library
from rnnbench.harness.coordinator.recorder import WorkerFiles
from rnnbench.suite import suites
from tests.doubles import repository
from tests.doubles.commands import MINE, cells, rnnbench

CHECK = ("check", "mine.toml", "--base", "HEAD", "--budget", "1s", "--on-undecided", "pass", "--json")
NOT_LACKING = ("tracked", "folder", "lent.py", "none")
WITH_PATH = "from pathlib import Path\nHERE = Path(__file__).parent\n"


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
