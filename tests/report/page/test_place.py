"""Where a report goes: beside the reports of other runs, and never over files that rnnbench did not write."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import UserError
from rnnbench.report.page import place
from rnnbench.report.page.page import PAGE
from rnnbench.report.page.run_folder import put
from rnnbench.store.folder import RunFolder, read_info
from tests.doubles.saved_files import benchmark, write
from tests.doubles.stored import INFO

OF_OTHERS = {PAGE: "<h1>mine</h1>", "notes.txt": "mine", ".git/HEAD": "ref", "figures/ratio.svg": "<svg/>"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(path: str, **changes: Any) -> Path:
    folder = Path(path)
    folder.mkdir(parents=True)
    run_folder = RunFolder(folder)
    changes.setdefault("id", hashlib.sha256(path.encode()).hexdigest()[:8])
    run_folder.write_info(replace(INFO, **changes))
    run_folder.close()
    return folder


def reported(path: Path, out: Path | None = None) -> str:
    """Write a report whose page holds the path of its run, and return the folder of the report."""
    page = put({PAGE: str(path).encode()}, place.place(place.of_one(path), out))
    assert page.read_text() == str(path)
    return str(page.parent)


def test_two_runs_of_one_name_get_two_folders_and_each_is_found_again() -> None:
    runs = [run(f"{parent}/base") for parent in ("A", "B", "deeper/B", "elsewhere/B")]
    folders = [reported(path) for path in runs]
    assert folders[:2] == ["reports/base", "reports/B-base"]
    assert len(set(folders)) == 4
    assert [reported(path) for path in runs[::-1]] == folders[::-1]


def test_the_sides_of_a_check_are_named_after_it() -> None:
    assert reported(run("results/quick-check-1/base")) == "reports/base"  # no check yet: it has one side
    sides = [run("results/quick-check-2/base"), run("results/quick-check-2/head")]
    assert [reported(side) for side in sides] == ["reports/quick-check-2-base", "reports/quick-check-2-head"]


@pytest.mark.parametrize("name", OF_OTHERS)
@pytest.mark.parametrize("out", [None, Path("reports/base"), Path("site")])
def test_a_folder_that_rnnbench_did_not_make_is_refused_and_stays_as_it_is(name: str, out: Path | None) -> None:
    file = (out or Path("reports/base")) / name
    file.parent.mkdir(parents=True)
    file.write_text(OF_OTHERS[name])
    with pytest.raises(UserError, match="is not empty and was not made by rnnbench; give a new or an empty folder"):
        reported(run("A/base"), out)
    assert [path for path in Path().rglob("*") if path.is_file() and "A" not in path.parts] == [file]
    assert file.read_text() == OF_OTHERS[name]


@pytest.mark.parametrize("kind", ["missing", "empty", "of the same run", "of another run"])
def test_a_folder_that_was_asked_for_is_taken_if_it_is_free_or_a_report(kind: str) -> None:
    out, path = Path("site"), run("A/base")
    if kind == "empty":
        out.mkdir()
    if kind.startswith("of"):
        reported(path if kind == "of the same run" else run("B/base"), out)
    assert reported(path, out) == "site"


def test_a_run_of_an_earlier_version_is_told_from_others_by_when_and_how_it_was_made() -> None:
    commands = {"A/base": "run a", "B/base": "run b"}
    runs = [run(path, id="", command=command) for path, command in commands.items()]
    assert [reported(path) for path in runs] == ["reports/base", "reports/B-base"]


def test_files_of_pytest_benchmark_of_one_name_get_two_folders() -> None:
    files = [write(Path(folder) / "saved.json", [benchmark("test", [1.0])]) for folder in ("a", "b")]
    assert [reported(file) for file in files] == ["reports/saved", "reports/b-saved"]
    assert reported(files[0]) == "reports/saved"


def test_a_marker_tells_nothing_of_the_machine() -> None:
    saved = write(Path("saved.json"), [benchmark("test", [1.0])])
    folder = Path(reported(saved))
    assert str(saved.resolve().parent) not in (folder / place.MARKER).read_text()


def test_side_by_side_and_histories_are_reports_of_their_own() -> None:
    a, b = run("A/x"), run("B/x")
    infos = [(path, read_info(path)) for path in (a, b)]
    subjects = [
        place.of_runs(["x", "x"], infos),
        place.of_runs(["x", "x"], infos[::-1]),
        place.of_history("test", [a]),
        place.of_history("test", [b]),
        place.of_history("test", [a, b]),
    ]
    folders = []
    for subject in subjects:
        report_folder = place.place(subject, None)
        put({PAGE: b""}, report_folder)
        folders.append(report_folder.folder)
        assert place.place(subject, None).folder == report_folder.folder
    assert folders[0] == Path("reports/x-and-x")
    assert folders[2] == Path("reports/test-history")
    assert len(set(folders)) == 5


def test_a_report_that_was_cut_off_is_still_known_for_one() -> None:
    path = run("A/base")
    report_folder = place.place(place.of_one(path), None)
    report_folder.mark()
    (report_folder.folder / "figures").mkdir()
    assert reported(path) == "reports/base"
