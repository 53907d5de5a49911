"""The command line: parse, call, print. Heavy imports stand inside the commands, so that `--help` is quick."""

import io
import sys
import traceback
from typing import NoReturn

import click

from rnnbench import interrupts
from rnnbench.cli import output
from rnnbench.cli.bisect import bisect
from rnnbench.cli.check import check, compare
from rnnbench.cli.ci import ci
from rnnbench.cli.doctor import doctor
from rnnbench.cli.export import export
from rnnbench.cli.fastest import fastest
from rnnbench.cli.listing import list_
from rnnbench.cli.new_cell import new_cell
from rnnbench.cli.profile import profile
from rnnbench.cli.report import report
from rnnbench.cli.run import run
from rnnbench.errors import Interrupted, UserError
from rnnbench.version import __version__

INTERRUPTED = 130  # exit code of a command that a signal ended


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rnnbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """How far is a hand-written recurrent cell from torch.nn, and did a commit make it slower?

    \b
    Start with:
      rnnbench run quick
      rnnbench report

    \b
    Exit codes: 0 done; 1 only of check and compare: something regressed; 2 wrong usage, or it
    failed; 3 undecided; 130 interrupted. The help of each command says what its codes mean.
    """


def main() -> None:
    """Run the command line. An error prints one or two lines on standard error, and exits with 2.

    An internal error also exits with 2, after its traceback: 1 would say that something regressed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # of characters that its encoding does not have
    run_and_exit()


def run_and_exit() -> NoReturn:
    """Run the command of `sys.argv`, say why it fails if it does, and exit with its code."""
    try:
        sys.exit(cli.main(standalone_mode=False))  # what a command passes to `context.exit`, or None
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        output.tell(" ".join(error.format_message().split()))
        if isinstance(error, click.UsageError) and error.ctx is not None:
            output.note(f"Try '{error.ctx.command_path} --help' for help.")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort, Interrupted) as interrupted:
        output.tell("; ".join(filter(None, ["interrupted", str(interrupted)])))
        sys.exit(INTERRUPTED)
    except (UserError, OSError) as error:  # OSError: a file that can't be read, a full disk
        if "--debug" in sys.argv[1:]:
            traceback.print_exc()
        named = [error.filename, error.strerror or error] if isinstance(error, OSError) else [error]
        output.tell(": ".join(str(part) for part in named if part))
        sys.exit(2)
    except Exception as error:
        if interrupts.received:  # a library has turned KeyboardInterrupt into this error
            output.tell("interrupted")
            sys.exit(INTERRUPTED)
        traceback.print_exc()
        output.tell(f"internal error: {type(error).__name__}: {error}")
        sys.exit(2)


for command in (run, report, compare, check, ci, bisect, profile, fastest, export, list_, new_cell, doctor):
    cli.add_command(command)
