"""The composite actions for other people's repositories, and the workflows of this one."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from rnnbench.version import __version__
from tests.doubles import checks, repository
from tests.report.verdicts import samples

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
FILES = sorted(file for folder in ("actions", "workflows") for file in (GITHUB / folder).rglob("*.yml"))


def action(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((GITHUB / "actions" / name / "action.yml").read_text())
    return read


def workflow(name: str) -> dict[Any, Any]:
    read: dict[Any, Any] = yaml.safe_load((GITHUB / "workflows" / f"{name}.yml").read_text())
    return read


def step(name: str, of: str = "check") -> dict[str, Any]:
    found: list[dict[str, Any]] = [step for step in action(of)["runs"]["steps"] if step.get("name") == name]
    return found[0]


def snippets() -> list[str]:
    """The workflows that the page of CI shows."""
    text = (ROOT / "docs" / "ci.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks if "\njobs:" in textwrap.dedent(block)]


def shown(folder: Path) -> Path:
    """A repository with the workflows that the page shows, after a release."""
    repo = folder / "shown"
    (repo / ".github" / "workflows").mkdir(parents=True)
    for number, snippet in enumerate(snippets()):
        (repo / ".github" / "workflows" / f"{number}.yml").write_text(snippet.replace("COMMIT", "5e6f7a8b9c" * 4))
    return repo


def test_zizmor_finds_no_fault(tmp_path: Path) -> None:
    zizmor = shutil.which("zizmor", path=Path(sys.executable).parent)
    if zizmor is None:
        pytest.skip("zizmor is not installed: pip install zizmor")
    command = [zizmor, "--offline", "--no-progress", "--min-severity=medium", str(GITHUB), str(shown(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.needs("actionlint")
def test_actionlint_finds_no_fault(tmp_path: Path) -> None:
    files = [*(GITHUB / "workflows").glob("*.yml"), *shown(tmp_path).rglob("*.yml")]
    newer = ["-ignore", r'"\$/\.github/']  # actionlint 1.7 does not know references to the own repository yet
    command = ["actionlint", *newer, "-shellcheck=", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


TEXTS = {str(file.relative_to(GITHUB)): file.read_text() for file in FILES}
TEXTS |= {f"page {number}": snippet for number, snippet in enumerate(snippets())}
PINNED = re.compile(
    r"actions/[a-z-]+(/[a-z]+)?@[0-9a-f]{40} # v\d+\.\d+\.\d+|\$/\.github/.*|ACCOUNT/rnnbench/.*@COMMIT"
)


@pytest.mark.parametrize("name", TEXTS)
def test_each_step_is_pinned_each_job_ends_and_no_text_of_a_pull_request_becomes_a_script(name: str) -> None:
    for uses in re.findall(r"^[^#\n]*\buses: (.*)", TEXTS[name], re.MULTILINE):
        assert PINNED.fullmatch(uses)
    read = yaml.safe_load(TEXTS[name])
    assert "runs" in read or "concurrency" in read or set(read[True]) == {"workflow_call"}
    for job in [read["runs"]] if "runs" in read else read["jobs"].values():
        assert "runs" in read or "timeout-minutes" in job or "gate.yml" in job["uses"]
        for each in job.get("steps", []):
            assert "${{" not in each.get("run", "")
            assert "runs" not in read or "uses" in each or each["shell"] == "bash"


def test_the_page_of_ci_shows_this_projects_own_workflows() -> None:
    for name, snippet in zip(("performance", "comment"), snippets(), strict=True):
        own = workflow(name)
        [job] = own["jobs"].values()
        for part in [job, *job.get("steps", [])]:
            if "uses" in part:
                part["uses"] = part["uses"].replace("$/", "ACCOUNT/rnnbench/") + "@COMMIT"
        if name == "performance":
            job["with"] = {"suite": "MyCell.toml"}
            assert len(snippet.strip().splitlines()) <= 15
        assert yaml.safe_load(snippet) == own
    text = (ROOT / "docs" / "ci.md").read_text()
    [kept] = re.findall(r"> (\d+)", step("Trend")["run"])
    assert f"in the newest {kept} checks" in " ".join(text.split())


def test_the_code_of_a_pull_request_runs_with_a_token_that_can_only_read() -> None:
    gate = workflow("gate")
    assert (gate["permissions"], set(gate[True])) == ({}, {"workflow_call"})
    rights = {name: job["permissions"] for name, job in gate["jobs"].items()}
    assert rights["check"] == {"contents": "read"}
    assert rights["comment"] == {"actions": "read", "pull-requests": "write"}
    assert rights["page"] == {"id-token": "write", "pages": "write"}
    [job] = workflow("performance")["jobs"].values()
    assert job["permissions"] == {name: right for each in rights.values() for name, right in each.items()}
    for name in ("comment", "page"):
        [only] = gate["jobs"][name]["steps"]  # no checkout
        assert only["uses"] == f"$/.github/actions/{name}"
    assert "head.repo.full_name == github.repository" in gate["jobs"]["comment"]["if"]
    assert "pull_request" not in gate["jobs"]["page"]["if"]
    assert gate["jobs"]["page"]["environment"]["name"] == "github-pages"
    others = workflow("comment")
    assert (others["permissions"], set(others[True])) == ({}, {"workflow_run"})
    [only] = others["jobs"]["comment"]["steps"]
    assert only["uses"] == "$/.github/actions/comment"


def test_what_a_caller_gives_reaches_the_action() -> None:
    gate = workflow("gate")
    inputs = gate[True]["workflow_call"]["inputs"]
    given = gate["jobs"]["check"]["steps"][1]["with"]
    assert given == {name: f"${{{{ inputs.{name} }}}}" for name in inputs if name not in ("runner", "page")}
    usual = {name: each.get("default") for name, each in action("check")["inputs"].items()}
    assert {name: inputs[name].get("default") for name in given} == {name: usual[name] for name in given}


def test_a_release_makes_the_tag_and_lets_the_page_name_account_commit_and_tag(tmp_path: Path) -> None:
    for name in ("docs/ci.md", "rnnbench/version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    repository.executable(tmp_path / "bin" / "gh", f"printf '%s|' \"$@\" >> {tmp_path}/asked; echo >> {tmp_path}/asked")
    repository.executable(tmp_path / "bin" / "git", "echo blob")
    commit = "5e6f7a8b9c" * 4
    known = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "GITHUB_REPOSITORY": "me/mine",
        "GITHUB_SHA": commit,
        "BRANCH": "main",
    }
    script = ["bash", str(GITHUB / "release.sh")]
    subprocess.run(script, cwd=tmp_path, env=known, check=True)
    tag, page = (tmp_path / "asked").read_text().splitlines()
    assert (
        tag == f"api|--silent|repos/me/mine/git/refs|--raw-field|ref=refs/tags/v{__version__}|--raw-field|sha={commit}|"
    )
    assert page.startswith("api|--silent|--method|PUT|repos/me/mine/contents/docs/ci.md|")
    text = (tmp_path / "docs" / "ci.md").read_text()
    assert f"uses: me/mine/.github/workflows/gate.yml@{commit} # v{__version__}\n" in text
    assert f"- uses: me/mine/.github/actions/comment@{commit} # v{__version__}\n" in text
    assert f"remote: https://raw.githubusercontent.com/me/mine/{commit}/.gitlab/gate.yml\n" in text
    assert f"rnnbench: git+https://github.com/me/mine@{commit}\n" in text
    assert not re.search("ACCOUNT|COMMIT", text)
    subprocess.run(script, cwd=tmp_path, env=known | {"GITHUB_SHA": "0" * 40}, check=True)  # the next release
    assert commit not in (tmp_path / "docs" / "ci.md").read_text()


def test_the_job_of_gitlab_has_what_the_page_includes_and_installs_what_the_comment_needs() -> None:
    header, jobs = yaml.safe_load_all((ROOT / ".gitlab" / "gate.yml").read_text())
    text = (ROOT / "docs" / "ci.md").read_text()
    [block] = re.findall(r"^    include:\n(?:     .*\n)+", text, re.MULTILINE)
    [included] = yaml.safe_load(textwrap.dedent(block))["include"]
    required = {name for name, each in header["spec"]["inputs"].items() if "default" not in each}
    assert set(included["inputs"]) == required
    assert included["remote"].endswith("/.gitlab/gate.yml")
    assert all({"timeout", "rules"} <= job.keys() for job in jobs.values())
    comment = jobs["rnnbench comment"]
    assert comment["variables"] == {"GIT_STRATEGY": "none"}  # no code of the merge request
    [line] = re.findall(r"pip install --quiet (?!--no-deps)([^#\n]*)", step("Comment", "comment")["run"])
    assert f"pip install --quiet {line.strip()}" in comment["script"]


@pytest.mark.needs("jq")
@pytest.mark.parametrize(("notes", "asked"), [("[]", "--request|POST|"), ("own", "--request|PUT|")])
def test_the_comment_of_gitlab_replaces_the_one_of_the_tokens_user(tmp_path: Path, notes: str, asked: str) -> None:
    own = {"id": 5, "body": f"{MARKER}\nold", "author": {"id": 1}}
    others = [{**own, "id": 4, "author": {"id": 666}}, {**own, "id": 6, "body": f"> {MARKER}"}]
    (tmp_path / "notes").write_text(json.dumps([*others, *([own] if notes == "own" else [])]))
    (tmp_path / "comment.md").write_text(f"{MARKER}\nverdicts\n")
    script = """printf '%s|' "$@" >> asked; echo >> asked
case "$*" in */user) echo '{"id": 1}' ;; *per_page*) cat notes ;; esac"""
    repository.executable(tmp_path / "curl", script)
    *_, jobs = yaml.safe_load_all((ROOT / ".gitlab" / "gate.yml").read_text())
    known = {"CI_API_V4_URL": "https://gitlab.com/api/v4", "CI_PROJECT_ID": "5", "CI_MERGE_REQUEST_IID": "3"}
    known |= {"PATH": f"{tmp_path}:/usr/bin:/bin", "GITLAB_TOKEN": "secret"}
    command = ["bash", "-euo", "pipefail", "-c", jobs["rnnbench comment"]["script"][-1]]
    subprocess.run(command, cwd=tmp_path, env=known, check=True)
    *_, last = (tmp_path / "asked").read_text().splitlines()
    address = "https://gitlab.com/api/v4/projects/5/merge_requests/3/notes" + ("/5" if notes == "own" else "")
    assert f"{asked}{address}|--data-urlencode|body@comment.md|" in last


def outputs(name: str, folder: Path, of: str = "check", **environment: str) -> dict[str, str]:
    """The outputs of a step of an action, which runs in a folder."""
    file = folder / "outputs.txt"
    file.unlink(missing_ok=True)
    known = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GITHUB_OUTPUT": str(file), **environment}
    subprocess.run(["bash", "-euo", "pipefail", "-c", step(name, of)["run"]], cwd=folder, env=known, check=True)
    return dict(line.split("=", 1) for line in file.read_text().splitlines()) if file.exists() else {}


def test_caches_and_artifacts_of_two_suites_or_jobs_of_a_matrix_have_different_names(tmp_path: Path) -> None:
    axes = {
        "suite": ("ci", "ci-gpu", "bench/mine.toml", "bench_mine.toml"),
        "label": ("", "gpu"),
        "python": ("3.12", "3.13"),
        "torch": ("torch", "torch<=2.8", "torch>=2.8"),
        "machine": ("Linux X64", "Linux ARM64"),
        "image": ("ubuntu24", ""),
    }
    usual = {axis: values[0] for axis, values in axes.items()}
    kinds = [usual, *({**usual, axis: value} for axis, values in axes.items() for value in values[1:])]
    names = [
        outputs(
            "Name",
            tmp_path,
            NAME="{suite} {label} check {python} {torch}".format(**kind),
            MACHINE=kind["machine"],
            ImageOS=kind["image"],
        )["safe"]
        for kind in kinds
    ]
    assert len(set(names)) == len(names)
    inputs = step("Name")["env"]
    for part in ("suite", "label", "base", "python-version", "torch"):
        assert f"inputs.{part}" in inputs["NAME"]
    assert "runner.arch" in inputs["MACHINE"]
    assert all(re.fullmatch(r"[A-Za-z0-9._]+", name) for name in names)  # no artifact's name has a slash
    for name in names:  # a prefix of keys ends with a whole name
        assert not any(other.startswith(f"{name}_") for other in names if other != name)
    steps = action("check")["runs"]["steps"]
    keys = [each["with"]["key"] for each in steps if "cache/" in each.get("uses", "")]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert "github.run_attempt" in keys[0]
    artifacts = [each["with"]["name"] for each in steps if "upload-artifact" in each.get("uses", "")]
    assert len(set(artifacts)) == 2
    assert all("steps.name.outputs.safe" in name for name in artifacts)


def test_options_and_packages_may_have_words_in_quotes(tmp_path: Path) -> None:
    for program in ("rnnbench", "uv", "pip"):
        repository.executable(tmp_path / program, f"printf '%s|' {program} \"$@\" >> {tmp_path}/said; echo torch==2.8")
    path = f"{tmp_path}:/usr/local/bin:/usr/bin:/bin"
    given = {"SUITE": "my suite.toml", "BASE": "HEAD^1", "BUDGET": "2m", "ON_UNDECIDED": ""}
    given["BASE_NAME"] = "main at 1a2b3c4"
    outputs("Check", tmp_path, PATH=path, OPTIONS="--instructions --only 'cell=* batch_size=1'", **given)
    outputs("Check", tmp_path, PATH=path, OPTIONS="", **given | {"ON_UNDECIDED": "fail"})
    always = "rnnbench|check|my suite.toml|--base|HEAD^1|--budget|2m|--base-name|main at 1a2b3c4|"
    first = f"{always}--instructions|--only|cell=* batch_size=1|"
    assert (tmp_path / "said").read_text() == f"{first}{always}--on-undecided|fail|"
    places = {"HOME": str(tmp_path), "RUNNER_TEMP": str(tmp_path), "GITHUB_ACTION_PATH": "/a/b/c/d", "TORCH": "torch"}
    outputs("Install rnnbench", tmp_path, PATH=path, INSTALL="-e '.[dev, test]'", **places)
    assert (
        f"uv|pip|install|--quiet|-e|.[dev, test]|--constraint|{tmp_path}/torch.txt|" in (tmp_path / "said").read_text()
    )
    with pytest.raises(subprocess.CalledProcessError):
        outputs("Check", tmp_path, PATH=path, OPTIONS="--only 'cell=gru", **given)


def test_what_a_check_found_is_kept_also_if_it_regressed_and_only_of_this_check() -> None:
    steps = action("check")["runs"]["steps"]
    after = steps[[each.get("id") for each in steps].index("check") + 1 :]
    assert {each["if"] for each in after} == {"always() && steps.check.outputs.check != ''"}
    [verdicts, _] = [each["with"] for each in after if "upload-artifact" in each.get("uses", "")]
    assert verdicts["path"] == "${{ steps.check.outputs.check }}"


def test_a_push_is_compared_with_the_commit_that_rnnbench_chooses_of_the_checks(tmp_path: Path) -> None:
    repository.executable(tmp_path / "git", 'test "$*" = "rev-parse HEAD^1" && echo 5e6f7a8b9c')

    def base(event: str, given: str = "", chosen: str = "") -> tuple[str, str]:
        repository.executable(tmp_path / "rnnbench", f'test "$*" = "ci base results" && echo "{chosen}"')
        path = f"{tmp_path}:/usr/bin:/bin"
        branch = "main" if event == "pull_request" else ""
        read = outputs("Base", tmp_path, BASE=given, EVENT=event, BRANCH=branch, PATH=path)
        return read["base"], read["name"]

    assert base("push") == ("HEAD^1", "")  # nothing was checked yet
    assert base("push", chosen="1a2b3c4d5e 1a2b3c4, the last") == ("1a2b3c4d5e", "1a2b3c4, the last")
    assert base("push", "v1.0", "1a2b3c4d5e 1a2b3c4, the last") == ("v1.0", "")
    assert base("pull_request", chosen="1a2b3c4d5e 1a2b3c4, the last") == ("HEAD^1", "main at 5e6f7a8")
    assert base("pull_request", "v1.0") == ("v1.0", "")


def test_the_page_is_that_of_the_only_check_or_lists_those_of_several(tmp_path: Path) -> None:
    def site(*trends: str) -> tuple[str, set[str]]:
        shutil.rmtree(tmp_path / "site", ignore_errors=True)
        for trend in trends:
            (tmp_path / "trends" / trend / "tables").mkdir(parents=True)
            (tmp_path / "trends" / trend / "index.html").write_text(f"the history of {trend}")
        pages = outputs("Site", tmp_path, "page", RUNNER_TEMP=str(tmp_path))["pages"]
        return pages, {file.relative_to(tmp_path / "site").as_posix() for file in (tmp_path / "site").rglob("*")}

    assert site()[0] == "0"
    assert site("rnnbench-trend_ci_a") == ("1", {"index.html", "tables"})
    assert (tmp_path / "site" / "index.html").read_text() == "the history of rnnbench-trend_ci_a"
    pages, files = site("rnnbench-trend_ci_b")
    assert (pages, {"ci_a/index.html", "ci_b/index.html", "index.html"} <= files) == ("2", True)
    assert '<a href="ci_b/">ci_b</a>' in (tmp_path / "site" / "index.html").read_text()


class Service:
    """GitHub as its command `gh api` shows it: pull requests, comments, and what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pulls: list[dict[str, Any]] = []
        self.pages: list[list[dict[str, Any]]] = [[]]  # of comments
        self.source: str | None = None  # of Pages
        script = f"""
cd {folder}
printf '%s|' "$@" >> asked; echo >> asked
case "$*" in
    *--method\\ P*) for last in "$@"; do :; done; cat "${{last#body=@}}" > written ;;
    */comments*) cat comments ;;
    */pulls*) cat pulls ;;
    */pages*) test -e source || {{ echo '{{"message":"Not Found"}}'; exit 1; }}; cat source ;;
esac"""
        repository.executable(folder / "gh", script)

    def ask(self, name: str, of: str, **environment: str) -> dict[str, str]:
        """Run a step of an action, and return its outputs."""
        (self.folder / "pulls").write_text(json.dumps(self.pulls))
        (self.folder / "comments").write_text("".join(map(json.dumps, self.pages)))
        if self.source is not None:
            (self.folder / "source").write_text(f"{self.source}\n")
        for file in ("asked", "written"):
            (self.folder / file).unlink(missing_ok=True)
        known = {"PATH": f"{self.folder}:/usr/bin:/bin", "RUNNER_TEMP": str(self.folder)}
        known |= {"GITHUB_REPOSITORY": "me/mine", "GITHUB_ACTION_PATH": "/a/b/c/d"}
        return outputs(name, self.folder, of, **known | environment)

    def asked(self, method: str) -> list[str]:
        """The requests of this method."""
        file = self.folder / "asked"
        return [line for line in file.read_text().splitlines() if f"|{method}|" in line] if file.exists() else []


@pytest.mark.parametrize("source", ["workflow", "legacy", "", None])
def test_a_page_is_published_only_where_workflows_make_the_pages_of_the_repository(
    tmp_path: Path, source: str | None
) -> None:
    service = Service(tmp_path)
    service.source = source
    assert service.ask("Pages", "page") == {"source": source or ""}
    assert (tmp_path / "asked").read_text() == "api|repos/me/mine/pages|--jq|.build_type|\n"
    steps = action("page")["runs"]["steps"]
    assert [each["if"].partition(" && ")[0] for each in steps[1:]] == ["steps.pages.outputs.source == 'workflow'"] * 4


MARKER = "<!-- rnnbench comment performance -->"
BOT = {"login": "github-actions[bot]"}
HEAD = {
    "OWNER": "you",
    "BRANCH": "topic/x",
    "COMMIT": "abc",
    "NAME": "performance",
    "RUN": "https://github.com/me/mine/actions/runs/7",
}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """Pull request 9 with a check of its head, in the job that comments on it."""
    service = Service(tmp_path)
    service.pulls = [{"number": 8, "head": {"sha": "older"}}, {"number": 9, "head": {"sha": "abc"}}]
    said = f"printf '%s|' \"$@\" >> {tmp_path}/said"
    repository.executable(tmp_path / "pip", said)
    repository.executable(tmp_path / "rnnbench", f"{said}; echo '{MARKER}'; echo verdicts")
    (tmp_path / "checks" / "rnnbench-check_a").mkdir(parents=True)
    return service


@pytest.mark.needs("jq")
def test_the_first_comment_is_new_and_a_later_one_replaces_it(service: Service) -> None:
    service.ask("Comment", "comment", **HEAD)
    assert service.asked("GET") == [
        "api|--method|GET|repos/me/mine/pulls|--raw-field|state=open|--raw-field|head=you:topic/x|"
    ]
    [request] = service.asked("POST")
    assert request.startswith("api|--silent|--method|POST|repos/me/mine/issues/9/comments|")
    assert (service.folder / "written").read_text() == f"{MARKER}\nverdicts\n"
    others = [{"id": number, "body": "from somebody else", "user": {"login": "mallory"}} for number in range(100)]
    forged = {"id": 100, "body": f"{MARKER}\nold", "user": {"login": "mallory"}}
    quoted = {"id": 101, "body": f"> {MARKER}\nold", "user": BOT}
    deleted = {"id": 102, "body": MARKER, "user": None}
    service.pages = [others, [forged, quoted, deleted, {"id": 103, "body": f"{MARKER}\r\nold", "user": BOT}]]
    service.ask("Comment", "comment", **HEAD)
    [request] = service.asked("PATCH")
    assert "|repos/me/mine/issues/comments/103|" in request
    assert service.asked("POST") == []
    service.pages[1].pop()
    service.ask("Comment", "comment", **HEAD)
    assert len(service.asked("POST")) == 1


@pytest.mark.needs("jq")
@pytest.mark.parametrize("pulls", [[], [{"number": 8, "head": {"sha": "newer"}}]])
def test_a_pull_request_that_was_closed_or_has_newer_commits_gets_no_comment_and_the_job_passes(
    service: Service, pulls: list[dict[str, Any]]
) -> None:
    service.pulls = pulls
    service.ask("Comment", "comment", **HEAD)
    assert not (service.folder / "written").exists()


@pytest.mark.needs("jq")
def test_what_can_be_read_is_posted_before_the_job_fails_for_the_rest(service: Service) -> None:
    repository.executable(service.folder / "rnnbench", f"echo '{MARKER}'; exit 2")
    with pytest.raises(subprocess.CalledProcessError):
        service.ask("Comment", "comment", **HEAD)
    assert (service.folder / "written").exists()


def merged(folder: Path, branch: str, files: dict[str, str]) -> str:
    """Commit files on a branch and merge it, as GitHub does for a pull request; return the branch's commit."""
    repository.git(folder, "checkout", "--quiet", "-b", branch)
    commit = repository.commit(folder, files)
    repository.git(folder, "checkout", "--quiet", "main")
    repository.git(folder, "merge", "--quiet", "--no-ff", "-m", f"merge {branch}", branch)
    return commit


@pytest.mark.slow
@pytest.mark.needs("jq")
def test_the_steps_by_hand_for_a_first_pull_request_one_from_a_fork_and_a_push(service: Service) -> None:
    repo = service.folder / "repo"
    repository.commit(repo, {"README.md": "cells\n", ".gitignore": "results\n"})
    (service.folder / "rnnbench").unlink()
    (service.folder / "rnnbench").symlink_to(Path(sys.executable).parent / "rnnbench")
    known = {"PATH": f"{service.folder}:{os.environ['PATH']}:/usr/bin:/bin", "HOME": str(service.folder)}

    def check(event: str, branch: str) -> str:
        """Run the steps of the check, and return its folder."""
        base = outputs("Base", repo, BASE="", EVENT=event, BRANCH=branch, **known)
        given = {"SUITE": "mine.toml", "BUDGET": "20s", "ON_UNDECIDED": "pass", "OPTIONS": "--only batch_size=1"}
        read = outputs("Check", repo, BASE=base["base"], BASE_NAME=base["name"], **given, **known)
        return read.get("check", "")

    suite = 'name = "mine"\n[[sweep]]\ncell = "cell.py:Mine"\nreference = "rnn"\nbatch_size = 1\nseq_len = 4\n'
    cell = "from rnnbench.cells.vanilla import VanillaCell\n\n\nclass Mine(VanillaCell):\n    pass\n"

    def commented(branch: str, commit: str, folder: str) -> str:
        """Comment on a pull request, and return the text; empty if there is no comment."""
        shutil.rmtree(service.folder / "checks", ignore_errors=True)
        shutil.copytree(repo / folder, service.folder / "checks" / "rnnbench-check_mine")
        service.pulls = [{"number": 9, "head": {"sha": commit}}]
        service.ask("Comment", "comment", **HEAD | {"BRANCH": branch, "COMMIT": commit, "PATH": known["PATH"]})
        written = service.folder / "written"
        return written.read_text() if written.exists() else ""

    commit = merged(repo, "first", {"mine.toml": suite, "cell.py": cell})
    folder = check("pull_request", "main")
    assert not commented("first", commit, folder), "the suite is new, so there is nothing to compare"

    base = repository.git(repo, "rev-parse", "--short=7", "HEAD")
    commit = merged(repo, "topic/x", {"README.md": "more cells\n"})
    text = commented("topic/x", commit, check("pull_request", "main"))
    assert text.startswith(MARKER)
    assert f"mine: base main at {base} against head topic/x at {commit[:7]}" in text
    assert "0 of 1 case may run changed code" in text

    repository.commit(repo, {"README.md": "cells again\n"})
    folder = check("push", "")
    assert "the last commit whose check decided all cases" in (repo / folder / "verdicts.md").read_text()


def test_no_artifact_chooses_the_comment_or_reaches_a_shell(service: Service) -> None:
    repository.executable(service.folder / "rnnbench", f"printf '%s|' \"$@\" >> {service.folder}/said")
    (service.folder / "checks" / "rnnbench-check_b $(touch evil)").mkdir()
    service.ask("Comment", "comment", **HEAD)
    names = ("rnnbench-check_a", "rnnbench-check_b $(touch evil)")
    paths = "".join(f"{service.folder}/checks/{name}/|" for name in names)
    assert (
        (service.folder / "said")
        .read_text()
        .endswith(f"ci|comment|{paths}--name|performance|--head|topic/x at abc|--run|{HEAD['RUN']}|")
    )
    assert not (service.folder / "evil").exists()
    shutil.rmtree(service.folder / "checks")
    (service.folder / "said").unlink()
    service.ask("Comment", "comment", **HEAD)  # nothing was checked
    assert not (service.folder / "said").exists()
    assert "inputs" not in action("comment")


def test_the_newest_checks_stay_in_the_cache(tmp_path: Path) -> None:
    repository.executable(tmp_path / "rnnbench", "true")
    for number in range(103):
        (tmp_path / "results" / f"ci-check-20260101T{number:06}Z-{103 - number:04x}").mkdir(parents=True)
    (tmp_path / "results" / "quick-20200101T000000Z-0000").mkdir()
    for _ in range(2):
        outputs("Trend", tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin")
        first, *others = sorted(folder.name for folder in (tmp_path / "results").iterdir())
        assert (first[:25], len(others)) == ("ci-check-20260101T000003Z", 100)


def test_the_comment_needs_only_the_packages_that_its_action_installs(tmp_path: Path) -> None:
    check = checks.write(tmp_path, samples.comparison(samples.SAME), {})
    script = step("Comment", "comment")["run"]
    [line] = re.findall(r"pip install --quiet (?!--no-deps)([^#\n]*)", script)
    needed = {
        re.split(r"[^\w-]", each)[0] for each in importlib.metadata.requires("rnnbench") or [] if "extra" not in each
    }
    brought = {"annotated-types", "numpy"}  # by pydantic and pandas
    missing = needed - set(line.split()) - brought
    assert {"torch", "matplotlib"} <= missing
    blocked = {"nvidia-ml-py": "pynvml"}
    code = f"""
import sys
class Missing:
    def find_spec(name, path=None, target=None):
        if name in {[blocked.get(name, name) for name in sorted(missing)]!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing)
from rnnbench.__main__ import main
main()"""
    command = [sys.executable, "-c", code, "ci", "comment", str(check)]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert "## ● Nothing regressed" in done.stdout
