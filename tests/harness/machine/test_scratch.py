import tempfile
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.machine.scratch import scratch


def test_a_folder_is_there_and_gone_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch("trial") as folder:
        (folder / "file").write_text("x")
        assert folder.parent == tmp_path
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no temporary folder can be made: .*; set TMPDIR to a folder that has room"):
        scratch("trial").__enter__()
