"""`rnnbench ci`: what a job of a CI service does with the folders of checks."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import PATH_TYPE, TEXT_TYPE, Command
from rnnbench.errors import UserError

if TYPE_CHECKING:
    from rnnbench.report.verdicts.verdicts import Verdicts
    from rnnbench.store.run_info import RunInfo

ARTIFACT = "rnnbench-check_"  # begins the names of artifacts with checks
ADDRESS = re.compile(r"https?://[^\s()<>]+")


@click.group(short_help="Print a pull request's comment; choose the base of a push.")
def ci() -> None:
    """Commands for CI jobs that read the folders of checks.

    \b
    Examples:
      rnnbench ci comment results/ci-check-20260101T120000Z-ab12
      rnnbench ci base results

    \b
    Exit codes: 0 printed, or there is nothing to print; 2 wrong usage, or a check can't be read.
    """


@ci.command(cls=Command, short_help="Print the comment on a pull request.")
@click.argument("checks", metavar="CHECK|DIR...", type=PATH_TYPE, nargs=-1, required=True)
@click.option(
    "--name",
    type=TEXT_TYPE,
    default="performance",
    show_default=True,
    help="Name in the comment's invisible first line, by which a job finds the comment to replace.",
)
@click.option("--head", type=TEXT_TYPE, help="Name of the head in the comment.  [default: the check's]")
@click.option("--run", type=TEXT_TYPE, metavar="URL", help="Address of the job that ran the check, as a link.")
def comment(checks: tuple[Path, ...], name: str, head: str | None, run: str | None) -> None:
    """Print the comment on a pull request as Markdown: the verdicts of each CHECK, or of the newest check in DIR.

    The comment is made from `verdicts.json` alone, without its links and mentions, so a job with a token that can write
    may post what another job has checked. Nothing is printed if no check has verdicts.

    \b
    Examples:
      rnnbench ci comment results/ci-check-20260101T120000Z-ab12
      rnnbench ci comment downloaded/*/ --head 'my-branch at 5e6f7a8'

    \b
    Exit codes: 0 printed, or there is nothing to print; 2 wrong usage, or a check can't be read (the others are
    printed).
    """
    from rnnbench.report.verdicts import outputs
    from rnnbench.report.words.names import one_line

    if run and not ADDRESS.fullmatch(run):
        raise click.BadParameter("must be an address that begins with http:// or https://", param_hint="--run")
    verdicts_by_check: list[tuple[str, Verdicts]] = []
    faults: list[str] = []
    for check in checks:
        try:
            verdicts = verdicts_in(check)
        except UserError as fault:
            faults.append(str(fault))
            continue
        if verdicts is not None and head is not None:
            verdicts = replace(verdicts, head=one_line(head))
        if verdicts is None:
            output.tell(f"{check}: no verdicts, so there is nothing to comment")
        else:
            verdicts_by_check.append((check.name.removeprefix(ARTIFACT), verdicts))
    if verdicts_by_check:
        output.write(outputs.comment(verdicts_by_check, name, run or ""))
    if faults:
        raise UserError("\n".join(faults))


def verdicts_in(folder: Path) -> "Verdicts | None":
    """Return the verdicts of a check, or of the newest check in a folder; None if it has none.

    Raises UserError if there is no such folder, or if the verdicts can't be read.
    """
    from rnnbench.report.verdicts.verdicts import read_verdicts

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of a check, or one with checks")
    verdicts = read_verdicts(folder)
    if verdicts is None and (checks := checks_in(folder)):
        verdicts = read_verdicts(checks[-1][1])
    return verdicts


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


def checks_in(folder: Path) -> "list[tuple[RunInfo, Path]]":
    """Return the checks in a folder, the oldest first; says which can't be read."""
    from rnnbench.store.folder import dated, is_check

    faults: list[str] = []
    checks = dated((path for path in folder.iterdir() if is_check(path) and not path.is_symlink()), faults)
    for fault in faults:
        output.tell(fault)
    return checks
