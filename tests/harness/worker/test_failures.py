"""What a reply says of a failed import."""

from pathlib import Path

import pytest

from rnnbench.cells import CellMissing, load
from rnnbench.harness.worker.failures import failed_imports


@pytest.mark.parametrize(
    ("error", "arose", "lacks"),
    [
        ("import nothing_of_this_name", ["mine.py"], ["nothing_of_this_name"]),
        ("from os import nothing_of_this_name", ["mine.py", "os.py"], []),
        ("class Mine(:", ["mine.py"], []),
        ("1 / 0", ["mine.py"], []),
    ],
)
def test_where_a_failed_import_arose_is_told(tmp_path: Path, error: str, arose: list[str], lacks: list[str]) -> None:
    (tmp_path / "mine.py").write_text(error)
    with pytest.raises(CellMissing) as raised:
        load("mine.py:Mine", tmp_path)
    fields = failed_imports(raised.value)
    assert [Path(file).name for file in fields["arose_in"] if file != __file__] == arose
    assert fields["lacks"] == lacks
    assert fields["is_lack"] == ("import" in error)
