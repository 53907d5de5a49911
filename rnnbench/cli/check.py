"""`rnnbench check` and `rnnbench compare`: did it become slower?"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import (
    DURATION_TYPE,
    OF_CELLS,
    PATH_TYPE,
    TEXT_TYPE,
    Command,
    refuse_unseen,
    takes,
    takes_suite,
    typed_command,
    writes_into,
)
from rnnbench.project import module_folders

if TYPE_CHECKING:
    from rnnbench.analysis.comparison import Comparison, OnGrowth, OnUndecided
    from rnnbench.analysis.decide import Gate
    from rnnbench.check.counting import InstructionsMode
    from rnnbench.check.live import CheckOptions
    from rnnbench.check.sides import Side
    from rnnbench.report.verdicts.verdicts import Verdicts
    from rnnbench.store.records import Case
    from rnnbench.suite.suites import Suite


@click.command(cls=Command, short_help="Did SUITE become slower than at a base?")
@takes_suite
@click.option(
    "--base",
    type=TEXT_TYPE,
    metavar="REV|DIR",
    help="The git revision or folder to compare with. Both sides are measured now.",
)
@click.option("--base-python", type=TEXT_TYPE, metavar="PY", help="Interpreter (or virtual environment) of the base.")
@takes("only")
@click.option("--budget", type=DURATION_TYPE, help="Time for the whole check.  [default: the suite's, or 120s]")
@takes("device", "margin", "on-growth", "on-undecided")
@click.option("--all", "everything", is_flag=True, help="Also time cases that run the same code on both sides.")
@click.option(
    "--instructions",
    type=click.Choice(["show", "gate"]),
    is_flag=False,
    flag_value="show",
    help="Also count instructions. With --instructions=gate, a case that takes more of them has regressed.",
)
@takes("source", "out", *OF_CELLS, "json")
@click.option(
    "--base-name", type=TEXT_TYPE, metavar="TEXT", help="Name of the base in all output.  [default: the revision]"
)
@click.pass_context
def check(
    context: click.Context,
    suite: "Suite",
    base: str | None,
    base_python: str | None,
    base_name: str | None,
    sources: tuple[str, ...],
    only: tuple[str, ...],
    device: str | None,
    margin: float | None,
    budget: float | None,
    everything: bool,
    instructions: "InstructionsMode | None",
    on_growth: "OnGrowth",
    out: Path,
    on_undecided: "OnUndecided | None",
    as_json: bool,
) -> None:
    """Did SUITE become slower? Compares the working tree (head) with a revision, a folder or an interpreter (base).

    If a base revision lacks SUITE or the files of its cells, it gets those of the head, and the check says so.

    Only cases that may run changed code are timed. The others run the same code on both sides and are `unchanged`.

    Instructions show changes that are too small for a clock. Counting them takes time after --budget.

    A regression that the team has accepted does not fail the check: `accepted.toml` beside SUITE names its case (as
    --only does), its commit and the reason.

    \b
    Examples:
      rnnbench check ci --base main --budget 2m
      rnnbench check mine.toml --base-python old-torch/ --only cell=lstm
      rnnbench check ci --base main --instructions
      rnnbench check packages/rnn/bench.toml --base main --source packages/core/src

    \b
    Exit codes: 0 nothing regressed, or every regression is accepted; 1 a case regressed; 2 wrong usage or the check
    could not work (one line on standard error says why, and there is no verdict), or a case can't be compared
    (its verdict says why); 3 cases were timed and none of them is decided (0 with --on-undecided pass), or with
    --on-undecided fail: a case is undecided, or SUITE is new.
    """
    from rnnbench.check.live import CheckOptions
    from rnnbench.check.sides import NewSuite, sides
    from rnnbench.harness.accepted import Accepted
    from rnnbench.harness.machine import git
    from rnnbench.suite.expressions import parse_only

    if base is None and base_python is None:
        raise click.UsageError("Missing --base (REV or DIR) or --base-python")
    accepted = Accepted.of_suite(suite)  # first, so that a fault in it costs no check
    refuse_unseen(device)
    suite = suite.with_check(margin=margin, budget_seconds=budget)
    gates: frozenset[Gate] = frozenset({"growth"}) if on_growth == "fail" else frozenset()
    options = CheckOptions(instructions, everything, gates, command=typed_command())
    if base and (Path(base) / "run.json").is_file():
        raise click.UsageError(f"{base} is a stored run: `rnnbench compare` compares two of them")
    expression = parse_only(only, "--only", arguments=suite.arguments)
    try:
        with sides(suite, base, base_python, sources, base_name=base_name) as (before, head):
            first = replace(before, suite=before.suite.with_check(margin=margin, budget_seconds=budget))
            commit = git.head(first.tree) if first.tree else None
            options = replace(options, accepted=accepted.change(commit))
            folder, comparison = _checked_live((first, head), expression, device, out, options)
    except NewSuite as new:  # the pull request that adds a suite must be able to pass
        output.tell(str(new))
        context.exit(3 if on_undecided == "fail" else 0)
    verdicts = _publish(comparison, folder, suite=suite.file, as_json=as_json)
    context.exit(verdicts.exit_code(on_undecided=on_undecided))


def _checked_live(
    pair: "tuple[Side, Side]",
    only: Mapping[str, Sequence[str]],
    device: str | None,
    out: Path,
    options: "CheckOptions",
) -> tuple[Path, "Comparison"]:
    """Check the selected cases of two sides in turns."""
    from rnnbench.check import live
    from rnnbench.check.sides import select
    from rnnbench.report.screen.progress import shown_progress

    with shown_progress() as on_progress:
        base, head = pair
        groups, others = select(base, head, only, device)
        return live.check(base, head, groups, others, out=out, on_progress=on_progress, options=options)


@click.command(cls=Command, short_help="Did it become slower from one stored run to another?")
@click.argument("base", metavar="BASE_RUN", type=PATH_TYPE)
@click.argument("head", metavar="HEAD_RUN", type=PATH_TYPE)
@takes("margin")
@writes_into("the verdicts, in a new subfolder", shown_default="none")
@takes("on-undecided", "json")
@click.pass_context
def compare(
    context: click.Context,
    base: Path,
    head: Path,
    margin: float | None,
    out: Path | None,
    on_undecided: "OnUndecided | None",
    as_json: bool,
) -> None:
    """Compare two stored runs, by each case's ratio to its reference in the same run, such as a torch.nn layer.

    \b
    Examples:
      rnnbench compare results/quick-20260101T120000Z-ab12 results/quick-20260102T120000Z-cd34
      rnnbench compare nightly/ results/quick-20260102T120000Z-cd34 --out results

    \b
    Exit codes: 0 nothing regressed; 1 a case regressed; 2 wrong usage, or the runs can't be
    compared; 3 with --on-undecided fail: a case is undecided.
    """
    from rnnbench.check.compare_files import compare_files
    from rnnbench.store.folder import dated_folder

    comparison = compare_files(base, head, margin=margin)
    folder = None if out is None else dated_folder(out, "compare")
    verdicts = _publish(comparison, folder, suite=None, as_json=as_json)
    context.exit(verdicts.exit_code(on_undecided=on_undecided))


def _publish(
    comparison: "Comparison",
    folder: Path | None,
    *,
    suite: Path | None,
    as_json: bool,
) -> "Verdicts":
    """Write the verdicts into a folder, if there is one, and into GitHub's summary, then print and return them.

    The files come first, so that they exist even if nobody reads standard output any more.
    """
    from rnnbench.report.verdicts import outputs
    from rnnbench.report.verdicts.verdicts import verdicts_of

    verdicts = verdicts_of(comparison)
    try:
        if folder is not None:
            outputs.write_files(verdicts, folder)
        texts = {
            "GITHUB_STEP_SUMMARY": outputs.markdown(verdicts),
            "GITHUB_OUTPUT": "" if folder is None else f"check={folder}\n",
        }
        for variable in (name for name, text in texts.items() if text and os.environ.get(name)):
            try:
                with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
                    file.write(texts[variable])
            except OSError as fault:  # the verdict stands without it
                output.tell(f"${variable} can't be written: {fault.filename}: {fault.strerror or fault}")
    finally:  # if the files can't be written, the verdicts are shown before the error
        if as_json:
            output.write(verdicts.json_lines())
        else:
            output.show(outputs.VerdictScreen(verdicts))
        if folder is not None:
            output.say_path(folder, err=as_json)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            root = Path(os.environ.get("GITHUB_WORKSPACE", ".")).resolve()
            where = (lambda case: None) if suite is None else partial(place_of, suite=suite, root=root)
            # GitHub reads them from standard output; if that holds JSON, they go to standard error.
            (output.note if as_json else output.say)("\n".join(outputs.annotations(verdicts, where)))
    return verdicts


def place_of(case: "Case", suite: Path, root: Path) -> tuple[str, int] | None:
    """Return the file and the line of a case's class, or the suite's first line; None if it is outside `root`."""
    where, _, name = str(case.axes().get("cell", "")).partition("(")[0].partition(":")
    files = [suite.parent / where]
    if not where.endswith(".py"):  # a package may take the class from any of its modules
        tops = [folder / where.replace(".", "/") for folder in module_folders(suite.parent, root)]
        files = [file for top in tops for file in (top.with_suffix(".py"), *sorted(top.rglob("*.py")))]
    for file in [file.resolve() for file in files if name and file.is_file()]:
        text = file.read_text(errors="replace")
        definition = re.search(rf"^(class|def) {name}\b", text, re.MULTILINE)
        if definition and file.is_relative_to(root):
            return file.relative_to(root).as_posix(), 1 + text.count("\n", 0, definition.start())
    return (suite.resolve().relative_to(root).as_posix(), 1) if suite.resolve().is_relative_to(root) else None
