"""`rnnbench new-cell`."""

import shlex
from pathlib import Path
from typing import Any

import click

from rnnbench.cli import output
from rnnbench.cli.options import File, Text


@click.command("new-cell", short_help="Write a cell to start from, and a suite for it.")
@click.argument("name", type=Text())
@click.option(
    "--reference",
    type=click.Choice(["rnn", "lstm", "gru", "none"]),
    default="lstm",
    show_default=True,
    help="The torch.nn layer that it is compared with and timed against; none: it is only timed.",
)
@click.option("--sequence", is_flag=True, help="A module that runs the whole sequence, as torch.nn.LSTM does.")
@click.option("--out", type=File(), default=Path(), show_default="here", help="Folder for the two files.")
def new_cell(name: str, reference: Any, sequence: bool, out: Path) -> None:
    """Write a cell to start from, NAME.py with the class NAME, and NAME.toml, a suite that measures it.

    \b
    Example:
      rnnbench new-cell MyLSTM --reference lstm
    """
    from rnnbench.new_cell import write_cell

    module, suite = write_cell(name, reference, out, whole=sequence)
    output.say(
        f"{module} works as it is; change its equations, and measure it with {suite}:\n"
        f"  {shlex.join(['rnnbench', 'run', str(suite)])}\n"
        f"  rnnbench report results/{name}-*"
    )
