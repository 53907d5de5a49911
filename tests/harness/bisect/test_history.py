"""Paths through real histories."""

from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.bisect import history
from tests.doubles import repository
from tests.doubles.repository import git


@pytest.fixture
def merged(tmp_path: Path) -> dict[str, str]:
    """first - second - merge - last; the merge brings `side one - side two`, which left at `first`."""
    shas = {"first": repository.commit(tmp_path, {"a": "1"}, "first")}
    git(tmp_path, "checkout", "--quiet", "-b", "side")
    shas |= {name: repository.commit(tmp_path, {"b": name}, name) for name in ("side one", "side two")}
    git(tmp_path, "checkout", "--quiet", "main")
    shas["second"] = repository.commit(tmp_path, {"a": "2"}, "second")
    git(tmp_path, "merge", "--quiet", "--no-ff", "-m", "merge", "side")
    shas["merge"] = git(tmp_path, "rev-parse", "HEAD")
    shas["last"] = repository.commit(tmp_path, {"a": "3"}, "last: é\x1f: it | has")
    return shas


def test_a_path_follows_first_parents_and_holds_both_ends(tmp_path: Path, merged: dict[str, str]) -> None:
    path = history.path(tmp_path, merged["first"], merged["last"])
    assert [commit.sha for commit in path] == [merged[name] for name in ("first", "second", "merge", "last")]
    assert path[1].subject == "second"
    assert path[2].parents == (merged["second"], merged["side two"])
    assert path[3].date[:2] == "20"
    assert path[3].short == merged["last"][:7]


def test_a_merge_has_the_branch_that_it_brought(tmp_path: Path, merged: dict[str, str]) -> None:
    before, merge = (history.read_commit(tmp_path, merged[name]) for name in ("second", "merge"))
    [branch] = history.branches(tmp_path, before, merge)
    assert [commit.subject for commit in branch] == ["first", "side one", "side two"]
    assert history.branches(tmp_path, merge, history.read_commit(tmp_path, merged["last"])) == []


def test_a_good_commit_on_the_branch_makes_the_merge_the_first_step(tmp_path: Path, merged: dict[str, str]) -> None:
    path = history.path(tmp_path, merged["side one"], merged["last"])
    assert [commit.subject.partition(":")[0] for commit in path] == ["side one", "merge", "last"]
    [branch] = history.branches(tmp_path, path[0], path[1])[:1]
    assert [commit.subject for commit in branch][-1] in ("second", "side two")


def test_ends_that_are_not_in_order_are_refused(tmp_path: Path, merged: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"is not an ancestor of bad .*; their last common commit is"):
        history.path(tmp_path, merged["last"], merged["first"])
    with pytest.raises(UserError, match="are the same commit"):
        history.path(tmp_path, merged["last"], merged["last"])
    git(tmp_path, "checkout", "--quiet", "--orphan", "other")
    alone = repository.commit(tmp_path, {"c": "1"}, "alone")
    with pytest.raises(UserError, match="they have no common commit"):
        history.path(tmp_path, alone, merged["last"])


def test_commits_that_change_only_documentation_are_left_out(tmp_path: Path) -> None:
    files = (
        {"a.py": "1"},
        {"README.md": "1"},
        {"docs/conf.json": "1", "bench.toml": "1"},
        {"a.py": "2"},
        {"data.bin": "1"},
    )
    shas = [repository.commit(tmp_path, each) for each in (*files, {"README.md": "2"}, {"README.md": "3"})]
    path = history.path(tmp_path, shas[0], shas[-1])
    kept = history.without_documents(tmp_path, path, Path("bench.toml"))
    assert [commit.sha for commit in kept] == [shas[0], shas[3], shas[4], shas[6]]
