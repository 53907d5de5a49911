from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.check.import_paths import WORKER, below, import_paths, nearest_project

PACKAGE = Path("/package")


def make(tree: Path, *files: str) -> Path:
    for file in files:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_text("")
    return tree


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "setup.cfg"])
def test_the_project_nearest_to_the_suite_comes_before_the_top(tmp_path: Path, name: str) -> None:
    tree = make(tmp_path, f"a/b/{name}", "a/b/src/m.py", "a/pyproject.toml", "src/m.py", "a/b/bench/suite.toml")
    found = import_paths(tree, tree / "a/b/bench/suite.toml", PACKAGE)
    assert found == (PACKAGE, tree / "a/b/src", tree / "a/b", tree / "src", tree)


def test_without_a_project_below_it_the_top_is_the_project(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", "pyproject.toml", "bench/suite.toml")
    assert nearest_project(tree, tree / "bench/suite.toml") == tree
    assert import_paths(tree, tree / "bench/suite.toml", PACKAGE) == (PACKAGE, tree)
    assert nearest_project(tree, make(tmp_path / "other", "pyproject.toml", "s.toml") / "s.toml") == tree
    assert import_paths(None, tree / "bench/suite.toml", PACKAGE) == (PACKAGE,)


def test_sources_come_first_and_must_be_there(tmp_path: Path) -> None:
    tree = make(tmp_path, "core/src/m.py", "bench/suite.toml")
    assert import_paths(tree, tree / "bench/suite.toml", PACKAGE, [Path("core/src")]) == (
        PACKAGE,
        tree / "core/src",
        tree,
    )
    with pytest.raises(UserError, match=r"source lib: .* has no such folder; give one that both sides have"):
        import_paths(tree, tree / "bench/suite.toml", PACKAGE, [Path("lib")])


def test_a_tree_with_rnnbench_imports_its_own_or_is_refused(tmp_path: Path) -> None:
    tree = make(tmp_path, "rnnbench/__init__.py", "suite.toml")
    with pytest.raises(UserError, match="its rnnbench is too old: it has no"):
        import_paths(tree, tree / "suite.toml", PACKAGE)
    assert import_paths(make(tree, str(WORKER)), tree / "suite.toml", PACKAGE) == (tree,)


def test_a_source_is_given_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make(tmp_path / "tree", "core/src/m.py")
    monkeypatch.chdir(tree / "core")
    assert below(tree, "src") == Path("core/src")
    for top, given, words in (
        (tree, "lib", "source lib: no such folder"),
        (tree, str(tmp_path), "source .*: it is not below .*, so the base has no such folder"),
        (None, "src", "source src: there is no repository"),
    ):
        with pytest.raises(UserError, match=words):
            below(top, given)
