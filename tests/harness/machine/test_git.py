"""Real git on small repositories."""

import os
from pathlib import Path

import psutil
import pytest

from rnnbench.errors import UserError
from rnnbench.harness.machine import git
from tests import repository


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    repository.commit(folder, {"file": "one"})
    repository.commit(folder, {"file": "two"})
    return folder


def worktrees(folder: Path) -> int:
    return repository.git(folder, "worktree", "list").count("\n") + 1


def test_a_worktree_holds_the_revision_and_is_gone_afterwards(there: Path) -> None:
    with git.worktree(there, "HEAD~1") as tree:
        assert (tree / "file").read_text() == "one"
        assert worktrees(there) == 2
    assert not tree.parent.exists()
    assert worktrees(there) == 1
    assert (there / "file").read_text() == "two"


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_a_worktree_is_gone_whatever_happens_in_it(there: Path, fault: type[BaseException]) -> None:
    kept: list[Path] = []

    def fail_inside() -> None:
        with git.worktree(there, "HEAD") as tree:
            kept.append(tree)
            (tree / "new file").write_text("left behind")
            raise fault

    with pytest.raises(fault):
        fail_inside()
    assert not kept[0].parent.exists()
    assert worktrees(there) == 1


def test_what_names_no_commit_is_refused_in_words(there: Path) -> None:
    assert git.commit(there, "main") == repository.git(there, "rev-parse", "HEAD")
    for name in ("nowhere", "--help", "HEAD~7"):
        with pytest.raises(UserError, match=f"base {name}: neither a folder nor a revision of"):
            git.commit(there, name)


def test_from_a_hook_the_folder_decides_and_not_what_git_has_set(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (there / "below").mkdir()
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", "elsewhere")
    assert git.top(there / "below") == there.resolve()
    with git.worktree(there, "HEAD~1") as tree:
        assert (tree / "file").read_text() == "one"


def test_a_shallow_clone_is_told_to_fetch_more(there: Path, tmp_path: Path) -> None:
    repository.git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{there}", "shallow")
    with pytest.raises(UserError, match="fetch the whole history"):
        git.commit(tmp_path / "shallow", "HEAD~1")


def test_the_top_of_a_repository_is_found_from_below_and_nowhere_else(there: Path, tmp_path: Path) -> None:
    below = there / "a" / "b"
    below.mkdir(parents=True)
    assert git.top(below) == there.resolve()
    assert git.top(tmp_path) is None


def test_a_worktree_that_git_was_cut_off_from_making_is_gone_too(there: Path) -> None:
    with git.worktree(there, "HEAD") as tree:
        repository.git(there, "worktree", "lock", "--reason", "initializing", str(tree))
    assert not tree.exists()
    assert worktrees(there) == 1


@pytest.fixture
def slow_filter(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A filter of the user's own that never ends when files are checked out; where its process writes its number."""
    repository.commit(there, {".gitattributes": "file filter=slow"})
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[filter "slow"]\n\tsmudge = "echo $$ > {tmp_path}/number; exec sleep 100"\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setattr(git, "SECONDS", 1.0)
    return tmp_path / "number"


def test_a_worktree_that_takes_git_too_long_is_told_and_gone(there: Path, slow_filter: Path) -> None:
    with pytest.raises(UserError, match="base main: git makes no worktree within 1 s; check it out"):
        git.worktree(there, "HEAD", "main").__enter__()
    assert worktrees(there) == 1
    number = int(slow_filter.read_text())  # of what git had started
    assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_a_git_that_hangs_is_told_by_its_command_and_no_state_is_known(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    repository.executable(tmp_path / "bin" / "git", "exec sleep 100")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git, "SECONDS", 0.2)
    with pytest.raises(UserError, match=r"`git config` gives no answer within 0\.2 s"):
        git.top(there)
    with pytest.raises(UserError, match=r"`git config` gives no answer within 0\.2 s"):
        git.commit(there, "HEAD")
    assert git.state(there) is None


def test_without_git_there_is_no_repository_and_no_state(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git.top(there) is None
    assert git.state(there) is None
    with pytest.raises(UserError, match="git is not installed, or not on PATH"):
        git.commit(there, "HEAD")


@pytest.mark.parametrize("name", [b"a b", b"a\nb", b"ends \n", b"a:b", b"\xff\xfe", b"-C", b"'$(touch x)'"])
def test_a_repository_in_a_folder_of_any_name_is_found_and_checked_out(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name)
    repository.commit(folder, {"file": "one", "below/other": "one"})
    repository.commit(folder, {"file": "two"})
    assert git.top(folder / "below") == folder
    assert git.state(folder) == {"commit": git.commit(folder, "HEAD"), "dirty": False}
    with git.worktree(folder, git.commit(folder, "HEAD~1")) as tree:
        assert (tree / "file").read_text() == "one"
    assert sorted(tmp_path.iterdir()) == [folder]


def test_a_file_of_any_name_is_among_the_files(there: Path) -> None:
    names = ["a b", "a\nb", os.fsdecode(b"\xff"), "-x"]
    repository.commit(there, dict.fromkeys(names, ""))
    assert sorted(git.files(there) or []) == sorted([*names, "file"])


def test_another_users_repository_is_refused_in_gits_own_words(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to test this
    with pytest.raises(UserError, match=r"dubious ownership in .* git config --global --add safe\.directory"):
        git.top(there)
    assert git.state(there) is None


def test_a_broken_configuration_is_told_in_gits_own_words(there: Path) -> None:
    (there / ".git" / "config").write_text("[core")
    with pytest.raises(UserError, match="git refuses to work in this repository: fatal: bad config"):
        git.top(there)
    assert git.state(there) is None


def test_a_repository_that_names_another_folder_as_its_own_is_none(there: Path, tmp_path: Path) -> None:
    repository.git(there, "config", "core.worktree", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    assert git.top(there) is None


def test_a_branch_that_is_named_like_an_option_is_a_branch(there: Path) -> None:
    first = repository.git(there, "rev-parse", "HEAD~1")
    repository.git(there, "update-ref", "refs/heads/--force", first)
    assert git.commit(there, "--force") == first


def test_changes_in_a_submodule_are_changes_too(there: Path, tmp_path: Path) -> None:
    repository.commit(tmp_path / "lib", {"code": "one"})
    repository.add_submodule(there, tmp_path / "lib", "libs/lib")
    assert git.state(there) == {"commit": git.commit(there, "HEAD"), "dirty": False}
    (there / "libs" / "lib" / "code").write_text("two")
    assert git.state(there) == {"commit": git.commit(there, "HEAD"), "dirty": True}


def test_nothing_is_downloaded_into_a_partial_clone_and_the_refusal_says_what_to_do(
    there: Path, tmp_path: Path
) -> None:
    repository.git(there, "config", "uploadpack.allowFilter", "true")
    partial = ["clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{there}", "partial"]
    repository.git(tmp_path, *partial)
    with pytest.raises(UserError, match="this clone is partial and rnnbench downloads nothing: check the revision"):
        git.worktree(tmp_path / "partial", "HEAD").__enter__()


def test_the_users_index_is_not_written(there: Path) -> None:
    index = there / ".git" / "index"
    os.utime(there / "file", (0, 0))  # git would note that the file is unchanged all the same
    before = index.read_bytes()
    assert git.state(there) == {"commit": git.commit(there, "HEAD"), "dirty": False}
    with git.worktree(there, "HEAD"):
        pass
    assert index.read_bytes() == before
