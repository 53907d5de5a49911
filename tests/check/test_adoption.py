"""Histories from before a suite was adopted, and bases that the head has mended, on real repositories and folders."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from rnnbench.check.adoption import lend, lent_files, mended_file
from rnnbench.check.sides import Project, sides
from rnnbench.suite import suites
from tests.doubles import repository
from tests.doubles.commands import MINE, cells, rnnbench

PACKAGE = "from mypkg.inner import Mine\n"
INNER = cells()
SUITE = MINE.replace('["mine.py:Mine", "mine.py:Other"]', '["bench_cells.py:Mine"]')
BENCH_CELLS = "from mypkg import Mine\n"
BUDGET = ("--budget", "1s")


@pytest.fixture
def adopted(tmp_path: Path) -> Path:
    """A package with two commits, and a third that adopts rnnbench."""
    folder = tmp_path / "there"
    repository.commit(folder, {"mypkg/__init__.py": PACKAGE, "mypkg/inner.py": INNER})
    repository.commit(folder, {"README.md": "more"})
    repository.commit(folder, {"bench.toml": SUITE, "bench_cells.py": BENCH_CELLS})
    return folder


def test_a_commit_without_the_suite_is_lent_it_and_the_files_of_its_cells(adopted: Path) -> None:
    suite = suites.read_suite(str(adopted / "bench.toml"))
    with sides(suite, "HEAD~2", None) as (base, _):
        assert base.lent == ("bench.toml", "bench_cells.py")
        assert base.about.endswith(", with the head's bench.toml and bench_cells.py")
        assert (base.root / "bench_cells.py").read_text() == BENCH_CELLS
    with ExitStack() as stack:
        side = Project(stack, suite).at_commit(repository.git(adopted, "rev-parse", "HEAD~2"), "base")
        assert side.lent == ("bench.toml", "bench_cells.py")


def test_a_file_that_is_there_is_not_replaced(adopted: Path) -> None:
    repository.commit(adopted, {"bench_cells.py": f"{BENCH_CELLS}# newer\n"})
    with sides(suites.read_suite(str(adopted / "bench.toml")), "HEAD~1", None) as (base, _):
        assert base.lent == ()
        assert (base.root / "bench_cells.py").read_text() == BENCH_CELLS


def test_files_outside_of_the_repository_are_not_lent(adopted: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(INNER)
    (adopted / "bench.toml").write_text(SUITE.replace("bench_cells.py", "../outside.py"))
    suite = suites.read_suite(str(adopted / "bench.toml"))
    assert lent_files(suite, adopted, Path("bench.toml")) == [Path("bench.toml")]


def test_a_link_in_a_tree_is_not_followed_when_a_file_is_lent(tmp_path: Path) -> None:
    for name in ("repository", "tree"):
        (tmp_path / name).mkdir()
    (tmp_path / "repository" / "a.py").write_text("1")
    (tmp_path / "tree" / "a.py").symlink_to(tmp_path / "elsewhere.py")
    assert lend([Path("a.py")], tmp_path / "repository", tmp_path / "tree") == ()
    assert not (tmp_path / "elsewhere.py").exists()


@pytest.mark.parametrize(
    ("fault", "file"),
    [
        ({"arose_in": ["/tree/mypkg/inner.py"]}, "mypkg/inner.py"),
        ({"arose_in": ["/tree/mypkg/other.py"]}, ""),  # which the head did not change
        ({"arose_in": ["/elsewhere/mypkg/inner.py"]}, ""),
        ({"arose_in": ["/tree/mypkg/other.py"], "lacks": ["mypkg.inner"]}, "mypkg/inner.py"),
        ({"arose_in": [], "lacks": ["h5py"]}, ""),  # an environment that lacks a package
        ({"arose_in": [], "lacks": ["mypkg"]}, "mypkg/inner.py"),
        ({}, ""),
    ],
)
def test_a_fault_is_mended_if_it_arises_in_a_file_that_the_head_changed(fault: dict[str, list[str]], file: str) -> None:
    assert mended_file(fault, ["mypkg/inner.py", "README.md"], Path("/tree")) == file


def test_a_history_can_be_checked_and_searched_from_before_the_suite_was_there(adopted: Path) -> None:
    done = rnnbench("check", "bench.toml", "--base", "HEAD~2", "--json", *BUDGET, cwd=adopted, code=0)
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == ["unchanged"]
    done = rnnbench("bisect", "bench.toml", "--good", "HEAD~2", "--budget", "60s", cwd=adopted, code=2)
    assert "is not slower than good" in done.stderr


def test_an_old_commit_is_checked_with_files_that_git_does_not_track_there(adopted: Path) -> None:
    texts = {name: (adopted / name).read_text() for name in ("bench.toml", "bench_cells.py")}
    repository.git(adopted, "checkout", "--quiet", "HEAD~1")
    for name, text in texts.items():
        (adopted / name).write_text(text)
    done = rnnbench("check", "bench.toml", "--base", "HEAD~1", "--json", *BUDGET, cwd=adopted, code=0)
    assert [json.loads(line)["decided_by"] for line in done.stdout.splitlines()] == ["code"]


def test_a_suite_of_which_the_base_has_nothing_is_new(tmp_path: Path) -> None:
    repository.commit(tmp_path, {"README.md": ""})
    repository.commit(tmp_path, {"mypkg/__init__.py": PACKAGE, "mypkg/inner.py": INNER})
    repository.commit(tmp_path, {"bench.toml": SUITE, "bench_cells.py": BENCH_CELLS})
    for options, code in (([], 0), (["--on-undecided", "fail"], 3)):
        done = rnnbench("check", "bench.toml", "--base", "HEAD~2", *options, *BUDGET, cwd=tmp_path, code=code)
        assert "the suite is new, so there is nothing to compare" in done.stderr


@pytest.mark.parametrize("more", [(), ("--all",)])
def test_a_base_that_was_lent_suite_and_cell_has_nothing_to_compare(tmp_path: Path, more: tuple[str, ...]) -> None:
    repository.commit(tmp_path, {"README.md": ""})
    repository.commit(tmp_path, {"bench.toml": SUITE, "bench_cells.py": cells()})
    done = rnnbench("check", "bench.toml", "--base", "HEAD~1", *more, *BUDGET, cwd=tmp_path, code=0)
    assert "the suite is new, so there is nothing to compare: only in the head" in done.stderr


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"mypkg/inner.py": "import nothing_of_this_name\n"}, 0),
        ({"mypkg/inner.py": "class Mine(:\n"}, 0),
        ({"mypkg/__init__.py": "from mypkg.gone import Mine\n"}, 0),
        ({"mypkg/inner.py": "Other = 3\n"}, 0),
    ],
)
def test_a_base_that_the_head_repairs_is_no_error(adopted: Path, broken: dict[str, str], code: int) -> None:
    repository.commit(adopted, broken)
    repository.commit(adopted, {"mypkg/__init__.py": PACKAGE, "mypkg/inner.py": INNER})
    done = rnnbench("check", "bench.toml", "--base", "HEAD~1", "--json", *BUDGET, cwd=adopted, code=code)
    [line] = map(json.loads, done.stdout.splitlines())
    assert line["verdict"] == "improved"
    assert f"the head has changed {next(iter(broken))} and works" in line["reason"]


def test_a_base_that_is_broken_for_another_reason_is_an_error(adopted: Path) -> None:
    """A built module that git does not track is missing in the base's worktree, and the head changed another file."""
    repository.commit(adopted, {"mypkg/inner.py": f"import mypkg.built\n{INNER}", ".gitignore": "built.py\n"})
    (adopted / "mypkg" / "built.py").write_text("")
    repository.commit(adopted, {"mypkg/unused.py": "1\n"})
    done = rnnbench("check", "bench.toml", "--base", "HEAD~1", "--json", *BUDGET, cwd=adopted, code=2)
    assert json.loads(done.stdout)["verdict"] == "incomparable"
