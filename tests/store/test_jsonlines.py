import json
import re
import resource
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
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
    ("line", "words"), [(b"{oops}\n", "line 2: not JSON"), (b"[1, 2]\n", "line 2: expected an object")]
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
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 5, hard))  # a full disk but for five bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            appender.append({"torn": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    appender.append({"whole": 3})  # now there is room again
    appender.close()
    assert list(jsonlines.read(file)) == [{"whole": 1}, {"whole": 3}]


def test_json_that_is_nested_without_end_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(UserError, match="line 1: not JSON: "):
        list(jsonlines.read(tmp_path / "lines.jsonl"))


SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.float64()), ("c", pa.string()), ("d", pa.list_(pa.float64()))])
ODD = (
    b'{"a":1.0}', b'{"a":1,"a":2}', b'{"b":NaN}', b'{"b":-Infinity}', b'{"b":1e999}', b'{"c":"\\u00e9"}',
    b'{"z":{"a":[1]}}',
    b'{"d":[null,1]}', b'{"d":null}', b' {"a":1} ', b"{}", b'{"a":1}\r', b'{"c":"\xc3\xa9"}', b'{"c":"a\\u0000b"}',
)  # fmt: skip
fields = st.fixed_dictionaries(
    {},
    optional={
        "a": st.integers(-(2**63), 2**63 - 1),
        "b": st.floats() | st.integers(-(2**53), 2**53),
        "c": st.text(st.characters(exclude_categories=["Cs"])) | st.none(),
        "d": st.lists(st.floats(allow_nan=False), max_size=4),
        "e": st.none() | st.booleans() | st.lists(st.integers(), max_size=2),
    },
)


def table_of(path: Path) -> list[dict[str, object]]:
    return [row for table in jsonlines.tables(path, SCHEMA) for row in table.to_pylist()]


def known(records: Iterable[dict[str, Any]]) -> str:
    """The values of records, written so that NaN equals itself."""
    return repr([[_plain(record.get(name)) for name in SCHEMA.names] for record in records])


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, float) else value


@given(st.lists(fields, max_size=5), st.lists(st.sampled_from(ODD), max_size=3), st.integers(0, 30), st.booleans())
def test_tables_hold_what_the_lines_say(tmp_path_factory, lines, odd, cut: int, is_cut: bool) -> None:
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    content = b"".join(line + b"\n" for line in [*(json.dumps(line).encode() for line in lines), *odd])
    path.write_bytes(content[: max(0, len(content) - cut)] if is_cut else content)
    rows = [pa.Table.from_pylist([line], SCHEMA).to_pylist()[0] for line in jsonlines.read(path)]
    assert known(table_of(path)) == known(rows)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{oops}", "line 3: not JSON"),
        (b"[1, 2]", "line 3: expected an object, found"),
        (b"null", "line 3: expected an object, found null"),  # Arrow's own reader crashes on it
        (b"", "line 3: not JSON"),
        (b"{} {}", "line 3: not JSON: Extra data"),
        (b'{"a":"1"}', "line 3: a: expected int64: "),
        (b'{"a":9223372036854775808}', "line 3: a: expected int64: "),
        (b'{"d":[1,"x"]}', "line 3: d: expected list<item: double>: "),
        (b'{"c":"\\ud800"}', "line 3: c: expected string: "),
    ],
)
def test_a_line_that_no_table_can_hold_is_an_error_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, words: str
) -> None:
    monkeypatch.setattr(jsonlines, "PIECE_BYTES", 8)  # one piece for each line, so that line numbers run across pieces
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n' + line + b'\n{"a": 4}\n')
    with pytest.raises(UserError, match=re.escape(f"{path}, {words}")):
        table_of(path)


def test_a_file_of_many_pieces_keeps_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonlines, "PIECE_BYTES", 100)
    path = tmp_path / "file.jsonl"
    write(path, [{"a": number} for number in range(500)])
    assert [row["a"] for row in table_of(path)] == list(range(500))
