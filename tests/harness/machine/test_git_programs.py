"""Programs that a repository names for git never run: each would leave a file behind."""

import os
import subprocess
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.check import submodules
from rnnbench.harness.machine import git, git_programs
from tests.doubles import repository

HOOKS = ("post-checkout", "pre-commit", "post-index-change", "reference-transaction", "fsmonitor-watchman")
KEYS = (
    "core.fsmonitor",
    "core.sshCommand",
    "core.askPass",
    "core.gitProxy",
    "core.editor",
    "core.pager",
    "core.alternateRefsCommand",
    "pager.status",
    "pager.rev-parse",
    "diff.external",
    "diff.evil.textconv",
    "diff.evil.command",
    "merge.evil.driver",
    "filter.evil.clean",
    "filter.evil.smudge",
    "filter.evil.process",
    "filter.a.b=c.smudge",
    "credential.helper",
    "gpg.program",
    "remote.origin.uploadpack",
    "hook.evil.command",
)


def arm(folder: Path, script: Path) -> None:
    """Name a program in every setting and hook of a repository that git would run."""
    for hook in HOOKS:
        (folder / ".git" / "hooks").mkdir(exist_ok=True)
        repository.executable(folder / ".git" / "hooks" / hook, str(script))
    text = "".join(_setting(key, str(script)) for key in KEYS)
    text += _setting("alias.status", f"!{script}") + _setting("credential.https://x.helper", f"!{script}")
    text += _setting("remote.origin.url", f"ext::{script}") + _setting("protocol.ext.allow", "always")
    text += _setting("submodule.lib.update", f"!{script}") + _setting("filter.evil.required", "true")
    text += _setting("hook.evil.event", "post-checkout")
    (folder / ".git" / "included").write_text(text)
    with (folder / ".git" / "config").open("a") as file:
        file.write("[include]\n\tpath = included\n")


def _setting(key: str, value: str) -> str:
    section, _, rest = key.partition(".")
    below, _, name = rest.rpartition(".")
    return f'[{section}{f" {chr(34)}{below}{chr(34)}" if below else ""}]\n\t{name} = "{value}"\n'


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Two commits of files whose attributes call for programs; a file of the newer commit is changed on disk."""
    folder = tmp_path / "there"
    attributes = "file filter=evil diff=evil merge=evil\nother filter=a.b=c\n"
    repository.commit(folder, {".gitattributes": attributes, "file": "one", "other": "one"})
    repository.commit(folder, {"file": "two"})
    (folder / "file").write_text("owt")  # same size: git has to read it, and would run the clean filter
    return folder


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return repository.executable(tmp_path / "evil", f'echo "$0 $*" >> {tmp_path}/ran; cat')


def test_no_program_of_a_repositorys_own_configuration_runs(repo: Path, script: Path, tmp_path: Path) -> None:
    arm(repo, script)
    assert git.top(repo) == repo
    state = git.state(repo)
    assert state is not None
    assert state["dirty"]
    commit = git.commit(repo, "HEAD~1")
    with git.worktree(repo, commit) as tree:
        assert (tree / "file").read_text() == "one"
        assert (tree / "other").read_text() == "one"
        assert submodules.fill(repo, commit, tree) == []
        assert git.files(tree) == [".gitattributes", "file", "other"]
    assert not (tmp_path / "ran").exists()


def test_the_traps_of_this_test_do_spring_when_git_is_asked_without_care(
    repo: Path, script: Path, tmp_path: Path
) -> None:
    arm(repo, script)
    subprocess.run(["git", "-C", str(repo), "status"], check=False, capture_output=True)
    assert str(script) in (tmp_path / "ran").read_text()


def test_no_program_of_a_submodules_own_configuration_runs(repo: Path, script: Path, tmp_path: Path) -> None:
    repository.commit(tmp_path / "lib", {".gitattributes": "code filter=evil", "code": "one"})
    repository.add_submodule(repo, tmp_path / "lib", "lib")
    (repo / "lib" / "code").write_text("eno")
    settings = repo / ".git" / "modules" / "lib" / "config"
    traps = "".join(_setting(key, str(script)) for key in KEYS)
    settings.write_text(settings.read_text() + traps + _setting("filter.evil.required", "true"))
    assert git.state(repo) is not None
    commit = git.commit(repo, "HEAD")
    with git.worktree(repo, commit) as tree:
        assert submodules.fill(repo, commit, tree) == []
        assert (tree / "lib" / "code").read_text() == "one"
    assert not (tmp_path / "ran").exists()


def test_a_partial_clone_starts_no_program_to_fetch_what_it_lacks(repo: Path, script: Path, tmp_path: Path) -> None:
    repository.git(repo, "config", "uploadpack.allowFilter", "true")
    repository.git(tmp_path, "clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{repo}", "partial")
    arm(tmp_path / "partial", script)
    with pytest.raises(UserError, match="this clone is partial"):
        git.worktree(tmp_path / "partial", "HEAD").__enter__()
    assert not (tmp_path / "ran").exists()


def test_filters_of_the_users_own_configuration_run_though_the_repository_names_others(
    repo: Path, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gitconfig").write_text('[filter "evil"]\n\tsmudge = tr a-z A-Z\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    repository.git(repo, "config", "filter.evil.smudge", str(script))
    with git.worktree(repo, "HEAD~1") as tree:
        assert (tree / "file").read_text() == "ONE"
    assert not (tmp_path / "ran").exists()


def test_settings_that_the_environment_holds_stay(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "filter.evil.smudge")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "tr a-z A-Z")
    repository.git(repo, "config", "core.editor", "vi")
    with git.worktree(repo, "HEAD~1") as tree:
        assert (tree / "file").read_text() == "ONE"


def test_a_key_gets_the_users_values_after_an_empty_one_and_others_are_left_alone() -> None:
    entries = [("global", "filter.x.clean\na"), ("local", "filter.x.clean\nb"), ("system", "core.editor\nvi")]
    entries += [("worktree", "filter.x.required"), ("local", "filter.x.clean\nc")]
    answer = b"".join(os.fsencode(f"{scope}\0{entry}\0") for scope, entry in entries)
    variables = git_programs.overrides(answer, {"GIT_CONFIG_COUNT": "2"})
    assert variables == {
        "GIT_CONFIG_COUNT": "5",
        "GIT_CONFIG_KEY_2": "filter.x.clean",
        "GIT_CONFIG_VALUE_2": "",
        "GIT_CONFIG_KEY_3": "filter.x.clean",
        "GIT_CONFIG_VALUE_3": "a",
        "GIT_CONFIG_KEY_4": "filter.x.required",
        "GIT_CONFIG_VALUE_4": "",
    }
