"""`rnnbench ci`: what a job of a CI service does with the folders of checks."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from rnnbench.cli import output
from rnnbench.cli.options import PATH_TYPE, TEXT_TYPE
from rnnbench.errors import UserError
from rnnbench.text import plural

if TYPE_CHECKING:
    from rnnbench.report.verdicts.verdicts import Verdicts
    from rnnbench.store.run_info import RunInfo

REQUEST_SECONDS = 30.0  # timeout of a request
ARTIFACT = "rnnbench-check_"  # begins the names of artifacts with checks
COMMENTS_PER_PAGE = 100  # comments in one answer, the most that GitHub and GitLab give
RIGHTS = "does the token have the right to write comments?"
# What to do about a refusal, by its status.
HINTS = {
    401: "is the token still valid?",
    403: RIGHTS,
    404: RIGHTS,
    422: "the service does not accept the text of the comment",
    429: "too many requests: run the job again later",
}


@click.group(short_help="Post the verdicts of a check; remove old checks.")
def ci() -> None:
    """What a job of a CI service does with the folders of checks.

    \b
    Examples:
      rnnbench ci comment results/ci-check-20260101T120000Z-ab12
      rnnbench ci trim results

    \b
    Exit codes: 0 done, or nothing to do; 2 wrong usage, or it could not be done.
    """


@ci.command(short_help="Comment on the pull request with a check's verdicts.")
@click.argument("checks", metavar="CHECK|DIR...", type=PATH_TYPE, nargs=-1, required=True)
@click.option(
    "--label",
    type=TEXT_TYPE,
    metavar="TEXT",
    help="Tells this comment from that of another check of the suite, such as one with another Python.",
)
@click.option(
    "--name",
    type=TEXT_TYPE,
    metavar="NAME",
    help="Post one comment of this name on all CHECKs, whatever suites they name: for checks of another job.",
)
def comment(checks: tuple[Path, ...], label: str | None, name: str | None) -> None:
    """Post the verdicts of CHECK, or of the newest check in DIR, on the pull request that the job is about.

    A later check replaces the comment: that of its suite and --label, or with --name that of this name. This works in
    GitHub Actions ($GITHUB_TOKEN, with pull-requests: write) and in GitLab CI ($GITLAB_TOKEN, with the scope api). The
    comment is made from `verdicts.json`; there is none if no check has verdicts, or if the pull request was closed or
    has newer commits.

    \b
    Examples:
      rnnbench ci comment results/ci-check-20260101T120000Z-ab12
      rnnbench ci comment results --label 'Python 3.13'
      rnnbench ci comment downloaded/*/ --name performance

    \b
    Exit codes: 0 commented, or there is nothing to comment; 2 wrong usage, or it could not be read or posted.
    """
    from rnnbench.report.verdicts import outputs

    if name is None and len(checks) > 1:
        raise UserError("one comment on several checks needs a name: --name NAME")
    if name is not None and label is not None:
        raise UserError("--label tells apart the comments of one suite; leave it out beside --name")
    verdicts_by_check: list[tuple[str, Verdicts]] = []
    faults: list[str] = []
    for check in checks:
        try:
            verdicts = verdicts_in(check)
        except UserError as fault:
            faults.append(str(fault))
            continue
        if verdicts is None:
            output.say(f"{check}: no verdicts, so there is nothing to comment")
        else:
            verdicts_by_check.append((check.name.removeprefix(ARTIFACT), verdicts))
    if name is not None and verdicts_by_check:
        output.say(post(outputs.comment_on_all(verdicts_by_check, name), os.environ))
    elif verdicts_by_check:
        [(_, verdicts)] = verdicts_by_check
        output.say(post(outputs.comment(verdicts, label or ""), os.environ))
    if faults:
        raise UserError("\n".join(faults))


def verdicts_in(folder: Path) -> "Verdicts | None":
    """Return the verdicts of a check, or of the newest check in a folder; None if it has none.

    Raises UserError if there is no such folder, or if the verdicts can't be read.
    """
    from rnnbench.report.verdicts.verdicts import read as read_verdicts

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of a check, or one with checks")
    verdicts = read_verdicts(folder)
    if verdicts is None and (checks := checks_in(folder)):
        verdicts = read_verdicts(checks[-1][1])
    return verdicts


class RefusedRequest(UserError):
    """A service refused a request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Discussion:
    """The comments on a pull request, and how its service lets a job write them."""

    api: str
    headers: Mapping[str, str]
    comments: str  # address of all
    comment: str  # address of one, without its number
    method: str  # that replaces one
    author: str  # key of the one who wrote a comment
    name: str  # of the pull request: `#7` or `!7`

    @cached_property
    def _user(self) -> int | None:
        """The number of the user whose token it is; None for that of an app, such as a job's in GitHub Actions."""
        try:
            return int(_ask(f"{self.api}/user", self.headers)["id"])
        except RefusedRequest as refusal:
            if refusal.status not in (403, 404):
                raise
            return None

    def is_own(self, comment: Mapping[str, Any]) -> bool:
        """Return whether the owner of the token wrote a comment; anybody may write one that begins with the marker."""
        author = comment.get(self.author) or {}
        return author.get("type") == "Bot" if self._user is None else author.get("id") == self._user


def post(text: str, environment: Mapping[str, str]) -> str:
    """Post a comment, or replace an earlier one of this user that begins with the same line; returns which it did.

    `environment`: the variables of a job of GitHub Actions or GitLab CI. Raises UserError if they name no pull request,
    or the service refuses.
    """
    discussion = _discussion(environment)
    if discussion is None:
        return "the pull request was closed or has newer commits, so there is nothing to comment"
    marker = text.partition("\n")[0]
    for comment in _every(discussion.comments, discussion.headers):
        if comment["body"].partition("\n")[0].rstrip("\r") == marker and discussion.is_own(comment):
            address = f"{discussion.comment}/{comment['id']}"
            _ask(address, discussion.headers, {"body": text}, discussion.method)
            return f"replaced the comment on {discussion.name}"
    _ask(discussion.comments, discussion.headers, {"body": text}, "POST")
    return f"commented on {discussion.name}"


def _discussion(environment: Mapping[str, str]) -> Discussion | None:
    """Return the comments of the pull request that a job is about; None if it was closed or has newer commits."""
    if "GITHUB_REPOSITORY" in environment:
        api = environment.get("GITHUB_API_URL", "https://api.github.com")
        token = _variable(environment, "GITHUB_TOKEN", "set it to ${{ github.token }}")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        repository = f"{api}/repos/{environment['GITHUB_REPOSITORY']}"
        event = json.loads(Path(_variable(environment, "GITHUB_EVENT_PATH", "GitHub sets it in each job")).read_text())
        number = _pull_request(repository, headers, event)
        if number is None:
            return None
        comments = f"{repository}/issues/{number}/comments"
        return Discussion(api, headers, comments, f"{repository}/issues/comments", "PATCH", "user", f"#{number}")
    if "CI_PROJECT_ID" in environment:
        token = _variable(
            environment, "GITLAB_TOKEN", "make a project access token with the scope api, and a CI variable"
        )
        name = _variable(environment, "CI_MERGE_REQUEST_IID", "run the job for merge requests (rules)")
        api = environment["CI_API_V4_URL"]
        notes = f"{api}/projects/{environment['CI_PROJECT_ID']}/merge_requests/{name}/notes"
        return Discussion(api, {"PRIVATE-TOKEN": token}, notes, notes, "PUT", "author", f"!{name}")
    raise UserError("comments are for jobs of GitHub Actions and GitLab CI, whose variables are not set here")


def _every(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """Yield the members of a list that the service gives page by page."""
    for page in count(1):
        members = _ask(f"{url}?per_page={COMMENTS_PER_PAGE}&page={page}&sort=asc", headers)
        yield from members
        if len(members) < COMMENTS_PER_PAGE:
            return


def _pull_request(repository: str, headers: Mapping[str, str], event: Mapping[str, Any]) -> int | None:
    """Return the number of the pull request that a job is about; None if it was closed or has newer commits.

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
    return None


def _ask(url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None, method: str = "GET") -> Any:
    """Send a request and return the answer; raises UserError with the service's words if it refuses."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    data = None if body is None else json.dumps(body).encode()
    all_headers = {"Content-Type": "application/json", "User-Agent": "rnnbench", **headers}
    try:
        with urlopen(Request(url, data, all_headers, method=method), timeout=REQUEST_SECONDS) as reply:
            return json.load(reply)
    except HTTPError as refusal:
        words = " ".join(refusal.read().decode(errors="replace").split())[:200]
        hint = HINTS.get(refusal.code, "the service has a fault: run the job again later")
        raise RefusedRequest(f"{url}: refused with {refusal.code}: {words}; {hint}", refusal.code) from None
    except (OSError, ValueError) as fault:
        raise UserError(f"{url}: no answer that can be used: {fault}") from None


def _variable(environment: Mapping[str, str], name: str, remedy: str) -> str:
    """Return the value of an environment variable; raises UserError with the remedy if it is not set."""
    if not environment.get(name):
        raise UserError(f"${name} is not set; {remedy}")
    return environment[name]


@ci.command(short_help="Print the commit that a push is compared with.")
@click.argument("folder", metavar="DIR", type=PATH_TYPE)
def base(folder: Path) -> None:
    """Print the commit of the last check in DIR that decided all of its cases, and in words which check that is.

    The parent of HEAD must contain the commit. A check that found a regression has decided; one that ended with exit
    code 2 never counts. If no check decided all cases, it is the base of the oldest one, so that what stayed undecided
    is compared again. Prints nothing if there is no such check.

    \b
    Example:
      rnnbench ci base results

    \b
    Exit codes: 0 printed, or there is nothing to print; 2 wrong usage.
    """
    decided = ""
    undecided = ""
    for _, check in checks_in(folder) if folder.is_dir() else []:
        try:
            verdicts = verdicts_in(check)
            compared, head = [_commit_in_reach(check / side) for side in ("base", "head")]
        except UserError as fault:
            output.tell(str(fault))
            continue
        if not head or verdicts is None or verdicts.exit_code() == 2:
            continue
        if verdicts.is_decided:
            decided = head
        elif not undecided:
            undecided = compared or head
    if decided:
        output.say(f"{decided} {decided[:7]}, the last commit whose check decided all cases")
    elif undecided:
        output.say(f"{undecided} {undecided[:7]}, the base of the oldest check, since none decided all cases")


def _commit_in_reach(run: Path) -> str:
    """Return the commit that a side of a check has measured; empty if the parent of HEAD does not contain it."""
    from rnnbench.harness.machine import git
    from rnnbench.store.folder import read_info

    commit = (read_info(run).environment.get("git") or {}).get("commit", "")
    return commit if commit and git.merge_base(Path(), commit, "HEAD^1") == commit else ""


@ci.command(short_help="Remove the oldest checks in a folder.")
@click.argument("folder", metavar="DIR", type=PATH_TYPE)
@click.option("--keep", type=click.IntRange(0), default=30, show_default=True, help="Checks of each suite to keep.")
def trim(folder: Path, keep: int) -> None:
    """Remove the oldest checks in DIR, by the time at which they began. Runs and all other files stay.

    A check's folder in which somebody else has put a file stays, too.

    \b
    Example:
      rnnbench ci trim results --keep 30

    \b
    Exit codes: 0 removed, or nothing to remove; 2 wrong usage, or there is no such folder.
    """
    from rnnbench.store.folder import is_record

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one with checks, such as results")
    by_suite: dict[str, list[Path]] = {}
    for info, check in checks_in(folder):
        by_suite.setdefault(info.suite, []).append(check)
    old = [check for checks in by_suite.values() for check in checks[: len(checks) - keep]]
    removable = [check for check in old if all(map(is_record, filter(Path.is_file, check.rglob("*"))))]
    for check in removable:
        shutil.rmtree(check)
    for check in sorted(set(old) - set(removable)):
        output.tell(f"{check}: it holds files that rnnbench did not make, so it stays")
    output.say(f"{plural(len(removable), 'check')} removed from {folder}")


def checks_in(folder: Path) -> "list[tuple[RunInfo, Path]]":
    """Return the checks in a folder, the oldest first; says which can't be read."""
    from rnnbench.store.folder import dated, is_check

    faults: list[str] = []
    checks = dated((path for path in folder.iterdir() if is_check(path) and not path.is_symlink()), faults)
    for fault in faults:
        output.tell(fault)
    return checks
