"""The command line: parse, call, print. Heavy imports stand inside the commands, so that `--help` is quick."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from rnnbench import __version__
from rnnbench.errors import Interrupted, UserError

only_option = click.option(
    "--only", multiple=True, metavar="EXPR", help="Keep these values of the axes: 'cell=lstm,gru hidden_size=256'."
)
device_option = click.option(
    "--device", metavar="NAME", help="Measure on this device instead of the suite's: cpu, cuda."
)
yes_option = click.option("--yes", is_flag=True, help="Go on with more than 20,000 cases.")


class Percent(click.ParamType[float]):
    """A share: `2%` or `0.02`."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A fraction from text; a click usage error where it is none between 0 and 100%."""
        match = re.fullmatch(r"(\d*\.?\d+)(%?)", str(value))
        share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
        if not 0 < share < 1:
            self.fail(f"{value!r} is not a share; want for example 2% or 0.02", param, ctx)
        return share


class Seconds(click.ParamType[float]):
    """A duration: `90`, `90s`, `5m` or `1h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds from text; a click usage error where it is no duration."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value))
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a duration; want for example 90s, 5m or 1h", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rnnbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """How far is a hand-written recurrent cell from torch.nn, and did a commit make it slower?

    \b
    Start with:
      rnnbench run quick
      rnnbench report results/quick-*
    """


def main() -> None:
    """Run the command line; errors are one or two lines on standard error, and exit code 2."""
    debug = "--debug" in sys.argv[1:]
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("rnnbench: interrupted", err=True)
        sys.exit(130)
    except Interrupted as interrupted:
        click.echo(f"rnnbench: interrupted; {interrupted}", err=True)
        sys.exit(130)
    except UserError as error:
        if debug:
            raise
        for line in str(error).splitlines():
            click.echo(f"rnnbench: {line}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; there is nobody to tell
        sys.exit(1)


@cli.command()
@click.argument("suite")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder for runs."
)
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


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report.  [default: reports/<run>]")
def report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write a report of each RUN (a folder below results/): one self-contained page, figures and tables.

    \b
    Example:
      rnnbench report results/quick-20260101T120000Z-ab12
    """
    from rnnbench import load, summarize
    from rnnbench.analysis.noise import noise
    from rnnbench.report.folder import write
    from rnnbench.store.folder import read_info

    if out is not None and len(runs) > 1:
        raise UserError("--out names one report; leave it out, or give one RUN")
    for path in runs:
        info = read_info(path)
        frame = load(path)
        click.echo(write(summarize(frame), noise(frame), info, out or Path("reports") / path.resolve().name))


@cli.command()
@click.option("--probe/--no-probe", "measured", default=True, help="Measure the noise, which takes some 15 seconds.")
def doctor(measured: bool) -> None:
    """Describe this machine, measure its noise, and say what to change before measuring.

    \b
    Example:
      rnnbench doctor --no-probe
    """
    from rnnbench.measure import environment
    from rnnbench.measure.doctor import advice, probe
    from rnnbench.report import noise as noise_sentence
    from rnnbench.report.progress import shown_progress
    from rnnbench.report.table_environment import lines

    found, told = environment.describe(Path()), []
    if measured:
        with shown_progress() as on_progress:
            found, noise = probe(on_progress)
        told.append(noise_sentence.render(noise))
    click.echo("\n".join([*lines(found), "", *told, *advice(found)]))


@cli.group("list")
def list_() -> None:
    """Show what there is before anything runs.

    \b
    Example:
      rnnbench list cases quick --only cell=gru
    """


@list_.command("suites")
def list_suites() -> None:
    """The suites that a bare name finds, with the number of their cases.

    \b
    Example:
      rnnbench list suites
    """
    from rnnbench import suites

    for name in suites.shipped():
        suite = suites.read(name)
        count = sum(len(group.cases) for group in suite.groups({}, None, most=None))
        click.echo(f"{name:<12} {count:>6,} cases  {suite.content.description}")


@list_.command("cells")
def list_cells() -> None:
    """The cells that rnnbench brings, and the torch.nn layer that each is timed against.

    \b
    Example:
      rnnbench list cells
    """
    from rnnbench.cells import CELLS
    from rnnbench.store.records import LAYERS

    for name, spec in CELLS.items():
        click.echo(f"{name:<14} {LAYERS[spec.reference]:<14} {spec.about}")


@list_.command("cases")
@click.argument("suite")
@only_option
@device_option
@yes_option
def list_cases(suite: str, only: tuple[str, ...], device: str | None, yes: bool) -> None:
    """The cases of SUITE, one a line; each line is an --only expression that selects it.

    \b
    Example:
      rnnbench list cases quick --only 'cell=gru batch_size=1'
    """
    from rnnbench import suites

    groups = suites.read(suite).groups(suites.parse_only(only), device, most=None if yes else suites.MOST_CASES)
    for group in groups:
        for case in group.cases:
            click.echo(case.key)


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

    info = read_info(folder)
    Console().print(terminal.render(summary, info))
    click.echo("\n".join([noise_sentence.render(noise(frame)), *info.notes]))
