"""The command line: parse, call, print. Heavy imports stand inside the commands, so that `--help` is quick."""

import signal
import sys
import traceback
from types import FrameType

import click

from rnnbench import __version__
from rnnbench.cli.check import check, compare
from rnnbench.cli.doctor import doctor
from rnnbench.cli.export import export
from rnnbench.cli.listing import list_
from rnnbench.cli.new_cell import new_cell
from rnnbench.cli.profile import profile
from rnnbench.cli.report import report
from rnnbench.cli.run import run
from rnnbench.errors import Interrupted, UserError
from rnnbench.text import printable

LONGEST = 600  # letters of a line on standard error; what it quotes may have millions


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
    """Run the command line; errors are one or two lines on standard error, and exit code 2.

    A fault of rnnbench's own has its traceback and ends with 2 as well: 1 would say that something regressed.
    """
    debug = "--debug" in sys.argv[1:]
    signal.signal(signal.SIGTERM, _interrupt)  # what CI sends to a job that is cancelled
    try:
        sys.exit(cli.main(standalone_mode=False))  # what a command gives to `context.exit`, or None
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _say(" ".join(error.format_message().split()))
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(f"Try '{error.ctx.command_path} --help' for help.", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        sys.exit(130)
    except Interrupted as interrupted:
        _say(f"interrupted; {interrupted}")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; there is nobody to tell
        sys.exit(128 + signal.SIGPIPE)
    except (UserError, OSError) as error:  # of the system's: a file that can't be read, a full disk
        if debug:
            traceback.print_exc()
        else:
            for line in _words(error).splitlines():
                _say(line)
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(2)


def _words(error: UserError | OSError) -> str:
    """An error in words: of the system's, which file it is about."""
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    return str(error)


def _say(text: str) -> None:
    """One line on standard error; of a long one its two ends, which say what was wrong and what would be right."""
    line = printable(text)
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    click.echo(f"rnnbench: {line}", err=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


for command in (run, report, compare, check, profile, export, list_, new_cell, doctor):
    cli.add_command(command)
