"""`rnnbench run`, and the error for cases that a run did not measure."""

import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnnbench.cli import output
from rnnbench.cli.options import (
    DURATION_TYPE,
    OF_CELLS,
    PATH_TYPE,
    PERCENT_TYPE,
    REPEATED,
    TEXT_TYPE,
    Command,
    refuse_other_out,
    refuse_unseen,
    selected,
    takes,
    takes_suite,
    typed_command,
)
from rnnbench.errors import UserError
from rnnbench.text import as_budget, plural, printable

if TYPE_CHECKING:
    import pandas as pd

    from rnnbench.suite.suites import Suite

ACCEPT = "with --allow-missing this is no error"


@dataclass(frozen=True)
class Measuring:
    """How a suite is measured: in this process, or by Slurm's jobs."""

    progress: Callable[..., AbstractContextManager[Callable[..., None]]]  # shows how far the measurement is
    begin: Callable[..., Path]  # measures into a new folder
    go_on: Callable[..., None]  # resumes a run


@click.command(cls=Command, short_help="Measure SUITE or a cell: times, and ratios to torch.nn.")
@takes_suite
@takes("only")
@click.option(
    "--budget",
    type=DURATION_TYPE,
    help="Stop adding replicates when this much time is spent: 90s, 5m, 1h.  [default: the suite's]",
)
@click.option(
    "--precision",
    type=PERCENT_TYPE,
    help="Add replicates until each ratio's 95% interval is within this: 2%.  [default: the suite's]",
)
@takes("device")
@click.option("--full", "is_full", is_flag=True, help="Print every case, with peak memory and times the limit.")
@click.option("--resume", type=PATH_TYPE, metavar="RUN", help="Continue this run of SUITE.")
@takes("out", *OF_CELLS)
@click.option(
    "--executor",
    type=click.Choice(["local", "slurm"]),
    default="local",
    show_default=True,
    help="Measure in this command, or in jobs of Slurm.",
)
@click.option(
    "--slurm-option",
    "slurm_options",
    type=TEXT_TYPE,
    multiple=True,
    metavar="NAME=VALUE",
    help=f"An option of sbatch for each job, by its long name: partition=gpu. {REPEATED}  "
    "[default: a node, or a GPU of one]",
)
@click.option("--allow-missing", is_flag=True, help="Exit with 0 even if cases failed or none was measured.")
@takes("json")
@click.pass_context
def run(
    context: click.Context,
    suite: "Suite",
    out: Path,
    only: tuple[str, ...],
    device: str | None,
    precision: float | None,
    budget: float | None,
    executor: str,
    slurm_options: tuple[str, ...],
    resume: Path | None,
    allow_missing: bool,
    is_full: bool,
    as_json: bool,
) -> None:
    """Measure SUITE (a file, or the name of a shipped one) and print the ratios to torch.nn.

    Prints the medians over sizes, or every case if there are few or --full is given.

    A class without a suite, or a function that builds a module, is measured at the sizes of the suite `quick`.

    With --executor slurm, --budget and --precision apply to each job. The time limit of a Slurm job is the
    budget and a few minutes. All jobs must run on the same kind of machine and GPU as the first. A lost job is
    submitted again, at most twice.

    \b
    Examples:
      rnnbench run quick --only 'cell=lstm phase=training' --budget 30s
      rnnbench run lmu.py:LMUCell --reference lstm
      rnnbench run cpu --executor slurm --slurm-option partition=main --budget 10m

    \b
    Exit codes: 0 measured; 2 wrong usage, or a case failed or none was measured (0 with
    --allow-missing; the last line on standard error names the run); 130 interrupted: the measured
    cases are saved.
    """
    from rnnbench.harness.coordinator.session import NoDevice, resume_run, run_suite
    from rnnbench.report.screen.progress import shown_progress

    if executor == "local" and slurm_options:
        raise click.UsageError("--slurm-option is for --executor slurm")
    if resume is not None:
        refuse_other_out(context, resume, out)
        if only or device:
            raise click.UsageError("--resume goes on with the run's own cases; leave out --only and --device")
    groups = [] if resume else selected(suite, only, device)
    if executor != "slurm":
        refuse_unseen(device)
    limits = {"precision": precision, "budget_seconds": budget}
    changes = {name: value for name, value in limits.items() if value is not None}
    settings = suite.measure.with_changes(changes)
    how = Measuring(shown_progress, run_suite, partial(resume_run, settings=settings))
    if executor != "local":
        from rnnbench.slurm.sweep import resume_by_slurm, run_by_slurm

        start = partial(run_by_slurm, slurm_options=slurm_options)
        resume_jobs = partial(resume_by_slurm, slurm_options=slurm_options, changes=changes)
        how = Measuring(lambda: nullcontext(output.note), start, resume_jobs)
    try:
        with how.progress() as on_progress:
            if resume is None:
                folder = how.begin(suite, groups, settings, out=out, command=typed_command(), on_progress=on_progress)
            else:
                folder = resume
                how.go_on(folder, suite, command=typed_command(), on_progress=on_progress)
    except NoDevice as missing:
        if device is not None or not allow_missing:
            raise UserError(f"{suite.name}: {missing}{'' if device else f'; {ACCEPT}'}") from None
        (output.note if as_json else output.say)(f"rnnbench: {suite.name} is skipped: {missing}")
        return
    _print_run(folder, context.params, is_full=is_full, as_json=as_json, may_lack=allow_missing)


def _print_run(folder: Path, parameters: dict[str, Any], *, is_full: bool, as_json: bool, may_lack: bool) -> None:
    """Print a run's table, or its cases as JSON, then how to go on with it, how to make its page, and its path.

    Raises UserError if cases are missing, unless they may be. `parameters`: those of the command.
    """
    from rnnbench.analysis.run_times import read_run_times
    from rnnbench.analysis.summary import summarize
    from rnnbench.report import export
    from rnnbench.report.screen.terminal import RunScreen
    from rnnbench.store.folder import read_info

    summary = summarize(read_run_times(folder))
    info = read_info(folder)
    is_empty = not (summary["status"] == "measured").any()
    resume_command = None if info.seconds_needed is None else _go_on(folder, parameters, info.seconds_needed)
    if as_json:
        output.write(export.lines(summary))
        if resume_command:
            output.note(f"Continue: {resume_command}")
    elif may_lack or not is_empty:  # the error below says once that nothing was measured
        output.show(RunScreen(summary, info, is_full))
        for line in map(printable, map(str, info.notes)):
            output.say(output.on_terminal(line))
        if resume_command:
            output.say(f"Continue: {resume_command}")
        output.say(f"Page:     {printable(shlex.join(['rnnbench', 'report', str(folder)]))}")
    if as_json or not sys.stdout.isatty():  # a terminal has shown the path, programs read it
        output.say_path(folder, err=as_json)
    if not may_lack:
        refuse_missing(folder, summary, resume_command=resume_command)


def _go_on(folder: Path, parameters: dict[str, Any], seconds: float) -> str:
    """Return the command that goes on with a run for so many seconds."""
    words = ["rnnbench", "run", parameters["suite"]]
    words += [word for name in ("reference", "input") if parameters[name] for word in (f"--{name}", parameters[name])]
    words += ["--sequence"] if parameters["sequence"] else []
    words += [] if parameters["executor"] == "local" else ["--executor", parameters["executor"]]
    words += ["--resume", str(folder), "--budget", as_budget(seconds)]
    return printable(shlex.join(words))


def refuse_missing(
    folder: Path,
    summary: "pd.DataFrame",
    *,
    share: float = 1.0,
    some_may_fail: bool = False,
    resume_command: str | None = None,
) -> None:
    """Raise UserError if no case was measured, or, unless `some_may_fail`, if one failed or was given up.

    Beside measured cases, those that were skipped are no error, since they can't be measured. Neither are those that
    were not reached within the budget, which the user has chosen. `share`: of the command's budget that the run got;
    `resume_command`: the command that goes on with the run.
    """
    from rnnbench.store.folder import read_info
    from rnnbench.store.records import NOT_REACHED

    is_pending = (summary["status"] == "pending") & (summary["reason"] != NOT_REACHED)
    faulty = summary[(summary["status"] == "failed") | is_pending]
    skipped = summary[summary["status"] == "skipped"]
    if summary.empty or (summary["status"] == "measured").any():
        if len(faulty) and not some_may_fail:
            raise UserError(
                f"{folder}: {len(faulty)} of {plural(len(summary), 'case')} could not be measured; the first: "
                f"{faulty['reason'].iloc[0]}; {ACCEPT}"
            )
        return
    if faulty.empty and len(skipped) < len(summary):
        seconds = read_info(folder).seconds_needed
        larger = "a larger --budget" if seconds is None else f"--budget {as_budget(seconds / share)} or more"
        remedy = f"go on with: {resume_command}" if resume_command else f"give {larger}"
        raise UserError(f"{folder}: no case was measured within the budget; {remedy}")
    rows, what = (faulty, "could not be measured") if len(faulty) else (skipped, "were skipped")
    raise UserError(
        f"{folder}: no case was measured: {len(rows):,} of {len(summary):,} {what}; the first: {rows['reason'].iloc[0]}"
    )
