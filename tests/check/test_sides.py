"""Which code a check compares, on real repositories and folders."""

import re
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from rnnbench.check.sides import Project, Side, SteadyFiles, sides
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from rnnbench.suite import suites
from rnnbench.suite.cell_suite import of_cell
from tests.doubles import repository
from tests.doubles.commands import MINE, cells, rnnbench

SUITE = 'name = "mine"\n[[sweep]]\ncell = "cell.py:Mine"\nreference = "rnn"\n'
CELL = "from torch import nn\nclass Mine(nn.RNNCell):\n    note = {note!r}\n"
SAVES_ITSELF = """
from pathlib import Path
beside = Path(__file__).with_name("beside.py")
beside.write_bytes(beside.read_bytes())
"""
ANOTHER_SAVES = """
import subprocess, sys
from pathlib import Path
beside = str(Path(__file__).with_name("beside.py"))
subprocess.run([sys.executable, "-c", f"open({beside!r}, 'a').write('# later')"], check=True)
import beside
"""


@pytest.fixture
def repo(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        repository.commit(folder, {"bench/mine.toml": SUITE, "bench/cell.py": CELL.format(note="old")})
        repository.commit(folder, {"bench/cell.py": CELL.format(note="new")})

    return repository.copied(tmp_path_factory, "sides", make, tmp_path / "there")


def opened(folder: Path, base: str | None = None, base_python: str | None = None, *sources: str):
    return sides(suites.read_suite(str(folder / "bench" / "mine.toml")), base, base_python, sources)


def cell(side: Side) -> str:
    return (side.root / "cell.py").read_text()


def test_a_revision_is_compared_with_the_working_tree_and_leaves_nothing_behind(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with opened(repo, "HEAD~1") as (base, head):
        assert ("old" in cell(base), "new" in cell(head)) == (True, True)
        assert head.root == repo.resolve() / "bench"
        assert base.about.startswith("HEAD~1 (")
        assert re.fullmatch("the working tree at [0-9a-f]{7}", head.about)
        assert base.commit == repository.git(repo, "rev-parse", "HEAD~1")
        assert base.in_words(f"{base.root}/cell.py:3 and {base.tree}") == "HEAD~1:bench/cell.py:3 and HEAD~1"
        assert head.in_words(f"{head.root}/cell.py:3") == f"{repo}/bench/cell.py:3"
        assert base.variables.keys() == head.variables.keys() >= {"TORCH_EXTENSIONS_DIR", "TRITON_CACHE_DIR"}
        assert not set(base.variables.values()) & set(head.variables.values())
    with pytest.raises(KeyboardInterrupt), opened(repo, "HEAD~1"):
        raise KeyboardInterrupt
    assert [*(tmp_path / "temporary").iterdir()] == []
    assert repository.git(repo, "worktree", "list").count("\n") == 0
    (repo / "bench" / "cell.py").write_text(CELL.format(note="newer"))
    with opened(repo, "HEAD") as (_, head):
        assert head.about.endswith(", with uncommitted changes")


def test_outputs_call_the_base_as_they_are_told(repo: Path) -> None:
    suite = suites.read_suite(str(repo / "bench" / "mine.toml"))
    commit = repository.git(repo, "rev-parse", "HEAD~1")
    with sides(suite, commit[:12], None) as (base, _):
        assert base.about == commit[:7]
    with sides(suite, "HEAD~1", None, base_name="main at 1a2b3c4") as (base, _):
        assert base.about == "main at 1a2b3c4"


def test_a_folder_is_compared_by_the_suites_place_or_its_bare_name(repo: Path, tmp_path: Path) -> None:
    for place in ("bench", "."):
        other = tmp_path / f"other-{place}" / place
        other.mkdir(parents=True)
        (other / "mine.toml").write_text(SUITE)
        (other / "cell.py").write_text(CELL.format(note=place))
        with opened(repo, str(tmp_path / f"other-{place}")) as (base, _):
            assert repr(place) in cell(base)


def test_modules_come_from_rnnbench_the_sources_the_nearest_project_and_the_top(repo: Path) -> None:
    files = ("core/src/m.py", "bench/setup.py", "bench/src/m.py", "src/m.py")
    repository.commit(repo, dict.fromkeys(files, ""))
    with opened(repo, "HEAD", None, str(repo / "core" / "src")) as both:
        for side in both:
            tree = side.tree or repo
            assert (side.paths[0] / "rnnbench").resolve() == PACKAGE_PARENT / "rnnbench"
            assert side.paths[1:] == tuple(tree / name for name in ("core/src", "bench/src", "bench", "src", "."))
    repository.commit(repo, {"rnnbench/__init__.py": ""})
    with opened(repo, "HEAD") as both:  # a repository that holds rnnbench is measured with its own
        assert all(side.paths[0] == side.tree for side in both)


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
        (("nowhere",), "base nowhere: neither a folder nor a revision"),
        ((), "give `rnnbench check` --base main"),
        ((None, "no-such-python"), "base: no such interpreter: no-such-python"),
        (("..",), r"base \.\.: the folder has no bench/mine\.toml and no mine\.toml"),
        ((".",), "nothing differs: that folder contains the head's own files"),
        (("bench",), "nothing differs: that folder contains the head's own files"),
        (("HEAD", None, "lib"), "source lib: .* has no such folder; give one that both sides have"),
        (("HEAD", None, ".."), r"source \.\.: it is not below .*; give a folder that is"),
        (("HEAD", None, "new"), "source new: HEAD has no such folder; give one that both sides have"),
    ],
)
def test_what_can_not_be_compared_is_refused_in_words(
    repo: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    (repo / "new").mkdir()
    monkeypatch.chdir(repo)
    with pytest.raises(UserError, match=words):
        opened(repo, *arguments).__enter__()


def test_where_a_suite_has_no_repository_a_revision_is_refused(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(SUITE)
    (tmp_path / "cell.py").write_text("")
    monkeypatch.chdir(repo)
    for suite, words in (
        (tmp_path / "mine.toml", "is not in a git repository, or git is not on PATH: no revision can be compared"),
        ("quick", "quick measures rnnbench's own cells, which are not in"),
    ):
        with pytest.raises(UserError, match=words):
            sides(suites.read_suite(str(suite)), "HEAD", None).__enter__()


def test_a_suite_that_the_base_does_not_have_is_lent_to_it_and_one_that_was_renamed_is_compared(repo: Path) -> None:
    (repo / "bench" / "mine.toml").rename(repo / "bench" / "other.toml")
    other = suites.read_suite(str(repo / "bench" / "other.toml"))
    with sides(other, "HEAD", None) as (base, head):
        assert base.about.endswith("with the head's bench/other.toml")
        assert base.lent == head.lent == ("bench/other.toml",)
    repository.git(repo, "add", "--all")
    with sides(other, "HEAD", None) as (base, head):
        assert base.about.endswith("where the suite is bench/mine.toml")
        assert (base.suite.file.name, head.suite.file.name) == ("mine.toml", "other.toml")


@pytest.mark.parametrize(
    ("suite_text", "words"),
    [
        ("[", "HEAD~1:bench/mine.toml: "),
        (
            SUITE.replace("cell.py", "libs/other.py"),
            "HEAD~1:bench/mine.toml: sweep[0].cell[0]: 'libs/other.py:Mine': no file HEAD~1:",
        ),
    ],
)
def test_what_is_wrong_with_the_bases_suite_is_told_by_revision_and_path(
    repo: Path, suite_text: str, words: str
) -> None:
    repository.commit(repo, {"bench/mine.toml": suite_text})
    repository.commit(repo, {"bench/mine.toml": SUITE})
    with pytest.raises(UserError) as refused:
        opened(repo, "HEAD~1").__enter__()
    assert str(refused.value).startswith(words)
    assert "rnnbench.base" not in str(refused.value)


def test_a_name_of_both_a_folder_and_a_branch_is_the_branch_and_the_folder_has_a_name_of_its_own(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    (repo / "main").mkdir()
    (repo / "main" / "mine.toml").write_text(SUITE)
    (repo / "main" / "cell.py").write_text(CELL.format(note="folder"))
    for given, about in (("main", "main ("), ("./main", "folder ./main"), ("refs/heads/main", "refs/heads/main (")):
        with opened(repo, given) as (base, _):
            assert base.about.startswith(about)


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


def test_a_class_is_compared_with_itself_at_a_revision_in_a_folder_and_at_a_commit(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    mine = of_cell("bench/cell.py:Mine", None, whole=False)
    with sides(mine, "HEAD~1", None) as (base, head):
        assert ("old" in cell(base), "new" in cell(head)) == (True, True)
        assert base.suite.model_dump() == head.suite.model_dump()
    other = tmp_path / "other" / "bench"
    other.mkdir(parents=True)
    (other / "cell.py").write_text(CELL.format(note="other"))
    with sides(mine, str(tmp_path / "other"), None) as (base, _):
        assert "other" in cell(base)
    with ExitStack() as stack:
        side = Project(stack, mine).at_commit(repository.git(repo, "rev-parse", "HEAD~1"), "base")
        assert "old" in cell(side)  # its own file, which the head's does not replace


@pytest.fixture
def side(tmp_path: Path) -> Side:
    for name in ("used.py", "other.py"):
        (tmp_path / name).write_text("x = 1")
    return Side("head", "the head", suites.read_suite("quick"), tree=tmp_path)


def test_only_a_used_file_that_no_worker_wrote_is_refused(side: Side, tmp_path: Path) -> None:
    files = SteadyFiles([side])
    used = {"head": [str(tmp_path / "used.py")]}
    (tmp_path / "other.py").write_text("x = 22")
    files.refuse_changed(used, [])
    (tmp_path / "used.py").write_text("x = 22")
    files.refuse_changed(used, [str(tmp_path / "used.py")])
    with pytest.raises(UserError, match=r"head: .*used\.py changed while the check ran; there is no verdict"):
        files.refuse_changed(used, [])


@pytest.mark.parametrize(("top", "code"), [(ANOTHER_SAVES, 2), (SAVES_ITSELF, 0)])
def test_a_check_during_which_a_file_changes_ends_with_2_and_names_it(tmp_path: Path, top: str, code: int) -> None:
    repository.commit(tmp_path, {"mine.toml": MINE, "mine.py": f"{top}{cells()}", "beside.py": "x = 1"})
    (tmp_path / "README.md").write_text("more")
    (tmp_path / "beside.py").write_text("x = 2")
    done = rnnbench(
        "check", "mine.toml", "--base", "HEAD", "--budget", "3s", "--on-undecided", "pass", cwd=tmp_path, code=code
    )
    told = re.search(r"beside\.py changed while the check ran", done.stderr)
    assert bool(told) == (code == 2)
