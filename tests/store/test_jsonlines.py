import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import UserError
from rnnbench.store import jsonlines

records = st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=4), max_size=6)


@given(records)
def test_lines_come_back_as_they_were(tmp_path_factory, lines) -> None:
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    jsonlines.append(path, lines)
    assert list(jsonlines.read(path)) == lines


@given(records.filter(bool), st.data())
def test_a_file_cut_anywhere_keeps_every_whole_line_and_goes_on_after_them(tmp_path_factory, lines, data) -> None:
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    jsonlines.append(path, lines)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    assert list(jsonlines.read(path)) == lines[:whole]
    jsonlines.append(path, [{"next": 1}])
    assert list(jsonlines.read(path)) == [*lines[:whole], {"next": 1}]


@pytest.mark.parametrize(
    ("line", "words"), [(b"{oops}\n", "line 2: not JSON"), (b"[1, 2]\n", "line 2: expected an object")]
)
def test_a_whole_line_that_is_no_record_is_an_error_with_its_place(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line)
    with pytest.raises(UserError, match=words):
        list(jsonlines.read(path))


def test_a_disk_that_takes_a_part_of_a_line_keeps_none_of_it_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    jsonlines.append(file, [{"whole": 1}])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 5, hard))  # a full disk but for five bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            jsonlines.append(file, [{"torn": 2}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    jsonlines.append(file, [{"whole": 3}])  # now there is room again
    assert list(jsonlines.read(file)) == [{"whole": 1}, {"whole": 3}]


def test_json_that_is_nested_without_end_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(UserError, match="line 1: not JSON: "):
        list(jsonlines.read(tmp_path / "lines.jsonl"))
