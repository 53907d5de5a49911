"""Which imported files do not belong to the tree under test, on real folders and repositories."""

from pathlib import Path

import pytest

from rnnbench.harness.check.foreign import Foreign, Tree, foreign, read_tree
from tests.doubles import repository

PACKAGE = {"python/mypkg/__init__.py": "", "python/mypkg/cell.py": "cell", "python/mypkg/ops/fast.py": "fast"}


def tree(folder: Path, files: dict[str, str] | None = None) -> Tree:
    """A repository that holds these files."""
    repository.commit(folder, PACKAGE if files is None else files)
    return read_tree(folder)


@pytest.fixture
def base(tmp_path: Path) -> Tree:
    return tree(tmp_path / "base")


@pytest.fixture
def head(tmp_path: Path) -> Tree:
    return tree(tmp_path / "head")


def named(modules: list[Foreign]) -> dict[str, str]:
    return {module.module: module.own for module in modules}


def test_modules_of_the_other_side_are_foreign(base: Tree, head: Tree) -> None:
    imported = {"mypkg": head.root / "python/mypkg/__init__.py", "mypkg.cell": head.root / "python/mypkg/cell.py"}
    assert foreign(imported, head, base) == []
    modules = foreign(imported, base, head)
    assert named(modules) == {"mypkg": "python/mypkg/__init__.py", "mypkg.cell": "python/mypkg/cell.py"}
    assert {module.folder for module in modules} == {"python"}


def test_one_module_of_the_other_side_among_others_is_enough(base: Tree, head: Tree) -> None:
    imported = {
        "mypkg": base.root / "python/mypkg/__init__.py",
        "mypkg.cell": head.root / "python/mypkg/cell.py",
        "numpy": Path("/usr/lib/python3/site-packages/numpy/__init__.py"),
    }
    assert named(foreign(imported, base, head)) == {"mypkg.cell": "python/mypkg/cell.py"}


@pytest.mark.parametrize("place", ["venv/lib/python3.11/site-packages", "clone/python"])
def test_a_copy_of_the_trees_package_is_foreign_wherever_it_lies(tmp_path: Path, head: Tree, place: str) -> None:
    copy = tmp_path / place / "mypkg"
    imported = {"mypkg": copy / "__init__.py", "mypkg.cell": copy / "cell.py", "mypkg.ops.fast": copy / "ops/fast.py"}
    assert len(foreign(imported, head, None)) == 3


def test_a_copy_in_an_environment_within_the_tree_is_foreign_too(head: Tree) -> None:
    file = head.root / ".venv/lib/python3.11/site-packages/mypkg/cell.py"
    assert named(foreign({"mypkg.cell": file}, head, None)) == {"mypkg.cell": "python/mypkg/cell.py"}


def test_a_namespace_package_and_a_compiled_module_are_known_by_their_names(tmp_path: Path) -> None:
    own = tree(tmp_path / "own", {"lib/space/part.py": "", "lib/space/fast.pyx": "", "lib/space/slow.py": ""})
    imported = {
        "space.part": tmp_path / "elsewhere/space/part.py",
        "space.fast": tmp_path / "elsewhere/space/fast.cpython-311-x86_64-linux-gnu.so",
        "space.slow": tmp_path / "elsewhere/space/slow.cpython-311-x86_64-linux-gnu.so",
    }
    assert named(foreign(imported, own, None)) == {
        "space.part": "lib/space/part.py",
        "space.fast": "lib/space/fast.pyx",
        "space.slow": "lib/space/slow.py",
    }


def test_a_cells_file_that_is_named_by_its_absolute_path_is_foreign_on_the_other_side(base: Tree, head: Tree) -> None:
    imported = {"rnnbench_user_cell_0": head.root / "python/mypkg/cell.py"}
    assert named(foreign(imported, base, head)) == {"rnnbench_user_cell_0": "python/mypkg/cell.py"}
    assert foreign(imported, head, base) == []


def test_a_lone_module_is_foreign_if_its_folder_or_its_content_says_that_it_is_meant(tmp_path: Path) -> None:
    own = tree(tmp_path / "own", {"python/utils.py": "content"})
    for place, content, count in (
        ("site-packages", "other", 0),
        ("site-packages", "content", 1),
        ("python", "older", 1),
    ):
        copy = tmp_path / place / "utils.py"
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(content)
        assert len(foreign({"utils": copy}, own, None)) == count


def test_other_projects_of_a_known_name_raise_no_alarm(tmp_path: Path) -> None:
    installed = tmp_path / "venv/lib/python3.11/site-packages"
    files = [
        "mypkg/__init__.py",
        "mypkg/utils.py",  # mypkg.utils, not utils
        "tests/utils.py",
        "docs/numpy/__init__.py",
        "third_party/yaml/__init__.py",
        "build/lib/six.py",
        ".cache/attr/__init__.py",
        "env/pyvenv.cfg",
    ]
    own = tree(tmp_path / "own", dict.fromkeys(files, ""))
    imported = {
        "utils": installed / "utils/__init__.py",
        "utils.more": installed / "utils/more.py",
        "numpy": installed / "numpy/__init__.py",
        "numpy.linalg": installed / "numpy/linalg/__init__.py",
        "numpy.fft": installed / "numpy/fft/__init__.py",
        "yaml": installed / "yaml/__init__.py",
        "six": installed / "six.py",
        "attr": installed / "attr/__init__.py",
        "torchinfo": installed / "torchinfo/__init__.py",
        "zipped": tmp_path / "archive.zip/zipped.py",
    }
    assert foreign(imported, own, None) == []


def test_two_projects_in_one_repository_are_both_its_own(tmp_path: Path) -> None:
    files = {"a/one/__init__.py": "", "a/tests/__init__.py": "", "b/two/__init__.py": "", "b/tests/__init__.py": ""}
    projects = tree(tmp_path / "both", files)
    imported = {"one": projects.root / "a/one/__init__.py", "tests": projects.root / "b/tests/__init__.py"}
    assert foreign(imported, projects, None) == []


def test_a_base_within_the_heads_folder_is_not_the_heads(tmp_path: Path) -> None:
    head = tree(tmp_path / "head", PACKAGE | {"old/python/mypkg/cell.py": "older"})
    base = Tree(head.root / "old", frozenset({"python/mypkg/cell.py"}))
    file = head.root / "old/python/mypkg/cell.py"
    assert foreign({"mypkg.cell": file}, base, head) == []
    assert len(foreign({"mypkg.cell": file}, head, base)) == 1
    assert len(foreign({"mypkg.cell": head.root / "python/mypkg/cell.py"}, base, head)) == 1


def test_a_repository_has_its_tracked_files_and_those_of_its_submodules(tmp_path: Path) -> None:
    repository.commit(tmp_path / "lib", {"code.py": ""})
    repository.commit(tmp_path / "there", {"mine.py": ""})
    repository.add_submodule(tmp_path / "there", tmp_path / "lib", "libs/lib")
    (tmp_path / "there" / "left_around.py").write_text("")
    assert read_tree(tmp_path / "there").files >= {"mine.py", "libs/lib/code.py"}
    assert "left_around.py" not in read_tree(tmp_path / "there").files


def test_where_git_refuses_to_tell_what_it_tracks_all_files_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(tmp_path / "there", {"mine.py": ""})
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert read_tree(tmp_path / "there").files == {"mine.py"}


def test_another_folder_has_its_files_but_for_hidden_ones_and_environments(tmp_path: Path) -> None:
    for name in ("a/mine.py", ".hidden/x.py", "venv/pyvenv.cfg", "venv/x.py", "a/__pycache__/mine.pyc", "build/y.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert read_tree(tmp_path).files == {"a/mine.py"}
