"""Where a report goes: beside the reports of other runs, and never over files that rnnbench did not write."""

from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.report.page.page import MARKER, PAGE, name_of, put

OF_OTHERS = {PAGE: "<h1>mine</h1>", "notes.txt": "mine", ".git/HEAD": "ref", "figures/ratio.svg": "<svg/>"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(path: str) -> Path:
    Path(path).mkdir(parents=True)
    (Path(path) / "run.json").write_text("{}")
    return Path(path)


def reported(*paths: Path, out: Path | None = None) -> str:
    """Write a report whose page holds the paths of its runs, and return the folder of the report."""
    names = "-and-".join(map(name_of, paths))
    page = put(names, paths, out, lambda: {PAGE: str(paths).encode()})
    assert page.read_text() == str(paths)
    assert str(paths[0].resolve().parent) not in (page.parent / MARKER).read_text()  # it tells nothing of the machine
    return str(page.parent)


def test_two_runs_of_one_name_get_two_folders_and_each_is_found_again() -> None:
    runs = [run(f"{parent}/base") for parent in ("A", "B", "deeper/B", "elsewhere/B")]
    folders = [reported(path) for path in runs]
    assert folders[:2] == ["reports/base", "reports/B-base"]
    assert len(set(folders)) == 4
    assert [reported(path) for path in runs[::-1]] == folders[::-1]
    assert reported(*runs[:2]) == "reports/base-and-base"
    assert reported(*runs[1::-1]) != "reports/base-and-base"


def test_the_sides_of_a_check_are_named_after_it_and_a_file_by_its_stem() -> None:
    assert reported(run("results/quick-check-1/base")) == "reports/base"  # no check yet: it has one side
    sides = [run("results/quick-check-2/base"), run("results/quick-check-2/head")]
    assert [reported(side) for side in sides] == ["reports/quick-check-2-base", "reports/quick-check-2-head"]
    Path("saved.json").write_text("{}")
    assert reported(Path("saved.json")) == "reports/saved"


@pytest.mark.parametrize("name", OF_OTHERS)
@pytest.mark.parametrize("out", [None, Path("reports/base"), Path("site")])
def test_a_folder_that_rnnbench_did_not_make_is_refused_and_stays_as_it_is(name: str, out: Path | None) -> None:
    file = (out or Path("reports/base")) / name
    file.parent.mkdir(parents=True)
    file.write_text(OF_OTHERS[name])
    with pytest.raises(UserError, match="is not empty and was not made by rnnbench; give a new or an empty folder"):
        reported(run("A/base"), out=out)
    assert [path for path in Path().rglob("*") if path.is_file() and "A" not in path.parts] == [file]
    assert file.read_text() == OF_OTHERS[name]


@pytest.mark.parametrize("kind", ["missing", "empty", "of the same run", "of another run"])
def test_a_folder_that_was_asked_for_is_taken_if_it_is_free_or_a_report(kind: str) -> None:
    out, path = Path("site"), run("A/base")
    if kind == "empty":
        out.mkdir()
    if kind.startswith("of"):
        reported(path if kind == "of the same run" else run("B/base"), out=out)
    assert reported(path, out=out) == "site"
