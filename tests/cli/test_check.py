"""`check` and `compare` end to end: real workers, real git. Only slowdowns by a large factor are sure to be found."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.analysis.decide import accepted_because
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.stored import MIN_CASES
from rnnbench.cli.check import place_of
from rnnbench.report.page.page import files
from rnnbench.report.verdicts import page as verdicts_page
from rnnbench.store.folder import read_info
from rnnbench.store.records import Case, Group
from rnnbench.suite.outline import cases_of
from tests.doubles import checks, repository, stored
from tests.doubles.commands import MINE, SLOW, cells, rnnbench
from tests.doubles.workload import workload


@pytest.fixture
def repo(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        repository.commit(folder, {"mine.toml": MINE, "mine.py": cells()})

    return repository.copied(tmp_path_factory, "one-commit", make, tmp_path / "there")


def test_the_verdict_stands_without_a_summary_and_later_steps_of_a_job_learn_its_folder(tmp_path: Path) -> None:
    base, head = (
        stored.folder(tmp_path / name, stored.several([slower] * MIN_CASES))
        for name, slower in (("base", 2.0), ("head", 3.0))
    )
    outputs = tmp_path / "outputs"
    variables = {"GITHUB_STEP_SUMMARY": str(tmp_path / "none" / "summary.md"), "GITHUB_OUTPUT": str(outputs)}
    done = rnnbench("compare", base, head, "--out", "results", cwd=tmp_path, code=1, **variables)
    assert "6 of 6 cases regressed" in done.stdout
    assert "/none/summary.md: No such file or directory" in done.stderr
    [folder] = (tmp_path / "results").iterdir()
    rnnbench("compare", base, "nowhere", "--out", "results", cwd=tmp_path, code=2, **variables)
    assert outputs.read_text() == f"check=results/{folder.name}\n"


@pytest.mark.alone
def test_a_cell_that_became_slower_fails_the_check_and_every_output_says_so(repo: Path, tmp_path: Path) -> None:
    (repo / "mine.py").write_text(cells(SLOW))
    summary = tmp_path / "summary.md"
    done = rnnbench(
        "check", "mine.toml", "--base", "HEAD", cwd=repo, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=summary, code=1
    )
    assert "with uncommitted changes" in done.stdout
    assert "1 of 2 cases regressed: mine.py:Mine" in " ".join(done.stdout.split())
    assert "more operator calls" in done.stdout
    assert re.search(r"^::error file=mine\.py,line=\d+,title=Regressed%3A mine\.py%3AMine", done.stdout, re.MULTILINE)
    assert summary.read_text().startswith("## ▲ 1 of 2 cases regressed")
    (folder,) = (repo / "results").iterdir()
    findings = json.loads((folder / "verdicts.json").read_text())["findings"]
    assert [(finding["cell"], finding["verdict"]) for finding in findings] == [
        ("mine.py:Mine", "regressed"),
        ("mine.py:Other", "unchanged"),
    ]
    assert findings[0]["ratio"] > 3
    suite = ElementTree.parse(folder / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert {read_info(folder / side).status for side in ("base", "head")} == {"finished"}
    assert repository.git(repo, "worktree", "list").count("\n") == 0


@pytest.mark.slow
def test_a_repository_that_holds_rnnbench_is_checked_with_each_sides_own_cells(repo: Path) -> None:
    code = Path(__file__).parents[2] / "rnnbench"
    shutil.copytree(code, repo / "rnnbench", ignore=shutil.ignore_patterns("__pycache__"))
    (repo / "own.toml").write_text(MINE.replace('["mine.py:Mine", "mine.py:Other"]\nreference = "gru"', '"gru"'))
    repository.commit(repo, {})
    cell = repo / "rnnbench" / "cells" / "gru.py"
    step = "        i_r, i_z, i_n = projected.chunk(3, dim=-1)\n"
    assert step in cell.read_text()
    slow = "        for _ in range(60):\n            projected = projected + 0\n"
    cell.write_text(cell.read_text().replace(step, slow + step))
    for folder in (repo, repo.parent):  # from the repository itself, and from elsewhere
        # One replicate decides no verdict by time; the counts show whose code was measured.
        done = rnnbench("check", repo / "own.toml", "--base", "HEAD", "--json", "--budget", "1s", cwd=folder, code=3)
        (finding,) = map(json.loads, done.stdout.splitlines())
        changed = {change["metric"]: change["head"] - change["base"] for change in finding["changes"]}
        assert changed["operators"] == 60 * 5  # 60 more in each of five steps
        assert "allocations" in changed


@pytest.mark.alone
def test_unchanged_code_passes_and_a_single_margin_can_be_given(repo: Path) -> None:
    done = rnnbench(
        "check",
        "mine.toml",
        "--base",
        "HEAD",
        "--all",
        "--margin",
        "90%",
        "--budget",
        "150s",
        "--on-undecided",
        "fail",
        "--json",
        cwd=repo,
        code=0,
    )
    assert {json.loads(line)["verdict"] for line in done.stdout.splitlines()} == {"unchanged"}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("raise ValueError('on purpose')", "fails now: ValueError: on purpose"),
        ("import os; os.kill(os.getpid(), 11)", "fails now: the worker was killed by SIGSEGV"),
    ],
)
def test_a_case_that_newly_fails_is_a_regression(repo: Path, other: str, reason: str) -> None:
    (repo / "mine.py").write_text(cells(other=other))
    done = rnnbench("check", "mine.toml", "--base", "HEAD", "--budget", "1s", "--json", cwd=repo, code=1)
    findings = {line["cell"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert findings["mine.py:Other"]["verdict"] == "regressed"
    assert findings["mine.py:Other"]["reason"].startswith(reason)
    assert findings["mine.py:Mine"]["verdict"] in ("undecided", "unchanged")  # it is not harmed


def test_a_broken_package_fails_all_cells_that_import_it_with_one_reason_and_its_repair_mends_all(
    tmp_path: Path,
) -> None:
    packages = ["half.one:Mine", "half.one:Other", "half.two:Mine"]
    suite = re.sub("^cell = .*$", f"cell = {json.dumps([*packages, 'mine.py:Mine'])}", MINE, flags=re.MULTILINE)
    files = {
        "half/__init__.py": "from half import one, broken, two\n",
        "half/broken.py": "raise RuntimeError('broken')\n",
    }
    files |= {"half/one.py": cells(), "half/two.py": cells(), "mine.py": cells()}
    repository.commit(tmp_path, {"mine.toml": suite, **files})
    (tmp_path / "half/broken.py").write_text("pass\n")
    options = ("--budget", "1s", "--on-undecided", "pass", "--json")
    for only, verdict in (([], "improved"), (["--only", "cell=half.two:Mine"], "regressed")):
        done = rnnbench("check", "mine.toml", "--base", "HEAD", *options, *only, cwd=tmp_path)
        found = {line["cell"]: line for line in map(json.loads, done.stdout.splitlines())}
        found.pop("mine.py:Mine", None)
        assert {line["verdict"] for line in found.values()} == {verdict}
        assert [*found] == (packages if not only else packages[2:])
        assert all("can't be imported: RuntimeError: broken (broken.py:1)" in line["reason"] for line in found.values())
        repository.commit(tmp_path, {})
        (tmp_path / "half/broken.py").write_text(files["half/broken.py"])


@pytest.mark.parametrize(("options", "code"), [(["--on-undecided", "pass"], 0), (["--on-growth", "fail"], 1)])
def test_work_that_grows_is_said_first_and_fails_the_check_if_it_is_to(
    repo: Path, options: list[str], code: int
) -> None:
    (repo / "mine.py").write_text(cells("h = h + 0"))  # no multiply-adds, which are judged anyway
    done = rnnbench("check", "mine.toml", "--base", "HEAD", "--budget", "1s", *options, cwd=repo, code=code)
    said = " ".join(done.stdout.split())
    assert ("--on-growth fail; time not compared" if code else "Work grew in 1 of 2 cases: +") in said
    assert "1 unchanged" in said


LAYOUT = {
    "bench/mine.toml": MINE.replace('["mine.py:Mine", "mine.py:Other"]', '"mypkg.cell:Mine"'),
    "python/mypkg/__init__.py": "",
    "python/mypkg/cell.py": cells(),
}


@pytest.mark.slow
def test_a_package_that_both_sides_find_by_pythonpath_stops_the_check_and_the_advice_works(tmp_path: Path) -> None:
    repo = tmp_path / "there"
    repository.commit(repo, LAYOUT)
    (repo / "python" / "mypkg" / "cell.py").write_text(cells(SLOW))
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(repo / "python")])
    done = rnnbench("check", "bench/mine.toml", "--base", "HEAD", cwd=repo, PYTHONPATH=path, code=2)
    assert f"mypkg was imported from {repo}/python/mypkg/" in done.stderr
    assert "HEAD:python/mypkg/" in done.stderr
    assert "rnnbench check --source python/" in done.stderr
    (folder,) = (repo / "results").iterdir()
    assert not list(folder.glob("*/windows-*"))
    assert not (folder / "verdicts.json").exists()
    options = ("--source", "python", "--json", "--budget", "1s")
    done = rnnbench("check", "bench/mine.toml", "--base", "HEAD", *options, cwd=repo, PYTHONPATH=path)
    [operators] = (each for each in json.loads(done.stdout)["changes"] if each["metric"] == "operators")
    assert operators["head"] > 4 * operators["base"]


@pytest.mark.alone
def test_two_stored_runs_are_compared_by_their_ratios_to_torch_nn(repo: Path) -> None:
    suite = MINE.replace("windows = 2", "windows = 2\nreplicates = 4\nmax_replicates = 4")
    (repo / "mine.toml").write_text(suite.replace("batch_size = 2", "batch_size = [1, 2, 3, 4, 5, 6]"))
    base = rnnbench("run", "mine.toml", cwd=repo).stdout.splitlines()[-1]
    (repo / "mine.py").write_text(cells(SLOW))
    head = rnnbench("run", "mine.toml", cwd=repo).stdout.splitlines()[-1]
    done = rnnbench("compare", base, head, "--json", cwd=repo, code=1)
    findings = list(map(json.loads, done.stdout.splitlines()))
    assert {line["verdict"] for line in findings if line["cell"] == "mine.py:Mine"} == {"regressed"}


def test_a_suite_that_the_base_does_not_have_yet_is_lent_to_it_and_that_is_said(repo: Path) -> None:
    (repo / "new.toml").write_text(MINE.replace('"mine"', '"new"', 1))
    done = rnnbench("check", "new.toml", "--base", "HEAD", "--on-undecided", "fail", cwd=repo, code=0)
    assert "with the head's new.toml" in " ".join(done.stdout.split())
    assert "2 of 2 cases unchanged" in " ".join(done.stdout.split())
    rnnbench("check", "gone.toml", "--base", "HEAD", cwd=repo, code=2)


def accepting(commit: str) -> str:
    """A file that accepts what a commit did to a cell."""
    return f'[[accepted]]\ncase = "cell=mine.py:Mine"\ncommit = "{commit}"\nreason = "it clips | now"\n'


def test_a_regression_that_the_team_has_accepted_is_marked_in_every_output_and_fails_no_check(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = repository.commit(repo, {"mine.py": cells(SLOW)})

    def check(base: object, head: object, groups: list[Group], *_: object, **how: Any) -> tuple[Path, Comparison]:
        first, second = cases_of(groups)
        accepted = how["options"].accepted
        slower = Finding(first, "regressed", 0.025, low=Estimate(1.1, 1.08, 1.12))
        findings = (
            replace(slower, accepted=accepted_because(slower, accepted.entries_for(first))),
            Finding(second, "unchanged", 0.025),
        )
        found = Comparison("mine", "a", "b", "paired", findings, tuple(accepted.notes(findings)))
        return checks.write(repo / "made", found, {}), found

    monkeypatch.setattr("rnnbench.check.live.check", check)
    (repo / "accepted.toml").write_text(accepting(slow[:7]))
    summary = repo / "summary.md"
    done = rnnbench(
        "check", "mine.toml", "--base", "HEAD~1", cwd=repo, code=0, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=summary
    )
    said = " ".join(done.stdout.split())
    assert "accepted +10% [+8.0%, +12%] accepted: it clips | now" in said
    answer = "Nothing regressed but what is accepted, 1 of 2 cases: mine.py:Mine loop inference: 10% slower"
    assert answer in said
    assert "::error" not in done.stdout
    assert "::notice title=1 case regressed as accepted::" in done.stdout
    [folder] = (repo / "made").iterdir()
    content = json.loads((folder / "verdicts.json").read_text())
    assert [(each["verdict"], each["accepted"]) for each in content["findings"]] == [
        ("regressed", "it clips | now"),
        ("unchanged", ""),
    ]
    assert (content["counts"]["regressed"], content["counts"]["accepted"]) == (0, 1)
    suite = ElementTree.parse(folder / "junit.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "0")
    for text in ((folder / "verdicts.md").read_text(), summary.read_text()):
        assert "| △ accepted | +10% |" in text
        assert r"accepted: it clips \| now" in text
        assert answer in text
    page = files(verdicts_page.page_of(folder))["index.html"].decode()
    assert "accepted: it clips | now" in page
    assert "△\xa0accepted" in page or "△&nbsp;accepted" in page
    (repo / "accepted.toml").write_text(accepting(slow[:7]).replace("Mine", "Other"))
    shutil.rmtree(repo / "made")
    done = rnnbench("check", "mine.toml", "--base", "HEAD~1", cwd=repo, code=1)
    assert "accepted[0]: no case with cell=mine.py:Other regressed" in " ".join(done.stdout.split())


def test_a_fault_in_the_file_of_accepted_regressions_ends_a_check_before_it_measures(repo: Path) -> None:
    (repo / "accepted.toml").write_text(accepting("main"))
    done = rnnbench("check", "mine.toml", "--base", "HEAD", cwd=repo, code=2)
    assert "accepted.toml: accepted[0].commit: main will name other commits later" in done.stderr
    assert not (repo / "results").exists()


def test_a_commit_to_documentation_is_answered_without_a_pair_and_names_its_witness(repo: Path) -> None:
    repository.commit(repo, {"README.md": "a", "accepted.toml": accepting("v1.0")})  # which is no code either
    repository.commit(repo, {"README.md": "about", "accepted.toml": accepting("v1.1")})
    # Bytecode is written beside the modules, as it is on most machines.
    done = rnnbench("check", "mine.toml", "--base", "HEAD~1", cwd=repo, code=0, PYTHONDONTWRITEBYTECODE="")
    assert "0 of 2 cases may run changed code" in " ".join(done.stdout.split())
    (folder,) = (repo / "results").iterdir()
    findings = json.loads((folder / "verdicts.json").read_text())["findings"]
    assert [(each["verdict"], each["decided_by"], each["replicates"]) for each in findings] == [
        ("unchanged", "code", 0)
    ] * 2
    assert (folder / "junit.xml").read_text().count("runs the same code on both sides") == 2
    assert "runs the same code on both sides" in (folder / "verdicts.md").read_text()
    assert not list(folder.glob("*/windows-*.jsonl"))
    assert {read_info(folder / side).suite_file for side in ("base", "head")} == {"mine.toml"}  # in its repository


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        ("cells/mine.py:Mine(size=3)", ("bench/cells/mine.py", 8)),
        ("cells/mine.py:Built", ("bench/cells/mine.py", 4)),
        ("mycells.gru:Mine", ("src/mycells/gru.py", 8)),
        ("mycells:Mine", ("src/mycells/gru.py", 8)),  # which the package takes from its module
        ("../../outside.py:Mine", ("bench/mine.toml", 1)),
        ("package.module:Mine", ("bench/mine.toml", 1)),
        ("gru", ("bench/mine.toml", 1)),
    ],
)
def test_an_annotation_stands_at_the_cells_class_or_else_at_its_suite(
    tmp_path: Path, cell: str, place: tuple[str, int]
) -> None:
    source, root = "import torch\n\n\ndef Built():\n    pass\n\n\nclass Mine:\n    pass\n", tmp_path / "checkout"
    for file in ("checkout/bench/cells/mine.py", "checkout/src/mycells/gru.py", "outside.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(source)
    (root / "src/mycells/__init__.py").write_text("from mycells.gru import Mine\n")
    (root / "bench/mine.toml").write_text("")
    assert place_of(Case(cell, "loop", workload()), root / "bench/mine.toml", root) == place
