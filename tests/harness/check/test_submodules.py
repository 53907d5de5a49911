"""Real submodules, checked out in temporary worktrees of real repositories."""

import shutil
from pathlib import Path

import pytest

from rnnbench.harness.check import submodules
from rnnbench.harness.machine import git
from tests.doubles import repository


@pytest.fixture
def repo(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a nested submodule; its newest commit updates the submodule."""

    def make(folder: Path) -> None:
        inner, lib, there = (folder / name for name in ("inner", "lib", "there"))
        repository.commit(inner, {"deep": "one"})
        repository.commit(lib, {"code": "one"})
        repository.add_submodule(lib, inner, "in side")
        repository.commit(there, {"file": "one"})
        repository.add_submodule(there, lib, "libs/lib")
        allowed = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive")
        repository.git(there, *allowed)
        repository.commit(there / "libs" / "lib", {"code": "two"})
        repository.commit(there, {})

    copy = repository.copied(tmp_path_factory, "submodules", make, tmp_path / "repositories")
    for name in ("inner", "lib", "there"):
        (copy / name).rename(tmp_path / name)
    return tmp_path / "there"


def filled(folder: Path, revision: str) -> tuple[dict[str, str], list[str]]:
    """The content of a worktree of a revision, and the submodules that stay empty in it."""
    commit = git.commit(folder, revision)
    with git.worktree(folder, commit) as tree:
        empty = submodules.fill(folder, commit, tree)
        files = (path for path in tree.rglob("*") if path.is_file() and not path.name.startswith(".git"))
        return {str(path.relative_to(tree)): path.read_text() for path in files}, empty


WHOLE = {"file": "one", "libs/lib/code": "one", "libs/lib/in side/deep": "one"}


def test_submodules_are_checked_out_at_the_revisions_own_commits_the_nested_ones_too(repo: Path) -> None:
    assert filled(repo, "HEAD~1") == (WHOLE, [])
    assert filled(repo, "HEAD") == (WHOLE | {"libs/lib/code": "two"}, [])
    assert filled(repo, "HEAD~2") == ({"file": "one"}, [])


def test_neither_the_repository_nor_its_submodules_are_touched(repo: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in repo.rglob("*") if path.is_file()}

    before = content()
    filled(repo, "HEAD~1")
    assert content() == before


def test_a_submodule_that_is_not_checked_out_any_more_comes_from_the_repositorys_own_store(repo: Path) -> None:
    repository.git(repo, "submodule", "--quiet", "deinit", "--all", "--force")
    assert filled(repo, "HEAD~1") == (WHOLE, [])


def test_a_submodule_with_a_repository_of_its_own_beside_its_files_is_found(repo: Path) -> None:
    lib = repo / "libs" / "lib"
    shutil.rmtree(lib)
    repository.git(repo, "clone", "--quiet", str(repo.parent / "lib"), str(lib))
    shutil.rmtree(repo / ".git" / "modules")
    assert filled(repo, "HEAD~1") == (
        {"file": "one", "libs/lib/code": "one"},
        ["libs/lib/in side"],
    )


def test_a_linked_worktree_of_the_user_has_the_same_submodules(repo: Path, tmp_path: Path) -> None:
    repository.git(repo, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert filled(tmp_path / "linked", "HEAD~1") == (WHOLE, [])


def test_a_commit_that_is_not_on_this_machine_leaves_its_submodule_empty_and_is_named(
    repo: Path, tmp_path: Path
) -> None:
    repository.git(tmp_path, "clone", "--quiet", str(repo), "fresh")
    assert filled(tmp_path / "fresh", "HEAD") == ({"file": "one"}, ["libs/lib"])
    repository.git(repo / "libs" / "lib", "checkout", "--quiet", "--orphan", "other")
    missing = f"160000,{'1' * 40},libs/lib"
    repository.git(repo, "update-index", "--cacheinfo", missing)
    repository.git(repo, "commit", "--quiet", "-m", "a commit that nobody has")
    assert filled(repo, "HEAD") == ({"file": "one"}, ["libs/lib"])


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../b"])
def test_a_submodules_name_never_leads_out_of_the_store(repo: Path, tmp_path: Path, name: str) -> None:
    settings = f'[submodule "{name}"]\n\tpath = libs/lib\n\turl = x\n'
    repository.git(tmp_path, "clone", "--quiet", "--bare", str(tmp_path / "lib"), "outside")
    repository.git(repo, "submodule", "--quiet", "deinit", "--all", "--force")
    repository.commit(repo, {".gitmodules": settings})
    shutil.rmtree(repo / ".git" / "modules" / "libs" / "lib")
    assert filled(repo, "HEAD") == ({"file": "one"}, ["libs/lib"])
