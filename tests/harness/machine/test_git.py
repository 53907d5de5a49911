"""Real git on small repositories, and the temporary folders for its worktrees."""

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.machine import git
from tests.doubles import repository


@pytest.fixture
def repo(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        repository.commit(folder, {"file": "one"})
        repository.commit(folder, {"file": "two"})

    return repository.copied(tmp_path_factory, "two-commits", make, tmp_path / "there")


def worktrees(folder: Path) -> int:
    return repository.git(folder, "worktree", "list").count("\n") + 1


def test_a_worktree_holds_the_revision_and_is_gone_afterwards_whatever_happens_in_it(repo: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), git.worktree(repo, "HEAD~1") as tree:
        assert (tree / "file").read_text() == "one"
        assert worktrees(repo) == 2
        (tree / "new file").write_text("left behind")
        raise KeyboardInterrupt
    assert not tree.parent.exists()
    assert worktrees(repo) == 1
    assert (repo / "file").read_text() == "two"


HOLD = """
import sys, time
from pathlib import Path
from rnnbench.harness.machine import git
with git.worktree(Path(sys.argv[1]), "HEAD~1") as tree:
    print(tree, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("lock", ["", "initializing"])  # git locks a worktree while it makes it
def test_the_worktree_of_a_process_that_was_killed_is_removed_by_the_next_and_that_of_another_stays(
    repo: Path, lock: str
) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", HOLD, repo], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    trees = [Path(str(process.stdout and process.stdout.readline()).strip()) for process in started]
    killed, other = started
    try:
        if lock:
            repository.git(repo, "worktree", "lock", "--reason", lock, str(trees[0]))
        killed.kill()
        killed.communicate()
        assert [tree.exists() for tree in trees] == [True, True]
        assert worktrees(repo) == 3
        with git.worktree(repo, "HEAD"):
            assert [tree.parent.exists() for tree in trees] == [False, True]
            assert worktrees(repo) == 3
    finally:
        other.kill()
        other.communicate()
    with git.worktree(repo, "HEAD"):
        assert worktrees(repo) == 2


def test_worktrees_that_are_made_and_removed_at_the_same_time_do_not_disturb_each_other(repo: Path) -> None:
    def read_ten_times(_: int) -> list[str]:
        texts = []
        for _ in range(10):
            with git.worktree(repo, "HEAD~1") as tree:
                texts.append((tree / "file").read_text())
        return texts

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read_ten_times, range(8))) == [["one"] * 10] * 8
    assert worktrees(repo) == 1


def test_a_worktree_of_the_users_stays_whatever_its_folder_is_called(repo: Path, tmp_path: Path) -> None:
    own = tmp_path / "rnnbench.base.mine" / "tree"
    repository.git(repo, "worktree", "add", "--quiet", "--detach", str(own))
    with git.worktree(repo, "HEAD"):
        assert own.exists()
        assert worktrees(repo) == 3


def test_what_names_no_commit_is_refused_in_words(repo: Path, tmp_path: Path) -> None:
    assert git.commit(repo, "main") == repository.git(repo, "rev-parse", "HEAD")
    repository.git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repo}", "shallow")
    for folder, name, words in (
        (repo, "nowhere", "neither a folder nor a revision of"),
        (repo, "--help", "neither a folder nor a revision of"),
        (tmp_path / "shallow", "HEAD~1", "neither a folder nor a revision of .*; this is a shallow clone"),
        (tmp_path / "shallow", "HEAD~1", ".*in a workflow give actions/checkout `fetch-depth: 2`"),
    ):
        with pytest.raises(UserError, match=f"base {name}: {words}"):
            git.commit(folder, name)


def test_from_a_hook_the_folder_decides_and_not_what_git_has_set(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo / "below").mkdir()
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", "elsewhere")
    assert git.top(repo / "below") == repo.resolve()
    with git.worktree(repo, "HEAD~1") as tree:
        assert (tree / "file").read_text() == "one"


def test_a_git_that_hangs_is_told_by_its_command_and_no_state_is_known(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    repository.executable(tmp_path / "bin" / "git", "exec sleep 100")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git, "GIT_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"`git rev-parse` fails: .* timed out after 0\.2 seconds"):
        git.top(repo)
    with pytest.raises(UserError, match=r"`git log` fails: .* timed out after 0\.2 seconds"):
        git.log(repo, "%H")
    assert git.commit_and_changes(repo) is None


def test_without_git_there_is_no_repository_and_no_state(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert (git.top(repo), git.commit_and_changes(repo)) == (None, None)


@pytest.mark.parametrize("name", [b"a b", b"a\nb", b"ends \n", b"a:b", b"\xff\xfe", b"-C", b"'$(touch x)'"])
def test_a_repository_in_a_folder_of_any_name_is_found_and_checked_out(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name)
    repository.commit(folder, {"file": "one", "below/other": "one"})
    repository.commit(folder, {"file": "two"})
    assert git.top(folder / "below") == folder
    assert git.commit_and_changes(folder) == {"commit": git.commit(folder, "HEAD"), "dirty": False}
    with git.worktree(folder, git.commit(folder, "HEAD~1")) as tree:
        assert (tree / "file").read_text() == "one"
    assert sorted(tmp_path.iterdir()) == [folder]


def test_a_repository_that_git_refuses_is_told_in_gits_own_words(repo: Path) -> None:
    (repo / ".git" / "config").write_text("[core")
    with pytest.raises(UserError, match="`git rev-parse` fails: fatal: bad config"):
        git.top(repo)
    assert git.commit_and_changes(repo) is None


def test_changes_in_a_submodule_are_changes_too(repo: Path, tmp_path: Path) -> None:
    repository.commit(tmp_path / "lib", {"code": "one"})
    repository.add_submodule(repo, tmp_path / "lib", "libs/lib")
    assert git.commit_and_changes(repo) == {"commit": git.commit(repo, "HEAD"), "dirty": False}
    (repo / "libs" / "lib" / "code").write_text("two")
    assert git.commit_and_changes(repo) == {"commit": git.commit(repo, "HEAD"), "dirty": True}


def test_no_hook_runs_at_a_checkout(repo: Path, tmp_path: Path) -> None:
    (repo / ".git" / "hooks").mkdir(exist_ok=True)
    repository.executable(repo / ".git" / "hooks" / "post-checkout", f"touch {tmp_path}/ran")
    with git.worktree(repo, "HEAD"):
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:me/mine.git", "https://github.com/me/mine"),
        ("https://github.com/me/mine", "https://github.com/me/mine"),
        ("https://me:secret@gitlab.example.com/group/sub/mine.git", "https://gitlab.example.com/group/sub/mine"),
        ("ssh://git@host.example.com:2222/me/mine.git/", "https://host.example.com/me/mine"),
        ("../mine", None),
        ("/srv/git/mine.git", None),
        ("file:///srv/git/mine.git", None),
    ],
)
def test_the_address_of_a_repositorys_page_has_no_secret_and_comes_from_its_remote(
    tmp_path: Path, remote: str, address: str | None
) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    assert git.web_address(tmp_path) is None
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    assert git.web_address(tmp_path) == address


def test_days_and_subjects_are_told_of_the_commits_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-01-31T12:00:00")
    assert git.subjects(tmp_path, ["0" * 40]) == {}
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    command = ["git", "-C", str(tmp_path), "-c", "user.name=me", "-c", "user.email=me@example.com", "commit", "--quiet"]
    subprocess.run([*command, "--allow-empty", "--message", "First line\n\nAnd more"], check=True)
    head = git.commit(tmp_path, "HEAD")
    assert git.subjects(tmp_path, [head, "0" * 40]) == {head: ("2026-01-31", "First line")}
