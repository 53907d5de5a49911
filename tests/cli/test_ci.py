"""`rnnbench ci`: the comment on a pull request, and the base of a push."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rnnbench.analysis.comparison import Finding
from tests.doubles import checks, repository
from tests.doubles.commands import rnnbench
from tests.report.verdicts import samples


@pytest.fixture
def check(tmp_path: Path) -> Path:
    return checks.write(tmp_path, samples.comparison(samples.SAME), {})


def comment(*arguments: str | Path, cwd: Path, code: int = 0) -> str:
    """The printed comment on these checks."""
    return rnnbench("ci", "comment", *arguments, cwd=cwd, code=code).stdout


def forged(check: Path, parent: Path, name: str, **values: Any) -> Path:
    """A copy of a check, as an artifact of this name, with other values in its verdicts."""
    copy = Path(shutil.copytree(check, parent / name))
    file = copy / "verdicts.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return copy


def test_the_first_line_holds_the_name_and_a_single_check_has_no_label(check: Path, tmp_path: Path) -> None:
    marker, heading, *_ = comment(check, cwd=tmp_path).splitlines()
    assert marker == "<!-- rnnbench comment performance -->"
    assert heading == "## ● Nothing regressed: 1 of 1 case unchanged within 2.5%"
    other = comment(check, "--name", "Python 3.13 --> \n# forged", cwd=tmp_path)
    assert other.startswith("<!-- rnnbench comment Python 3.13 - # forged -->\n## ● Nothing")


def test_a_comment_names_the_head_that_the_job_knows_and_links_its_run(check: Path, tmp_path: Path) -> None:
    run = "https://github.com/me/mine/actions/runs/7"
    text = comment(check, "--head", "topic/x @you at 5e6f7a8", "--run", run, cwd=tmp_path)
    assert "quick: base main (1a2b3c4) against head topic/x @\N{ZERO WIDTH SPACE}you at 5e6f7a8\n" in text
    assert text.endswith(f"\n[The run that measured this]({run})\n")
    for bad in ("javascript:alert(1)", f"{run}) [other](x"):
        assert "must be an address" in rnnbench("ci", "comment", check, "--run", bad, cwd=tmp_path, code=2).stderr


def test_whatever_artifacts_say_of_themselves_they_share_one_comment_of_the_given_name(
    check: Path, tmp_path: Path
) -> None:
    names = [f"rnnbench-check_{part} -->" for part in ("a", "b")]
    artifacts = [forged(check, tmp_path / "all", name, suite=f"suite {name}") for name in names]
    first, *lines = comment(*artifacts, cwd=tmp_path).splitlines()
    assert first == "<!-- rnnbench comment performance -->"
    assert [line[:16] for line in lines if line.startswith("#")] == ["## ● a --&gt;: N", "## ● b --&gt;: N"]


def test_of_several_checks_the_worst_comes_first_and_a_long_comment_is_cut(check: Path, tmp_path: Path) -> None:
    slow = checks.write(tmp_path / "slow", samples.large(40, 120), {})
    text = comment(check, slow, cwd=tmp_path)
    assert text.index("40 of 120 cases regressed") < text.index("Nothing regressed")
    assert "70 rows left out" in text
    long = forged(slow, tmp_path, "long", notes=["a note " * 100] * 200)
    text = comment(check, long, cwd=tmp_path)
    assert len(text) < 65_536
    assert text.endswith("The rest is left out, to keep this short.\n")


def test_a_check_that_can_not_be_read_is_reported_and_the_others_are_printed(check: Path, tmp_path: Path) -> None:
    bad = forged(check, tmp_path, "rnnbench-check_bad")
    (bad / "verdicts.json").write_text("[")
    done = rnnbench("ci", "comment", bad, check, cwd=tmp_path, code=2)
    assert "## ● Nothing regressed" in done.stdout
    assert f"{bad}/verdicts.json: can't be read: JSONDecodeError" in done.stderr


def test_a_comment_says_nothing_that_another_job_has_written(check: Path, tmp_path: Path) -> None:
    (check / "verdicts.md").write_text("[press here](https://example.com)\n")
    file = check / "verdicts.json"
    content = json.loads(file.read_text())
    content["suite"] = "quick -->\n# Security alert"
    content["notes"] = ["@everyone, see https://example.com or www.example.com or [here](//example.com) <img src=x>"]
    content["findings"][0]["accepted"] = "@everyone\n# see [here](https://example.com)"
    file.write_text(json.dumps(content))
    text = comment(check, cwd=tmp_path)
    assert not any(line.startswith("#") and "Nothing regressed" not in line for line in text.splitlines())
    assert "\\[here\\](" in text  # escaped
    assert not any(part in text for part in ("@e", "://", "www.", "<img", "press here"))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("way", "by hand", "way: expected 'paired' or 'stored', found 'by hand'"),
        ("notes", [1], "notes[0]: expected text, found 1"),
        ("findings", [{}], "findings[0]: case.cell: missing"),
        ("schema_version", 99, "schema_version is 99; use the rnnbench that wrote it"),
    ],
)
def test_verdicts_with_a_wrong_value_are_refused_by_file_and_key(
    check: Path, tmp_path: Path, key: str, value: Any, words: str
) -> None:
    bad = forged(check, tmp_path, "bad", **{key: value})
    done = rnnbench("ci", "comment", bad, cwd=tmp_path, code=2)
    assert done.stdout == ""
    assert f"{bad}/verdicts.json: {words}" in done.stderr


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    assert "no such folder" in rnnbench("ci", "comment", "nowhere", cwd=tmp_path).stderr


def dated(parent: Path, suite: str, started: str, number: int, *findings: Finding) -> Path:
    """A check that began at a time; without findings it has no verdicts."""
    check = checks.write(parent / "new", samples.comparison(*findings) if findings else None, {})
    for side in ("base", "head"):
        file = check / side / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"suite": suite, "started": started}))
    moved = check.rename(parent / f"{suite}-check-{started[:4]}0101T000000Z-{number:04x}")
    (parent / "new").rmdir()
    return moved


def test_of_a_folder_the_newest_check_is_printed_and_no_older_one_in_place_of_one_without_verdicts(
    tmp_path: Path,
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    assert comment(results, cwd=tmp_path) == ""
    dated(results, "zz", "2026-01-01T00:00:00+00:00", 1, samples.SAME)
    dated(results, "aa", "2027-01-01T00:00:00+00:00", 2, samples.SLOWER)
    assert "1 of 1 case regressed" in comment(results, cwd=tmp_path)
    dated(results, "mm", "2028-01-01T00:00:00+00:00", 3)
    done = rnnbench("ci", "comment", results, cwd=tmp_path, code=0)
    assert (done.stdout, "no verdicts, so there is nothing to comment" in done.stderr) == ("", True)


def test_the_base_of_a_push_is_the_last_commit_whose_check_decided_all_cases(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    commits = [repository.commit(tmp_path, {"cell.py": str(number)}) for number in range(7)]

    def checked(number: int, *findings: Finding) -> None:
        check = checks.write(results / "new", samples.comparison(*findings), {})
        for side, commit in (("base", commits[number - 1]), ("head", commits[number])):
            file = check / side / "run.json"
            info = json.loads(file.read_text())
            info["environment"]["git"]["commit"] = commit
            info["started"] = f"2026-01-0{number}T00:00:00+00:00"
            file.write_text(json.dumps(info))
        check.rename(results / f"ci-check-{number}")

    def base() -> str:
        return rnnbench("ci", "base", results, cwd=tmp_path, code=0).stdout.rstrip("\n")

    assert base() == ""
    checked(2, samples.APART)  # which ends with 2
    assert base() == ""
    checked(3, samples.SAME, samples.LONE)
    told = "the base of the oldest check, since none decided all cases"
    assert base() == f"{commits[2]} {commits[2][:7]}, {told}"
    checked(4, samples.SLOWER)
    told = "the last commit whose check decided all cases"
    assert base() == f"{commits[4]} {commits[4][:7]}, {told}"
    checked(5, samples.SLOWER, samples.OPEN)
    checked(6, samples.SAME)  # the head itself, whose parent does not contain it
    assert base() == f"{commits[4]} {commits[4][:7]}, {told}"
    (results / "ci-check-4" / "verdicts.json").write_text('{"schema_version": 1}')
    done = rnnbench("ci", "base", results, cwd=tmp_path, code=0)
    assert (done.stdout.startswith(commits[2]), "schema_version is 1" in done.stderr) == (True, True)
