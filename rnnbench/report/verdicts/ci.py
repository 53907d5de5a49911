"""What a job of a CI service does with verdicts: GitHub's workflow commands, and one comment on a pull request.

A later check replaces the comment of the one before.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError

MARKER = re.compile(r"<!-- rnnbench check \S[^\n]* -->\n")  # the first line of `verdicts.md`
SECONDS = 30.0  # timeout of a request
PAGE = 100  # comments of a request
COMMENTS = """query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) {
    comments(first: 100, after: $after) {
      nodes { databaseId body viewerDidAuthor } pageInfo { hasNextPage endCursor } } } } }"""


def command(level: str, title: str, message: str, place: tuple[str, int] | None = None) -> str:
    """Return a workflow command of GitHub Actions, which shows it on the run's page, or beside the code at `place`."""
    at = f"file={_property(place[0])},line={place[1]}," if place else ""
    return f"::{level} {at}title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """A message as actions/toolkit escapes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def append(text: str, path: Path) -> None:
    """Append to a file that GitHub reads: the summary of the job, or the outputs of the step."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def is_at_work() -> bool:
    """Return True in a job of GitHub Actions, which reads what is printed."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


@dataclass(frozen=True)
class Forge:
    """A service's interface for programs, and how a job is known to it."""

    address: str
    headers: Mapping[str, str]

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "") -> Any:
        """Send a request and return the answer; raises UserError with the service's words if it refuses."""
        from urllib.error import HTTPError, URLError
        from urllib.request import Request, urlopen

        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "rnnbench", **self.headers}
        url = path if path.startswith(("http://", "https://")) else f"{self.address}/{path}"
        request = Request(url, data, headers, method=method or ("POST" if data else "GET"))
        try:
            with urlopen(request, timeout=SECONDS) as reply:
                return json.load(reply)
        except HTTPError as refusal:
            words = " ".join(refusal.read().decode(errors="replace").split())[:200]
            hint = "; does the token have the right to write comments?" if refusal.code in (401, 403, 404) else ""
            raise UserError(f"{url}: refused with {refusal.code}: {words}{hint}") from None
        except (URLError, TimeoutError, ValueError) as fault:
            raise UserError(f"{url}: no answer that can be used: {fault}") from None


def post(text: str, environment: Mapping[str, str]) -> str:
    """Post a comment, or replace one that begins with the same line and has the same author; return which.

    `environment`: the variables of a job of GitHub Actions or GitLab CI. Raises UserError if they name no pull request,
    or the text is not that of a check.
    """
    if not (marker := MARKER.match(text)):
        raise UserError("the first line is not the marker of a check; give the folder of a check, with its verdicts.md")
    if "GITHUB_REPOSITORY" in environment:
        return _on_github(text, marker.group(), environment)
    if "CI_PROJECT_ID" in environment:
        return _on_gitlab(text, marker.group(), environment)
    raise UserError("comments are for jobs of GitHub Actions and GitLab CI, whose variables are not set here")


def _on_github(text: str, marker: str, environment: Mapping[str, str]) -> str:
    api = environment.get("GITHUB_API_URL", "https://api.github.com")
    token = _needed(environment, "GITHUB_TOKEN", "set it to ${{ github.token }}")
    github = Forge(api, {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"})
    repository = environment["GITHUB_REPOSITORY"]
    event = json.loads(Path(_needed(environment, "GITHUB_EVENT_PATH", "GitHub sets it in each job")).read_text())
    number = _pull_request(github, repository, event)
    graphql = environment.get("GITHUB_GRAPHQL_URL", f"{api}/graphql")
    issues = f"repos/{repository}/issues"
    for comment in _github_comments(github, graphql, repository, number):
        if comment["viewerDidAuthor"] and comment["body"].startswith(marker):
            github.ask(f"{issues}/comments/{comment['databaseId']}", {"body": text}, "PATCH")
            return f"replaced the comment on #{number}"
    github.ask(f"{issues}/{number}/comments", {"body": text})
    return f"commented on #{number}"


def _pull_request(github: Forge, repository: str, event: Mapping[str, Any]) -> int:
    """The number of the pull request that a job is about.

    A job that another workflow has started knows only the commit: no file of that workflow is asked, since a pull
    request's code could have written it.
    """
    from urllib.parse import quote

    if "pull_request" in event:
        return int(event["pull_request"]["number"])
    if run := event.get("workflow_run"):
        head = quote(f"{run['head_repository']['owner']['login']}:{run['head_branch']}")
        for pull in github.ask(f"repos/{repository}/pulls?state=open&head={head}"):
            if pull["head"]["sha"] == run["head_sha"]:
                return int(pull["number"])
        raise UserError("no open pull request has the commit that was checked, so there is nothing to comment on")
    raise UserError("this job is about no pull request, so there is nothing to comment on")


def _github_comments(github: Forge, graphql: str, repository: str, number: int) -> Iterator[Mapping[str, Any]]:
    owner, _, name = repository.partition("/")
    after = None
    while True:
        variables = {"owner": owner, "name": name, "number": number, "after": after}
        answer = github.ask(graphql, {"query": COMMENTS, "variables": variables})
        if "errors" in answer:
            raise UserError(f"{graphql}: {answer['errors'][0]['message']}")
        comments = answer["data"]["repository"]["pullRequest"]["comments"]
        yield from comments["nodes"]
        if not comments["pageInfo"]["hasNextPage"]:
            return
        after = comments["pageInfo"]["endCursor"]


def _on_gitlab(text: str, marker: str, environment: Mapping[str, str]) -> str:
    token = _needed(environment, "GITLAB_TOKEN", "make a project access token with the scope api, and a CI variable")
    gitlab = Forge(environment["CI_API_V4_URL"], {"PRIVATE-TOKEN": token})
    number = _needed(environment, "CI_MERGE_REQUEST_IID", "run the job for merge requests (rules)")
    notes = f"projects/{environment['CI_PROJECT_ID']}/merge_requests/{number}/notes"
    author, page = gitlab.ask("user")["id"], 0
    while True:
        page += 1
        found = gitlab.ask(f"{notes}?per_page={PAGE}&page={page}")
        for note in found:
            if note["author"]["id"] == author and note["body"].startswith(marker):
                gitlab.ask(f"{notes}/{note['id']}", {"body": text}, "PUT")
                return f"replaced the comment on !{number}"
        if len(found) < PAGE:
            break
    gitlab.ask(notes, {"body": text})
    return f"commented on !{number}"


def _needed(environment: Mapping[str, str], name: str, remedy: str) -> str:
    if not environment.get(name):
        raise UserError(f"${name} is not set; {remedy}")
    return environment[name]
