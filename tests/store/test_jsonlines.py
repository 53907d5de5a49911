import json
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import UserError
from rnnbench.store import jsonlines

records = st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=4), max_size=6)


def write(path: Path, lines: list[dict[str, object]]) -> None:
    appender = jsonlines.Appender(path)
    for line in lines:
        appender.append(line)
    appender.close()


@given(records)
def test_lines_come_back_as_they_were(tmp_path_factory, lines) -> None:
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    write(path, lines)
    assert (list(jsonlines.read(path)) if path.exists() else []) == lines


@given(records.filter(bool), st.data())
def test_a_file_cut_anywhere_keeps_every_whole_line_and_goes_on_after_them(tmp_path_factory, lines, data) -> None:
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    write(path, lines)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    assert list(jsonlines.read(path)) == lines[:whole]
    write(path, [{"next": 1}])
    assert list(jsonlines.read(path)) == [*lines[:whole], {"next": 1}]


@pytest.mark.parametrize(
    ("line", "words"), [(b"{oops}\n", "line 2: not JSON"), (b"[1, 2]\n", "line 2: want an object")]
)
def test_a_whole_line_that_is_no_record_is_an_error_with_its_place(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line)
    with pytest.raises(UserError, match=words):
        list(jsonlines.read(path))


def test_a_line_is_in_the_file_as_soon_as_it_is_added(tmp_path: Path) -> None:
    appender = jsonlines.Appender(tmp_path / "file.jsonl")
    appender.append({"a": 1})
    assert json.loads((tmp_path / "file.jsonl").read_bytes()) == {"a": 1}
    appender.close()


def test_no_file_is_made_before_the_first_line(tmp_path: Path) -> None:
    jsonlines.Appender(tmp_path / "file.jsonl").close()
    assert not (tmp_path / "file.jsonl").exists()


def test_a_disk_that_takes_a_part_of_a_line_keeps_none_of_it_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    appender = jsonlines.Appender(file)
    appender.append({"whole": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 5, hard))  # as a full disk: five bytes have room
    try:
        with pytest.raises(OSError, match="File too large"):
            appender.append({"torn": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    appender.append({"whole": 3})  # there is room again
    appender.close()
    assert list(jsonlines.read(file)) == [{"whole": 1}, {"whole": 3}]


def test_json_that_is_nested_without_end_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(UserError, match="line 1: not JSON: "):
        list(jsonlines.read(tmp_path / "lines.jsonl"))
