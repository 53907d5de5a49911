"""`rnnbench new-cell`."""

import shlex
from pathlib import Path
from typing import Any

import click

from rnnbench.cli import output
from rnnbench.cli.options import TEXT_TYPE, writes_into


@click.command("new-cell", short_help="Write a cell to start from and a suite, or a suite for your cell.")
@click.argument("names", metavar="NAME|FILE.py:CELL|PACKAGE:CELL...", nargs=-1, required=True, type=TEXT_TYPE)
@click.option(
    "--reference",
    type=click.Choice(["rnn", "lstm", "gru", "none"]),
    default="lstm",
    show_default=True,
    help="The torch.nn layer that the cell is compared with; none: the cell is only timed.",
)
@click.option("--sequence", is_flag=True, help="For a module that runs whole sequences, as torch.nn.LSTM does.")
@writes_into("the files", default=Path(), shown_default="here")
def new_cell(names: tuple[str, ...], reference: Any, sequence: bool, out: Path) -> None:
    """Write a cell to start from, NAME.py with the class NAME, and NAME.toml, a suite that measures it.

    For classes that exist, or functions that build a module, write only the suite: one for all of them.

    \b
    Examples:
      rnnbench new-cell MyLSTM --reference lstm
      rnnbench new-cell lmu.py:LMUCell --reference lstm
      rnnbench new-cell lmu.py:LMUCell mine.py:MyCell

    \b
    Exit codes: 0 written; 2 wrong usage, or a file can't be written.
    """
    from rnnbench.suite.cell_suite import is_cell, write_cell, write_suite
    from rnnbench.text import listed

    if len(names) == 1 and not is_cell(names[0]):
        module, suite = write_cell(names[0], reference, out, whole=sequence)
        about = f"{module} works as it is; change its equations, and measure it with {suite}"
    else:
        suite = write_suite(names, reference, out, whole=sequence)
        about = f"{suite} measures {listed(names)}"
    output.say(f"{about}:\n  {shlex.join(['rnnbench', 'run', str(suite)])}\n  rnnbench report")
