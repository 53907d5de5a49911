"""Small files of the system, as tests write them."""

from pathlib import Path

from rnnbench.harness.machine.system_files import file_text


def test_what_can_not_be_read_is_empty_and_any_byte_is_text(tmp_path: Path) -> None:
    file = tmp_path / "name"
    assert file_text(file) == ""
    assert file_text(tmp_path) == ""
    file.write_bytes("/häuser\n".encode())
    assert file_text(file) == "/häuser"
    file.write_bytes(b"\xff 3\n")
    assert file_text(file) == "\N{REPLACEMENT CHARACTER} 3"
