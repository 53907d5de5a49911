"""What a run writes is read back, also after a line was cut off, and other content is refused in words."""

import json
import math
import resource
import signal
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import UserError
from rnnbench.store.folder import (
    RunFolder,
    last_measurements,
    parts,
    read_info,
    read_profiles,
)
from rnnbench.store.frames import read_windows
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Measurement
from rnnbench.store.run_info import SCHEMA_VERSION, Note
from rnnbench.store.stored_record import append_lines, read_lines
from tests.doubles import workload as small
from tests.doubles.stored import INFO, window
from tests.profiling.profiles import cause, profile

CASE = small.case("vanilla")


def test_what_run_json_says_comes_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quick")
    info = replace(INFO, status="finished", notes=[Note("a worker was lost"), Note("it ended", "budget")])
    folder.write_info(info)
    assert read_info(folder.path) == info
    assert folder.path.name.startswith("quick-")
    assert {file.name for file in folder.path.iterdir()} == {"measurements.jsonl", "run.json"}


def test_parts_are_written_side_by_side_and_read_as_one_run(tmp_path: Path) -> None:
    folders = {name: RunFolder(tmp_path, name) for name in ("", "p0", "p1")}
    for batch_size, name in enumerate(("p0", "p1"), 1):
        case = small.case("vanilla", batch_size=batch_size)
        folders[name].add_measurement(Measurement(case, "measured"))
        folders[name].add_window(window(case, 0, [1.0], worker=f"{name}-0000"))
        folders[name].write_info(replace(INFO, notes=[Note(name)]))
        folders[name].add_sample({"of": name})
    for name, folder in folders.items():
        with pytest.raises(UserError, match="another rnnbench is writing to this run"):
            RunFolder(tmp_path, name)
        folder.close()
    assert parts(tmp_path) == ["p0", "p1"]
    assert [measurement.case.workload.batch_size for measurement in last_measurements(tmp_path).values()] == [1, 2]
    assert [measurement.case.workload.batch_size for measurement in last_measurements(tmp_path, "p1").values()] == [2]
    assert [window.worker for window in read_windows(tmp_path, last_measurements(tmp_path))] == ["p0-0000", "p1-0000"]
    assert [window.worker for window in read_windows(tmp_path, last_measurements(tmp_path, "p1"), "p1")] == ["p1-0000"]
    assert read_info(tmp_path, "p1").notes == [Note("p1")]
    assert [next(read_lines(tmp_path / f"telemetry-{name}.jsonl"))["of"] for name in ("p0", "p1")] == ["p0", "p1"]


def test_an_out_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"link: can't be written: File exists"):
        RunFolder.create(tmp_path / "link", "quick")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: can't be written: Not a directory"):
        RunFolder.create(tmp_path / "file", "quick")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "it has no run.json"),
        ('{"suite": "quick"', "not JSON"),
        ("[]", r"expected an object, found \[\]"),
        (json.dumps({"schema_version": 99}), "schema_version is 99; this rnnbench reads 3"),
        (json.dumps(INFO.to_json() | {"schema_version": 2}), "schema_version is 2; this rnnbench reads 3"),
        (json.dumps({"schema_version": SCHEMA_VERSION}), "suite: missing"),
        (json.dumps(asdict(INFO) | {"suite": "../../x"}), "suite: Predicate .* failed, found"),
        (json.dumps(asdict(INFO) | {"notes": "a"}), "notes: expected a list, found 'a'"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_in_words(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=words) as raised:
        read_info(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_a_folder_that_was_closed_can_be_discarded_and_closes_no_file_of_others(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "test")
    folder.close()
    with (tmp_path / "other").open("w") as other:  # gets the file descriptor of the closed lock
        folder.discard()
        other.write("written")
    assert (tmp_path / "other").read_text() == "written"
    assert not folder.path.exists()


def test_half_a_character_is_replaced_in_the_file_itself(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "test")
    folder.write_info(replace(INFO, command="rnnbench run caf\udce9.toml"))
    folder.add_measurement(Measurement(CASE, "failed", "ValueError: \ud800"))
    folder.add_profile(Profile(CASE.key, "failed", "\udcff"))
    folder.add_sample({"\ud800": ["\udfff"]})
    folder.close()
    assert read_info(folder.path).command == "rnnbench run caf?.toml"
    assert last_measurements(folder.path)[CASE.key].reason == "ValueError: ?"
    assert read_profiles(folder.path)[CASE.key].reason == "?"
    assert list(read_lines(folder.path / "telemetry.jsonl")) == [{"?": ["?"]}]


def test_a_metric_that_is_no_number_is_missing_with_its_value_as_the_reason(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "test")
    kept = folder.add_measurement(
        Measurement(CASE, "measured", metrics={"parameters": math.nan, "macs": 10**400, "peak_bytes": 7})
    )
    folder.close()
    assert last_measurements(folder.path) == {CASE.key: kept}
    assert kept.metrics == {"peak_bytes": 7}
    assert kept.missing["parameters"] == "its value is no number that can be stored: nan"
    assert "macs" in kept.missing


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_profile_with_an_impossible_time_has_failed_with_the_reason(tmp_path: Path, value: float) -> None:
    folder = RunFolder.create(tmp_path, "test")
    good = profile(causes=(cause(),))
    folder.add_profile(good)
    kept = folder.add_profile(replace(good, times={**good.times, "call": (value, 1.0, 1.0)}))
    folder.close()
    assert read_profiles(folder.path) == {kept.case: kept}  # the last line of a case counts
    assert kept.reason.startswith("its profile can't be stored: times.call[0]: expected ")


def test_a_line_that_is_no_profile_is_told_with_its_place(tmp_path: Path) -> None:
    line = profile().to_json()
    del line["operators"][1]["calls"]
    append_lines(tmp_path / "profiles.jsonl", [profile().to_json(), line])
    with pytest.raises(UserError, match=r"profiles\.jsonl, line 2: operators\[1\]\.calls: missing"):
        read_profiles(tmp_path)


records = st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=4), max_size=6)


@given(records)
def test_lines_come_back_as_they_were(tmp_path_factory, lines) -> None:
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    append_lines(path, lines)
    assert list(read_lines(path)) == lines


@given(records.filter(bool), st.data())
def test_a_file_cut_anywhere_keeps_every_whole_line_and_goes_on_after_them(tmp_path_factory, lines, data) -> None:
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    append_lines(path, lines)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    assert list(read_lines(path)) == lines[:whole]
    append_lines(path, [{"next": 1}])
    assert list(read_lines(path)) == [*lines[:whole], {"next": 1}]


@pytest.mark.parametrize(
    ("line", "words"), [(b"{oops}\n", "line 2: not JSON"), (b"[1, 2]\n", "line 2: expected an object")]
)
def test_a_whole_line_that_is_no_record_is_an_error_with_its_place(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line)
    with pytest.raises(UserError, match=words):
        list(read_lines(path))


def test_a_disk_that_takes_a_part_of_a_line_keeps_none_of_it_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    append_lines(file, [{"whole": 1}])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 5, hard))  # a full disk but for five bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            append_lines(file, [{"torn": 2}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    append_lines(file, [{"whole": 3}])  # now there is room again
    assert list(read_lines(file)) == [{"whole": 1}, {"whole": 3}]


def test_json_that_is_nested_without_end_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(UserError, match="line 1: not JSON: "):
        list(read_lines(tmp_path / "lines.jsonl"))
