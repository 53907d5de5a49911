"""Which code a check compares, on real repositories and folders."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from rnnbench import suites
from rnnbench.cell_suite import of_cell
from rnnbench.errors import UserError
from rnnbench.harness.check.pairs import start_worker
from rnnbench.harness.check.sides import Side, at_commit, sides
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from tests.doubles import repository

SUITE = 'name = "mine"\n[[sweep]]\ncell = "cell.py:Mine"\nreference = "rnn"\n'
CELL = "from torch import nn\nclass Mine(nn.RNNCell):\n    note = {note!r}\n"


@pytest.fixture
def repo(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        repository.commit(folder, {"bench/mine.toml": SUITE, "bench/cell.py": CELL.format(note="old")})
        repository.commit(folder, {"bench/cell.py": CELL.format(note="new")})

    return repository.copied(tmp_path_factory, "sides", make, tmp_path / "there")


def suite(folder: Path) -> suites.Suite:
    return suites.read(str(folder / "bench" / "mine.toml"))


def opened(folder: Path, base: str | None = None, base_python: str | None = None, head_python: str | None = None):
    return sides(suite(folder), base, base_python, head_python)


def cell(side: Side) -> str:
    return (side.root / "cell.py").read_text()


def test_a_revision_is_compared_with_the_working_tree(repo: Path) -> None:
    with opened(repo, "HEAD~1") as (base, head):
        assert "old" in cell(base)
        assert "new" in cell(head)
        assert head.root == repo.resolve() / "bench"
        assert base.about.startswith("HEAD~1 (")
        assert head.about.startswith("the working tree at ")
        assert "uncommitted" not in head.about
        assert base.commit == repository.git(repo, "rev-parse", "HEAD~1")
        assert head.checked_out is None
        assert base.checked_out == {
            "commit": base.commit,
            "suite": "bench/mine.toml",
            "paths": ["."],
            "python": sys.executable,
        }
    assert not base.root.exists()


def test_uncommitted_changes_are_said(repo: Path) -> None:
    (repo / "bench" / "cell.py").write_text(CELL.format(note="newer"))
    with opened(repo, "HEAD") as (_, head):
        assert head.about.endswith(", with uncommitted changes")


def test_a_folder_is_compared_by_the_suites_place_or_its_bare_name(repo: Path, tmp_path: Path) -> None:
    for place in ("bench", "."):
        other = tmp_path / f"other-{place}" / place
        other.mkdir(parents=True)
        (other / "mine.toml").write_text(SUITE)
        (other / "cell.py").write_text(CELL.format(note=place))
        with opened(repo, str(tmp_path / f"other-{place}")) as (base, _):
            assert repr(place) in cell(base)


@pytest.mark.parametrize("place", [".", "bench"])
def test_the_heads_own_folder_is_no_base(repo: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(repo)
    with pytest.raises(UserError, match="nothing differs: that folder contains the head's own files"):
        opened(repo, str(tmp_path / "link" / place)).__enter__()


def test_a_sides_own_modules_and_rnnbench_come_first(repo: Path) -> None:
    with opened(repo, "HEAD") as (base, head):
        assert head.paths[-1] == repo.resolve()
        assert base.paths[-1] == base.root.parent
        assert (base.paths[0] / "rnnbench").resolve() == PACKAGE_PARENT / "rnnbench"
        assert {entry.name for entry in base.paths[0].iterdir()} == {"rnnbench"}


def test_a_repository_that_holds_rnnbench_is_measured_with_its_own(repo: Path) -> None:
    repository.commit(repo, {"rnnbench/harness/worker/loop.py": ""})
    with opened(repo, "HEAD") as (base, head):
        assert head.paths[0] == repo.resolve()
        assert base.paths[0] == base.root.parent


def test_two_interpreters_run_the_same_files(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "venv" / "bin" / "python"
    other.parent.mkdir(parents=True)
    other.symlink_to(sys.executable)
    with opened(repo, base_python=str(tmp_path / "venv")) as (base, head):
        assert base.root == head.root
        assert (base.python, head.python) == (str(other), sys.executable)
        assert str(other) in base.about


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"base": "nowhere"}, "base nowhere: neither a folder nor a revision"),
        ({"base": ""}, "the base is empty"),
        ({}, "nothing to compare with"),
        ({"base_python": "no-such-python"}, "base: no such interpreter: no-such-python"),
        ({"base": "."}, r"base .: the folder has no bench/mine.toml and no mine.toml"),
    ],
)
def test_what_can_not_be_compared_is_refused_in_words(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words), opened(repo, **arguments):
        pass


def test_a_revision_without_the_suite_is_refused(repo: Path) -> None:
    (repo / "bench" / "mine.toml").rename(repo / "bench" / "other.toml")
    other = suites.read(str(repo / "bench" / "other.toml"))
    with pytest.raises(UserError, match=r"has no bench/other\.toml"), sides(other, "HEAD", None, None):
        pass


@pytest.mark.parametrize(
    ("suite_text", "words"),
    [
        ("[", "HEAD~1:bench/mine.toml: "),
        (SUITE.replace("rnn", "nothing"), "HEAD~1:bench/mine.toml: sweep[0].reference: "),
        (
            SUITE.replace("cell.py", "libs/other.py"),
            "HEAD~1:bench/mine.toml: sweep[0].cell: 'libs/other.py:Mine': no file HEAD~1:",
        ),
    ],
)
def test_what_is_wrong_with_the_bases_suite_is_told_by_revision_and_path(
    repo: Path, suite_text: str, words: str
) -> None:
    repository.commit(repo, {"bench/mine.toml": suite_text})
    repository.commit(repo, {"bench/mine.toml": SUITE})
    with pytest.raises(UserError) as refused, opened(repo, "HEAD~1"):
        pass
    assert str(refused.value).startswith(words)
    assert "rnnbench.base" not in str(refused.value)


def test_a_submodule_is_in_the_base_and_named_where_its_commit_is_not_here(repo: Path, tmp_path: Path) -> None:
    repository.commit(tmp_path / "lib", {"other.py": CELL.format(note="old")})
    repository.add_submodule(repo, tmp_path / "lib", "bench/libs")
    repository.commit(repo, {"bench/mine.toml": SUITE.replace("cell.py", "libs/other.py")})
    with opened(repo, "HEAD") as (base, _):
        assert (base.root / "libs" / "other.py").exists()
        assert base.empty_submodules == ()
    repository.git(tmp_path, "clone", "--quiet", str(repo), "clone")
    (tmp_path / "clone" / "bench" / "libs" / "other.py").write_text(CELL.format(note="new"))
    with pytest.raises(UserError, match=r"no file HEAD:bench/libs/other\.py; these submodules are empty in HEAD"):
        opened(tmp_path / "clone", "HEAD").__enter__()


def test_paths_of_a_temporary_tree_are_told_as_git_names_them(repo: Path) -> None:
    with opened(repo, "HEAD~1") as (base, head):
        assert base.in_words(f"{base.root}/cell.py:3 and {base.tree}") == "HEAD~1:bench/cell.py:3 and HEAD~1"
        assert head.in_words(f"{head.root}/cell.py:3") == f"{repo}/bench/cell.py:3"


def test_a_revision_without_git_is_refused(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="base HEAD: git is not installed, or not on PATH, and no folder has"):
        opened(repo, "HEAD").__enter__()


def test_a_suite_that_was_renamed_since_is_compared(repo: Path) -> None:
    repository.git(repo, "mv", "bench/mine.toml", "bench/other.toml")
    other = suites.read(str(repo / "bench" / "other.toml"))
    with sides(other, "HEAD", None, None) as (base, head):
        assert base.suite.file.name == "mine.toml"
        assert base.about.endswith("where the suite is bench/mine.toml")
        assert head.suite.file.name == "other.toml"


def test_a_name_of_both_a_folder_with_the_suite_and_a_branch_is_refused_with_what_to_type(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    (repo / "main").mkdir()
    with opened(repo, "main") as (base, _):  # a folder without the suite can't be meant
        assert base.about.startswith("main (")
    (repo / "main" / "mine.toml").write_text(SUITE)
    (repo / "main" / "cell.py").write_text(CELL.format(note="folder"))
    with pytest.raises(UserError, match=r"give \./main for the folder, or refs/heads/main for the revision"):
        opened(repo, "main").__enter__()
    for given, about in (("./main", "folder ./main"), ("refs/heads/main", "refs/heads/main (")):
        with opened(repo, given) as (base, _):
            assert base.about.startswith(about)


def test_outside_of_a_repository_a_revision_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SUITE)
    (tmp_path / "cell.py").write_text("")
    lone = suites.read(str(tmp_path / "mine.toml"))
    with pytest.raises(UserError, match="is not in a git repository"), sides(lone, "main", None, None):
        pass


def test_a_shipped_suite_says_nothing_of_a_repository_without_rnnbench(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    with (
        pytest.raises(UserError, match="quick measures rnnbench's own cells"),
        sides(suites.read("quick"), "HEAD", None, None),
    ):
        pass


def test_nothing_is_left_in_the_temporary_folder(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with opened(repo, "HEAD"):
        assert len(list(scratch.iterdir())) == 2
    assert list(scratch.iterdir()) == []


def test_each_sides_workers_stand_in_their_own_copy_of_the_current_folder(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(repo, {"bench/data/cfg.json": "1"})
    (repo / "bench" / "new").mkdir()
    for here, in_base in (("bench/data", "bench/data"), ("bench/new", "bench"), (".", ".")):
        monkeypatch.chdir(repo / here)
        with opened(repo, "HEAD") as (base, head):
            assert base.tree is not None
            assert base.folder == base.tree / in_base
            assert head.folder == (repo / here).resolve()
    monkeypatch.chdir(repo.parent)
    with opened(repo, "HEAD") as (base, head):
        assert base.folder == head.folder == repo.parent.resolve()


def test_each_side_has_its_own_folder_for_each_cache_by_name(repo: Path) -> None:
    with opened(repo, "HEAD") as (base, head):
        assert base.variables.keys() == head.variables.keys() >= {"TORCH_EXTENSIONS_DIR", "TRITON_CACHE_DIR"}
        assert not set(base.variables.values()) & set(head.variables.values())
        for side in (base, head):
            worker = start_worker("each", side, 1)
            try:
                assert dict(worker._variables) == side.variables
            finally:
                worker.close()


def test_a_class_is_compared_with_itself_at_a_revision_in_a_folder_and_at_a_commit(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    mine = of_cell("bench/cell.py:Mine", None, whole=False)
    with sides(mine, "HEAD~1", None, None) as (base, head):
        assert "old" in cell(base)
        assert "new" in cell(head)
        assert base.suite.content == head.suite.content
    other = tmp_path / "other" / "bench"
    other.mkdir(parents=True)
    (other / "cell.py").write_text(CELL.format(note="other"))
    with sides(mine, str(tmp_path / "other"), None, None) as (base, _):
        assert "other" in cell(base)
    with ExitStack() as stack:
        side = at_commit(stack, mine, repository.git(repo, "rev-parse", "HEAD~1"), "base")
        assert "old" in cell(side)  # its own file, which the head's does not replace
