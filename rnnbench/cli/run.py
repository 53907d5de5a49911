"""`rnnbench run`."""

import shlex
import sys
from pathlib import Path

import click

from rnnbench.cli.options import Percent, Seconds, device_option, only_option, out_option, suite_argument, yes_option
from rnnbench.errors import UserError, printable


@click.command()
@suite_argument
@out_option
@only_option
@device_option
@click.option("--precision", type=Percent(), help="Add replicates until every ratio's 95% interval is +- this: 2%.")
@click.option("--budget", type=Seconds(), help="Stop adding replicates when this much time is spent: 90s, 5m, 1h.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with this run of SUITE.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each case instead of the table.")
@yes_option
def run(
    suite: str,
    out: Path,
    only: tuple[str, ...],
    device: str | None,
    precision: float | None,
    budget: float | None,
    resume: Path | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Measure SUITE (a file, or the name of a shipped one) and print each case's time and ratio to torch.nn.

    \b
    Example:
      rnnbench run quick --only 'cell=lstm phase=training' --budget 30s
    """
    from rnnbench import suites
    from rnnbench.measure.session import NoDevice, resume_run, run_suite
    from rnnbench.report.progress import shown_progress

    if resume is not None and (only or device):
        raise click.UsageError("--resume goes on with the run's own cases; leave out --only and --device")
    chosen = suites.read(suite)
    groups = chosen.groups(suites.parse_only(only), device, most=None if yes else suites.MOST_CASES)
    asked = {"precision": precision, "budget_seconds": budget}
    settings = chosen.settings.model_copy(update={name: value for name, value in asked.items() if value is not None})
    command = shlex.join(["rnnbench", *sys.argv[1:]])
    try:
        with shown_progress() as on_progress:
            if resume is not None:
                resume_run(resume, chosen, settings, command=command, on_progress=on_progress)
            folder = resume or run_suite(chosen, groups, settings, out=out, command=command, on_progress=on_progress)
    except NoDevice as missing:
        if device is not None:
            raise UserError(f"--device {device}: {missing}") from None
        click.echo(f"rnnbench: {chosen.name} is skipped: {missing}")
        return
    _print_run(folder, as_json=as_json)
    click.echo(f"{folder}", err=as_json)


def _print_run(folder: Path, *, as_json: bool) -> None:
    from rnnbench import load, summarize
    from rnnbench.store.folder import read_info

    frame = load(folder)
    summary = summarize(frame)
    if as_json:
        click.echo(summary.to_json(orient="records", lines=True), nl=False)
        return
    from rich.console import Console

    from rnnbench.analysis.noise import noise
    from rnnbench.report import noise as noise_sentence
    from rnnbench.report import terminal
    from rnnbench.report.verdicts.github import without_commands

    info = read_info(folder)
    with without_commands(click.echo):
        Console().print(terminal.render(summary, info))
        click.echo("\n".join([noise_sentence.render(noise(frame)), *map(printable, info.notes)]))
