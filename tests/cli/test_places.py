from pathlib import Path

import pytest

from rnnbench.cli.places import place_of
from rnnbench.store.records import Case
from tests.doubles.workload import workload

SOURCE = "import torch\n\n\ndef Built():\n    pass\n\n\nclass Mine:\n    pass\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a suite and a cell in a folder, beside which there is another file."""
    root = tmp_path / "checkout"
    (root / "bench/cells").mkdir(parents=True)
    (root / "bench/mine.toml").write_text("")
    (root / "bench/cells/mine.py").write_text(SOURCE)
    for file, source in (
        ("src/mycells/__init__.py", "from mycells.gru import Mine\n"),
        ("src/mycells/gru.py", SOURCE),
        ("python/other/cell.py", SOURCE),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(source)
    (tmp_path / "outside.py").write_text(SOURCE)
    return root


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        ("cells/mine.py:Mine", ("bench/cells/mine.py", 8)),
        ("cells/mine.py:Mine(size=3)", ("bench/cells/mine.py", 8)),
        ("cells/mine.py:Built", ("bench/cells/mine.py", 4)),
        ("cells/mine.py:Imported", ("bench/cells/mine.py", 1)),
        ("../../outside.py:Mine", ("bench/mine.toml", 1)),
        ("cells/gone.py:Mine", ("bench/mine.toml", 1)),
        ("package.module:Mine", ("bench/mine.toml", 1)),
        ("gru", ("bench/mine.toml", 1)),
        ("mycells.gru:Mine", ("src/mycells/gru.py", 8)),
        ("mycells:Mine", ("src/mycells/gru.py", 8)),  # which the package takes from its module
        ("mycells:Made", ("src/mycells/__init__.py", 1)),
        ("other.cell:Mine", ("python/other/cell.py", 8)),  # by --source
    ],
)
def test_a_case_is_where_its_cell_is_or_else_in_its_suite(root: Path, cell: str, place: tuple[str, int]) -> None:
    sources = (str(root / "python"),)
    assert place_of(Case(cell, "loop", workload()), root / "bench/mine.toml", root, sources) == place


@pytest.mark.parametrize("source", [b"class (", b"\xff\xfe", b"\0", b""])
def test_a_file_that_is_no_python_has_its_first_line(root: Path, source: bytes) -> None:
    (root / "bench/cells/mine.py").write_bytes(source)
    mine = Case("cells/mine.py:Mine", "loop", workload())
    assert place_of(mine, root / "bench/mine.toml", root) == ("bench/cells/mine.py", 1)


def test_what_is_outside_the_checkout_has_no_place(root: Path) -> None:
    assert place_of(Case("gru", "loop", workload()), root / "bench/mine.toml", root / "bench/cells") is None


def test_a_cell_of_rnnbench_is_in_its_module_where_the_checkout_holds_rnnbench(root: Path) -> None:
    file = root / "rnnbench/cells/gru.py"
    file.parent.mkdir(parents=True)
    file.write_text("\nclass GRUCell:\n    pass\n")
    found = place_of(Case("gru", "loop", workload()), root / "bench/mine.toml", root)
    assert found == ("rnnbench/cells/gru.py", 2)
