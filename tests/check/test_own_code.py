"""Checks that would measure other code than they name."""

import sys
from pathlib import Path

import pytest

from rnnbench.check.own_code import _strays, refuse_equal, refuse_foreign
from rnnbench.check.same_code import changed_files
from rnnbench.check.sides import Side, sides
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from rnnbench.suite import suites
from tests.doubles import repository

SUITE = 'name = "mine"\n[[sweep]]\ncell = "mypkg.cell:Mine"\nreference = "rnn"\n'
FILES = {"bench/mine.toml": SUITE, "python/mypkg/__init__.py": "", "python/mypkg/cell.py": "note = 'old'"}


@pytest.fixture
def repo(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        repository.commit(folder, FILES)
        repository.commit(folder, {"python/mypkg/cell.py": "note = 'new'"})

    return repository.copied(tmp_path_factory, "own-code", make, tmp_path / "there")


def sides_of(folder: Path, base: str | None = "HEAD~1", base_python: str | None = None):
    return sides(suites.read_suite(str(folder / "bench" / "mine.toml")), base, base_python)


def side_of(tree: Path) -> Side:
    return Side("base", "", suites.read_suite("quick"), tree=tree)


ELSEWHERE = "/venv/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("modules", "strays"),
    [
        ({"mypkg": "{other}/python/mypkg/__init__.py", "mypkg.cell": "{own}/python/mypkg/cell.py"}, ["mypkg"]),
        ({"mypkg.cell": f"{ELSEWHERE}/mypkg/cell.py"}, ["mypkg.cell"]),  # an installed copy
        ({"mypkg.cell": "{own}/.venv/lib/python3.11/site-packages/mypkg/cell.py"}, ["mypkg.cell"]),
        ({"space.fast": f"{ELSEWHERE}/space/fast.cpython-311-x86_64-linux-gnu.so"}, ["space.fast"]),
        ({"rnnbench_user_cell_0": "{other}/python/mypkg/cell.py"}, ["rnnbench_user_cell_0"]),  # by an absolute path
        ({"mypkg.cell": "{own}/python/mypkg/cell.py"}, []),
        ({"random": "/usr/lib/python3.11/random.py"}, []),  # Python's own, though the tree has scripts/random.py
        ({"utils": f"{ELSEWHERE}/utils/__init__.py"}, []),  # a package, and the tree has a module
        ({"six": f"{ELSEWHERE}/six.py", "attr": f"{ELSEWHERE}/attr/__init__.py"}, []),  # vendored and hidden copies
        ({f"torch{end}": f"{ELSEWHERE}/torch/__init__.py" for end in ("", ".nn", ".fx")}, []),  # the tree has one of 3
        ({"mypkg.other": f"{ELSEWHERE}/mypkg/other.py", "zipped": "/archive.zip/zipped.py"}, []),
    ],
)
def test_a_module_is_a_stray_if_the_tree_has_one_of_its_name_and_not_its_file(
    tmp_path: Path, modules: dict[str, str], strays: list[str]
) -> None:
    files = (
        *("python/mypkg/__init__.py", "python/mypkg/cell.py", "lib/space/fast.pyx", "scripts/random.py"),
        *("tests/utils.py", "tests/torch/__init__.py", "third_party/six.py", ".cache/attr/__init__.py"),
    )
    for name in ("own", "other"):
        repository.commit(tmp_path / name, dict.fromkeys(files, ""))
    own, other = (side_of(tmp_path / name) for name in ("own", "other"))
    imported = {name: Path(file.format(own=own.tree, other=other.tree)) for name, file in modules.items()}
    assert [name for name, _, _ in _strays(imported, own, other)] == strays


def test_a_base_within_the_heads_folder_is_not_the_heads(tmp_path: Path) -> None:
    for place in ("head", "head/old"):
        (tmp_path / place / "mypkg").mkdir(parents=True)
        (tmp_path / place / "mypkg" / "cell.py").write_text("")
    head, base = side_of(tmp_path / "head"), side_of(tmp_path / "head" / "old")
    file = tmp_path / "head" / "old" / "mypkg" / "cell.py"
    assert list(_strays({"mypkg.cell": file}, base, head)) == []
    assert len(list(_strays({"mypkg.cell": file}, head, base))) == 1
    assert len(list(_strays({"mypkg.cell": tmp_path / "head" / "mypkg" / "cell.py"}, base, head))) == 1


def test_a_tree_has_its_tracked_files_with_those_of_submodules_or_all_but_hidden_ones_environments_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(tmp_path / "lib", {"code.py": ""})
    repository.commit(tmp_path / "there", {"mine.py": ""})
    repository.add_submodule(tmp_path / "there", tmp_path / "lib", "libs/lib")
    (tmp_path / "there" / "left_around.py").write_text("")
    files = side_of(tmp_path / "there").files
    assert files >= {"mine.py", "libs/lib/code.py"}
    assert "left_around.py" not in files
    left_out = (".hidden/x.py", "venv/pyvenv.cfg", "venv/x.py", "a/__pycache__/m.pyc", "build/y.py")
    measured = ("results/quick-1/run.json", "results/ci-check-1/base/run.json", "results/ci-check-1/head/run.json")
    for name in ("a/mine.py", *left_out, *measured, "results/ci-check-1/verdicts.json"):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text("")
    assert side_of(tmp_path / "folder").files == {"a/mine.py"}
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git refuses to tell
    assert "left_around.py" in side_of(tmp_path / "there").files


def test_a_stray_module_is_told_with_the_source_to_add(repo: Path) -> None:
    own = str(repo / "python/mypkg/cell.py")
    many = {"mypkg": f"{repo}/python/mypkg/__init__.py", "mypkg.cell": own}
    with sides_of(repo) as (base, head):
        for modules, first, last in (
            (many, "mypkg was imported from", "rnnbench check --source python/"),
            ({"rnnbench_user_cell_0": own}, "a file of a cell was imported from", "its path relative to the suite"),
        ):
            with pytest.raises(UserError) as refused:
                refuse_foreign(base, head, {"base": modules, "head": modules}, {})
            lines = str(refused.value).splitlines()
            assert lines[0].startswith(f"base {base.about}: {first}")
            assert lines[-1].endswith(last)
        assert lines[0].endswith(f"{own}, though the base has its own: HEAD~1:python/mypkg/cell.py")


def test_a_tracked_file_of_the_head_that_the_base_opens_stops_the_check(repo: Path) -> None:
    repository.commit(repo, {"bench/cfg.json": "1"})
    (repo / "bench" / "data.bin").write_text("the same on both sides")
    (repo / "link").symlink_to(repo / "bench" / "cfg.json")
    with sides_of(repo) as (base, head):
        none: dict[str, dict[str, str]] = {"base": {}, "head": {}}
        own = [f"{base.tree}/bench/cfg.json", str(repo / "bench" / "data.bin"), "/etc/hosts"]
        refuse_foreign(base, head, none, {"base": own, "head": [str(repo / "bench" / "cfg.json")]})
        for name in ("bench/cfg.json", "link"):
            with pytest.raises(
                UserError, match=r"^base HEAD~1 .*there/bench/cfg\.json of the head was opened\. Both sides"
            ):
                refuse_foreign(base, head, none, {"base": [str(repo / name)], "head": []})


def test_two_interpreters_with_the_same_files_are_fine_and_one_with_a_copy_is_not(repo: Path, tmp_path: Path) -> None:
    other = repository.executable(tmp_path / "python", f'exec "{sys.executable}" "$@"')
    own = {"mypkg.cell": str(repo / "python/mypkg/cell.py")}
    copy = {"mypkg.cell": str(tmp_path / "env/lib/site-packages/mypkg/cell.py")}
    with sides_of(repo, "HEAD", str(other)) as both:
        assert changed_files(*both) is None  # more than files may differ
    with sides_of(repo, None, str(other)) as (base, head):
        refuse_foreign(base, head, {"base": own, "head": own}, {})
        refuse_equal(base, head, {"base": copy, "head": copy})
        with pytest.raises(UserError, match=r"base the same files, .*: mypkg\.cell was imported from"):
            refuse_foreign(base, head, {"base": copy, "head": own}, {})


def test_rnnbench_itself_is_whoever_measures_unless_the_repository_holds_it(repo: Path) -> None:
    running = {"rnnbench.cells.gru": str(PACKAGE_PARENT / "rnnbench" / "cells" / "gru.py")}
    vendored = {"tools/rnnbench/rnnbench/__init__.py": "", "tools/rnnbench/rnnbench/cells/gru.py": ""}
    repository.commit(repo, vendored)
    with sides_of(repo, "HEAD") as (base, head):
        refuse_foreign(base, head, {"base": running, "head": running}, {})
    files = dict.fromkeys(["rnnbench/__init__.py", "rnnbench/harness/worker/loop.py", "rnnbench/cells/gru.py"], "")
    repository.commit(repo, files)
    with sides_of(repo, "HEAD") as (base, head):
        with pytest.raises(UserError, match=r"rnnbench\.cells\.gru was imported from"):
            refuse_foreign(base, head, {"base": running, "head": running}, {})
        own = {
            side.name: {"rnnbench.cells.gru": str((side.tree or repo) / "rnnbench/cells/gru.py")}
            for side in (base, head)
        }
        refuse_foreign(base, head, own, {})
        refuse_equal(base, head, own)


def test_where_neither_side_imports_a_file_of_its_own_nothing_differs(repo: Path) -> None:
    elsewhere = {"other": "/usr/lib/other.py", "rnnbench.cells.gru": "/usr/lib/rnnbench/cells/gru.py"}
    with sides_of(repo) as (base, head):
        with pytest.raises(UserError, match=r"nothing differs between base .* no case imported a file from"):
            refuse_equal(base, head, {"base": elsewhere, "head": elsewhere})
        refuse_equal(base, head, {"base": {}, "head": elsewhere})  # an older rnnbench does not report its imports
        moved = {"mypkg.cell": str(head.root.parent / "python" / "mypkg" / "cell.py")}
        refuse_equal(base, head, {"base": elsewhere, "head": moved})
