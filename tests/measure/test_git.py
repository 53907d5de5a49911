"""Real git on small repositories."""

from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.measure import git
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


def test_the_repositorys_hooks_are_not_run(there: Path, tmp_path: Path) -> None:
    hook = there / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    with git.worktree(there, "HEAD"):
        pass
    assert not (tmp_path / "ran").exists()


def test_the_repositorys_file_watcher_is_not_run(there: Path, tmp_path: Path) -> None:
    watcher = tmp_path / "watcher"
    watcher.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    watcher.chmod(0o755)
    repository.git(there, "config", "core.fsmonitor", str(watcher))
    assert git.state(there) is not None
    assert not (tmp_path / "ran").exists()


def test_what_names_no_commit_is_refused_in_words(there: Path) -> None:
    assert git.commit(there, "main") == repository.git(there, "rev-parse", "HEAD")
    for name in ("nowhere", "--help", "HEAD~7"):
        with pytest.raises(UserError, match=f"--base {name}: neither a folder nor a revision of"):
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


def test_a_worktree_that_takes_git_too_long_is_told_and_gone(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit(there, {".gitattributes": "file filter=slow"})
    repository.git(there, "config", "filter.slow.smudge", "sleep 3; cat")
    monkeypatch.setattr(git, "SECONDS", 1.0)
    with pytest.raises(UserError, match="--base HEAD: git makes no worktree within 1 s; check it out"):
        git.worktree(there, "HEAD").__enter__()
    assert worktrees(there) == 1
