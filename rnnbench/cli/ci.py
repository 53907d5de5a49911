"""`rnnbench ci`: what a job of a CI service does with the folders of checks."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import FILE, TEXT
from rnnbench.errors import UserError
from rnnbench.text import plural

if TYPE_CHECKING:
    from rnnbench.store.run_info import RunInfo


@click.group(short_help="Post the verdicts of a check; remove old checks.")
def ci() -> None:
    """What a job of a CI service does with the folders of checks.

    \b
    Examples:
      rnnbench ci comment results/ci-check-20260101T120000Z-ab12
      rnnbench ci trim results
    """


@ci.command(short_help="Comment on the pull request with a check's verdicts.")
@click.argument("check", metavar="CHECK|DIR", type=FILE)
@click.option(
    "--label",
    type=TEXT,
    metavar="TEXT",
    help="Tells this comment from that of another check of the suite, such as one with another Python.",
)
def comment(check: Path, label: str | None) -> None:
    """Post the verdicts of CHECK, or of the newest check in DIR, on the pull request that the job is about.

    A later check replaces the comment. This works in GitHub Actions ($GITHUB_TOKEN, with pull-requests: write) and in
    GitLab CI ($GITLAB_TOKEN, with the scope api). A check without verdicts gives no comment.

    \b
    Examples:
      rnnbench ci comment results/ci-check-20260101T120000Z-ab12
      rnnbench ci comment results --label 'Python 3.13'
    """
    from rnnbench.report.verdicts.ci import post

    if not check.is_dir():
        raise UserError(f"{check}: no such folder; give the folder of a check, or one with checks")
    file = check / "verdicts.md"
    if not file.exists() and (checks := checks_in(check)):
        file = checks[-1][1] / "verdicts.md"
    if not file.exists():
        output.say(f"{file.parent}: no verdicts, so there is nothing to comment")
        return
    text = file.read_text(encoding="utf-8")
    if label:
        first, rest = text.split("\n", 1)
        text = f"{first.removesuffix(' -->')} {' '.join(label.replace('--', '-').split())} -->\n{label}\n\n{rest}"
    output.say(post(text, os.environ))


@ci.command(short_help="Remove the oldest checks in a folder.")
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--keep", type=click.IntRange(0), default=30, show_default=True, help="Checks of each suite to keep.")
def trim(folder: Path, keep: int) -> None:
    """Remove the oldest checks in DIR, by the time at which they began. Runs and all other files stay.

    A check's folder in which somebody else has put a file stays, too.

    \b
    Example:
      rnnbench ci trim results --keep 30
    """
    from rnnbench.store.folder import is_record

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one with checks, such as results")
    by_suite: dict[str, list[Path]] = {}
    for info, check in checks_in(folder):
        by_suite.setdefault(info.suite, []).append(check)
    old = [check for checks in by_suite.values() for check in checks[: len(checks) - keep]]
    own = [check for check in old if all(map(is_record, filter(Path.is_file, check.rglob("*"))))]
    for check in own:
        shutil.rmtree(check)
    for check in sorted(set(old) - set(own)):
        output.tell(f"{check}: it holds files that rnnbench did not make, so it stays")
    output.say(f"{plural(len(own), 'check')} removed from {folder}")


def checks_in(folder: Path) -> "list[tuple[RunInfo, Path]]":
    """Return the checks in a folder, the oldest first; says which can't be read."""
    from rnnbench.store.folder import dated, is_check

    faults: list[str] = []
    checks = dated((path for path in folder.iterdir() if is_check(path) and not path.is_symlink()), faults)
    for fault in faults:
        output.tell(fault)
    return checks
