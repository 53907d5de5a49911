import os
import socket
from pathlib import Path

import pytest

from rnnbench.store.regular_files import open_regular, read_bytes, read_text


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("é\n")
    (tmp_path / "link").symlink_to("file")
    assert read_text(tmp_path / "file") == read_text(tmp_path / "link") == "é\n"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path, words in {
            tmp_path / "pipe": "a pipe",
            tmp_path: "a folder",
            Path("/dev/zero"): "a device",
            tmp_path / "socket": "No such device",  # the kernel itself refuses to open a socket
        }.items():
            with pytest.raises(OSError, match=words):
                open_regular(path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert read_bytes(tmp_path / "file", max_bytes=4) == b"1234"
    with pytest.raises(OSError, match="larger than"):
        read_bytes(tmp_path / "file", max_bytes=3)
