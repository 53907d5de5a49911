"""`rnnbench ci`, against a server that answers as GitHub and GitLab do."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rnnbench.analysis.comparison import Finding
from tests.doubles import checks, repository
from tests.doubles.commands import rnnbench
from tests.report.verdicts import samples

MARKER = "<!-- rnnbench check quick -->"  # of the suite of all comparisons that are made by hand
BOT = {"id": 41898282, "login": "github-actions[bot]", "type": "Bot"}  # writes what a job of GitHub Actions posts
MALLORY = {"id": 666, "login": "mallory", "type": "User"}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """GitHub, in a job about pull request 7: its comments, page by page, the pull requests, and what was written.

    The token is a job's own, so that nobody tells which user it is, unless `user` is a number.
    """
    known = SimpleNamespace(comments=[], written=[], pulls=[], status=200, user=None)

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            size = int(query.get("per_page", 30))
            first = size * (int(query.get("page", 1)) - 1)
            answer: Any = known.pulls if "/pulls?" in self.path else known.comments[first : first + size]
            if length := int(self.headers.get("Content-Length") or 0):
                known.written.append((self.command, self.path, json.loads(self.rfile.read(length))["body"]))
                answer = {}
            status = known.status
            if self.path.endswith("/user"):
                answer, status = {"id": known.user}, 403 if known.user is None else 200
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = do_PUT = do_PATCH = reply  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known.event = tmp_path / "event.json"
        known.event.write_text(json.dumps({"pull_request": {"number": 7}}))
        variables = {"REPOSITORY": "me/mine", "API_URL": known.address, "TOKEN": "secret", "EVENT_PATH": known.event}
        for name, value in variables.items():
            monkeypatch.setenv(f"GITHUB_{name}", str(value))
        yield known
        server.shutdown()


@pytest.fixture
def check(tmp_path: Path) -> Path:
    return checks.write(tmp_path, samples.comparison(samples.SAME), {})


def test_the_first_comment_is_new(service: Any, check: Path, tmp_path: Path) -> None:
    done = rnnbench("ci", "comment", check, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "commented on #7\n")
    [(method, path, text)] = service.written
    assert (method, path) == ("POST", "/repos/me/mine/issues/7/comments")
    assert text == (check / "verdicts.md").read_text()
    assert text.startswith(f"{MARKER}\n## Nothing regressed: 1 of 1 case unchanged")


def test_a_later_check_of_the_suite_replaces_the_comment(service: Any, check: Path, tmp_path: Path) -> None:
    others = [{"id": number, "body": "from somebody else"} for number in range(130)]
    service.comments = [
        {"id": 131, "body": f"> {MARKER}\nsomebody who quotes it"},
        {"id": 132, "body": "<!-- rnnbench check quick too -->\n"},
        *others,
        {"id": 133, "body": f"{MARKER}\r\n## old\r\n", "user": BOT},
    ]
    assert rnnbench("ci", "comment", check, cwd=tmp_path).stdout == "replaced the comment on #7\n"
    [(method, path, _)] = service.written
    assert (method, path) == ("PATCH", "/repos/me/mine/issues/comments/133")
    rnnbench("ci", "comment", check, "--label", "Python 3.13", cwd=tmp_path)  # of another job of a matrix
    [_, (method, _, text)] = service.written
    assert method == "POST"
    assert text.startswith("<!-- rnnbench check quick Python 3.13 -->\nPython 3.13\n\n## Nothing regressed")


def forged(check: Path, parent: Path, name: str, suite: str) -> Path:
    """A copy of a check, as an artifact of this name, that says to be of another suite."""
    copy = Path(shutil.copytree(check, parent / name))
    file = copy / "verdicts.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"suite": suite}))
    return copy


def keep(service: Any) -> None:
    """Keep what was written as comments, as GitHub does."""
    for method, path, text in service.written:
        if method == "POST":
            service.comments.append({"id": len(service.comments), "body": text, "user": BOT})
        else:
            service.comments[int(path.rpartition("/")[2])]["body"] = text
    service.written.clear()


def test_whatever_artifacts_say_of_themselves_a_pull_request_has_one_comment(
    service: Any, check: Path, tmp_path: Path
) -> None:
    for number in range(3):
        names = [f"rnnbench-check_{number} {part} -->" for part in ("a", "b")]
        artifacts = [forged(check, tmp_path / str(number), name, f"suite {name}") for name in names]
        done = rnnbench("ci", "comment", *artifacts, "--name", "performance", cwd=tmp_path, code=0)
        assert done.stdout == f"{'replaced the comment' if number else 'commented'} on #7\n"
        keep(service)
    [comment] = service.comments
    first, *lines = comment["body"].splitlines()
    assert first == "<!-- rnnbench comment performance -->"
    assert [line[:4] for line in lines if line.startswith(("2 ", "## "))] == ["2 a ", "## N", "2 b ", "## N"]


def test_of_several_checks_the_worst_comes_first_and_a_long_comment_is_cut(
    service: Any, check: Path, tmp_path: Path
) -> None:
    slow = checks.write(tmp_path / "slow", samples.large(40, 120), {})
    rnnbench("ci", "comment", check, slow, "--name", "performance", cwd=tmp_path, code=0)
    [(_, _, text)] = service.written
    assert text.index("40 of 120 cases regressed") < text.index("Nothing regressed")
    assert "70 rows left out" in text
    file = slow / "verdicts.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"notes": ["a note " * 100] * 200}))
    rnnbench("ci", "comment", check, slow, "--name", "performance", cwd=tmp_path, code=0)
    [_, (_, _, text)] = service.written
    assert len(text) < 65_536
    assert text.endswith("The rest is left out, to keep this short.\n")


def test_a_comment_of_somebody_else_that_begins_with_the_marker_is_not_taken_for_the_own_one(
    service: Any, check: Path, tmp_path: Path
) -> None:
    service.comments = [{"id": 0, "body": f"{MARKER}\n", "user": MALLORY}]
    assert rnnbench("ci", "comment", check, cwd=tmp_path).stdout == "commented on #7\n"
    service.comments.append({"id": 1, "body": f"{MARKER}\n", "user": BOT})
    rnnbench("ci", "comment", check, cwd=tmp_path, code=0)
    service.user = 7  # now the token of a person, who has commented, too
    service.comments.append({"id": 2, "body": f"{MARKER}\n", "user": {"id": 7, "type": "User"}})
    rnnbench("ci", "comment", check, cwd=tmp_path, code=0)
    comments = "/repos/me/mine/issues/comments"
    assert [each[:2] for each in service.written[1:]] == [("PATCH", f"{comments}/1"), ("PATCH", f"{comments}/2")]


def test_a_check_that_can_not_be_read_is_told_and_the_others_are_posted(
    service: Any, check: Path, tmp_path: Path
) -> None:
    bad = forged(check, tmp_path, "rnnbench-check_bad", "quick")
    (bad / "verdicts.json").write_text("[")
    done = rnnbench("ci", "comment", bad, check, "--name", "performance", cwd=tmp_path, code=2)
    assert done.stdout == "commented on #7\n"
    assert f"{bad}/verdicts.json: can't be read: JSONDecodeError" in done.stderr
    assert "needs a name: --name NAME" in rnnbench("ci", "comment", bad, check, cwd=tmp_path, code=2).stderr
    refused = rnnbench("ci", "comment", check, "--name", "a", "--label", "b", cwd=tmp_path, code=2)
    assert "leave it out beside --name" in refused.stderr


def test_another_workflow_finds_the_pull_request_by_its_commit(service: Any, check: Path, tmp_path: Path) -> None:
    run = {"head_sha": "abc", "head_branch": "topic/x", "head_repository": {"owner": {"login": "you"}}}
    service.event.write_text(json.dumps({"workflow_run": run}))
    service.pulls = [{"number": 8, "head": {"sha": "older"}}, {"number": 9, "head": {"sha": "abc"}}]
    assert rnnbench("ci", "comment", check, cwd=tmp_path).stdout == "commented on #9\n"


def test_a_pull_request_that_was_closed_or_has_newer_commits_gets_no_comment_and_the_job_passes(
    service: Any, check: Path, tmp_path: Path
) -> None:
    run = {"head_sha": "abc", "head_branch": "topic/x", "head_repository": {"owner": {"login": "you"}}}
    service.event.write_text(json.dumps({"workflow_run": run}))
    for pulls in ([], [{"number": 8, "head": {"sha": "newer"}}]):
        service.pulls = pulls
        done = rnnbench("ci", "comment", check, cwd=tmp_path)
        assert (done.returncode, "was closed or has newer commits" in done.stdout) == (0, True)
    assert service.written == []


def test_a_comment_says_nothing_that_another_job_has_written(service: Any, check: Path, tmp_path: Path) -> None:
    (check / "verdicts.md").write_text(f"{MARKER}\n[press here](https://example.com)\n")
    file = check / "verdicts.json"
    forged = json.loads(file.read_text())
    forged["suite"] = "quick -->\n# Security alert"
    forged["notes"] = ["@everyone, see https://example.com or www.example.com or [here](//example.com) <img src=x>"]
    forged["findings"][0]["accepted"] = "@everyone\n# see [here](https://example.com)"
    file.write_text(json.dumps(forged))
    assert rnnbench("ci", "comment", check, cwd=tmp_path).returncode == 0
    [(_, _, text)] = service.written
    first, *lines = text.splitlines()
    assert first == "<!-- rnnbench check quick - # Security alert -->"
    assert not any(line.startswith("#") for line in lines[1:])
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
    service: Any, check: Path, tmp_path: Path, key: str, value: Any, words: str
) -> None:
    file = check / "verdicts.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    done = rnnbench("ci", "comment", check, cwd=tmp_path)
    assert (done.returncode, service.written) == (2, [])
    assert f"{file}: {words}" in done.stderr


def test_gitlab_has_the_same_comment(
    monkeypatch: pytest.MonkeyPatch, service: Any, check: Path, tmp_path: Path
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    for name, value in (("API_V4_URL", service.address), ("PROJECT_ID", "5"), ("MERGE_REQUEST_IID", "3")):
        monkeypatch.setenv(f"CI_{name}", value)
    assert "$GITLAB_TOKEN is not set; make a project" in rnnbench("ci", "comment", check, cwd=tmp_path).stderr
    monkeypatch.setenv("GITLAB_TOKEN", "secret")
    assert rnnbench("ci", "comment", check, cwd=tmp_path).stdout == "commented on !3\n"
    service.user = 1
    service.comments = [{"id": 4, "body": f"{MARKER}\n", "author": MALLORY}]
    service.comments += [{"id": 5, "body": f"{MARKER}\n", "author": {"id": 1}}]
    assert rnnbench("ci", "comment", check, cwd=tmp_path).stdout == "replaced the comment on !3\n"
    notes = "/projects/5/merge_requests/3/notes"
    assert [each[:2] for each in service.written] == [("POST", notes), ("PUT", f"{notes}/5")]


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (403, "does the token have the right to write comments?"),
        (422, "the service does not accept the text of the comment"),
        (429, "run the job again later"),
        (502, "the service has a fault"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(service: Any, check: Path, tmp_path: Path, status: int, hint: str) -> None:
    service.status = status
    done = rnnbench("ci", "comment", check, cwd=tmp_path)
    assert (done.returncode, f"refused with {status}" in done.stderr, hint in done.stderr) == (2, True, True)


def test_a_folder_that_is_not_there_is_told(service: Any, tmp_path: Path) -> None:
    assert "no such folder" in rnnbench("ci", "comment", "nowhere", cwd=tmp_path).stderr


def dated(parent: Path, suite: str, started: str, number: int, *, verdicts: bool = True) -> Path:
    """A check that began at a time."""
    check = checks.write(parent / "new", samples.comparison(samples.SAME) if verdicts else None, {})
    for side in ("base", "head"):
        file = check / side / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"suite": suite, "started": started}))
    moved = check.rename(parent / f"{suite}-check-{started[:4]}0101T000000Z-{number:04x}")
    (parent / "new").rmdir()
    return moved


def test_of_a_folder_the_newest_check_is_posted_and_no_older_one_in_place_of_one_without_verdicts(
    service: Any, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    assert "nothing to comment" in rnnbench("ci", "comment", results, cwd=tmp_path).stdout
    dated(results, "zz", "2026-01-01T00:00:00+00:00", 1)
    dated(results, "aa", "2027-01-01T00:00:00+00:00", 2)
    assert rnnbench("ci", "comment", results, cwd=tmp_path).stdout == "commented on #7\n"
    dated(results, "mm", "2028-01-01T00:00:00+00:00", 3, verdicts=False)
    done = rnnbench("ci", "comment", results, cwd=tmp_path)
    assert (done.returncode, "no verdicts, so there is nothing to comment" in done.stdout) == (0, True)
    assert len(service.written) == 1


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


def test_the_oldest_checks_of_each_suite_are_removed_by_time_and_nothing_else(tmp_path: Path) -> None:
    results = tmp_path / "some results"
    results.mkdir()
    old = [dated(results, suite, f"202{year}-01-01T00:00:00+00:00", 9 - year) for suite in "az" for year in (6, 7)]
    new = [dated(results, suite, "2028-01-01T00:00:00+00:00", 0) for suite in ("a", "z")]
    annotated = old[1] / "notes.txt"
    annotated.write_text("mine")
    others = [results / "a", results / "a-check-20200101T000000Z-0000", results / "quick-20200101T000000Z-0000"]
    for other in others:
        other.mkdir()
    (results / "link").symlink_to(old[0])
    done = rnnbench("ci", "trim", results, "--keep", "1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"3 checks removed from {results}\n")
    assert f"{old[1].name}: it holds files that rnnbench did not make, so it stays" in done.stderr
    left = {path.name for path in results.iterdir()}
    assert left == {path.name for path in [*new, *others, old[1], results / "link"]}
    assert "3 checks removed" not in rnnbench("ci", "trim", results, "--keep", "1", cwd=tmp_path).stdout
