from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.report.page.files import replace, write


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    replace(tmp_path / "new" / "a.json", b"1", tmp_path)
    write(tmp_path / "new", {"a.json": b"2", "deeper/b.json": b"3"})
    assert (tmp_path / "new" / "a.json").read_bytes() == b"2"
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == ["a.json", "b.json"]


@pytest.mark.parametrize("place", ["file/below", "folder"])
def test_what_cannot_be_written_is_the_users_error_and_leaves_nothing(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=f"{place}: can't be written: "):
        replace(tmp_path / place, b"1", tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before
