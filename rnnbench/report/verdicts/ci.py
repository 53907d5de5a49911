"""What a job of a CI service does with verdicts: GitHub's workflow commands, and one comment on a pull request.

A later check replaces the comment of the one before.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from rnnbench.errors import UserError

MARKER = re.compile(r"<!-- rnnbench check \S[^\n]* -->\n")  # the first line of `verdicts.md`
SECONDS = 30.0  # timeout of a request


def command(level: str, title: str, message: str, place: tuple[str, int] | None = None) -> str:
    """Return a workflow command of GitHub Actions, which shows it on the run's page, or beside the code at `place`."""

    def escaped(text: str, more: str = "") -> str:
        return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{more}" else letter for letter in text)

    at = f"file={escaped(place[0], ':,')},line={place[1]}," if place else ""
    return f"::{level} {at}title={escaped(title, ':,')}::{escaped(message)}"


def post(text: str, environment: Mapping[str, str]) -> str:
    """Post a comment, or replace the one that begins with the same line; return which.

    `environment`: the variables of a job of GitHub Actions or GitLab CI. Raises UserError if they name no pull request,
    or the text is not that of a check.
    """
    if not (marker := MARKER.match(text)):
        raise UserError("the first line is not the marker of a check; give the folder of a check, with its verdicts.md")
    if "GITHUB_REPOSITORY" in environment:
        api = environment.get("GITHUB_API_URL", "https://api.github.com")
        token = _needed(environment, "GITHUB_TOKEN", "set it to ${{ github.token }}")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        repository = f"{api}/repos/{environment['GITHUB_REPOSITORY']}"
        event = json.loads(Path(_needed(environment, "GITHUB_EVENT_PATH", "GitHub sets it in each job")).read_text())
        number, old, method = _pull_request(repository, headers, event), f"{repository}/issues/comments", "PATCH"
        comments, pull = f"{repository}/issues/{number}/comments", f"#{number}"
    elif "CI_PROJECT_ID" in environment:
        token = _needed(
            environment, "GITLAB_TOKEN", "make a project access token with the scope api, and a CI variable"
        )
        headers = {"PRIVATE-TOKEN": token}
        name = _needed(environment, "CI_MERGE_REQUEST_IID", "run the job for merge requests (rules)")
        project = f"{environment['CI_API_V4_URL']}/projects/{environment['CI_PROJECT_ID']}"
        comments, pull, method = f"{project}/merge_requests/{name}/notes", f"!{name}", "PUT"
        old = comments
    else:
        raise UserError("comments are for jobs of GitHub Actions and GitLab CI, whose variables are not set here")
    for comment in _ask(f"{comments}?per_page=100&sort=asc", headers):
        if comment["body"].startswith(marker.group()):
            _ask(f"{old}/{comment['id']}", headers, {"body": text}, method)
            return f"replaced the comment on {pull}"
    _ask(comments, headers, {"body": text}, "POST")
    return f"commented on {pull}"


def _pull_request(repository: str, headers: Mapping[str, str], event: Mapping[str, Any]) -> int:
    """Return the number of the pull request that a job is about.

    A job that another workflow has started knows only the commit: no file of that workflow is asked, since a pull
    request's code could have written it.
    """
    if "pull_request" in event:
        return int(event["pull_request"]["number"])
    if not (run := event.get("workflow_run")):
        raise UserError("this job is about no pull request, so there is nothing to comment on")
    head = quote(f"{run['head_repository']['owner']['login']}:{run['head_branch']}")
    for pull in _ask(f"{repository}/pulls?state=open&head={head}", headers):
        if pull["head"]["sha"] == run["head_sha"]:
            return int(pull["number"])
    raise UserError("no open pull request has the commit that was checked, so there is nothing to comment on")


def _ask(url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None, method: str = "GET") -> Any:
    """Send a request and return the answer; raises UserError with the service's words if it refuses."""
    data = None if body is None else json.dumps(body).encode()
    known = {"Content-Type": "application/json", "User-Agent": "rnnbench", **headers}
    try:
        with urlopen(Request(url, data, known, method=method), timeout=SECONDS) as reply:
            return json.load(reply)
    except HTTPError as refusal:
        words = " ".join(refusal.read().decode(errors="replace").split())[:200]
        hint = "does the token have the right to write comments?"
        raise UserError(f"{url}: refused with {refusal.code}: {words}; {hint}") from None
    except (OSError, ValueError) as fault:
        raise UserError(f"{url}: no answer that can be used: {fault}") from None


def _needed(environment: Mapping[str, str], name: str, remedy: str) -> str:
    if not environment.get(name):
        raise UserError(f"${name} is not set; {remedy}")
    return environment[name]
