"""Options of every command: an empty value, most likely from an unset shell variable, is refused."""

import click
import pytest
from click.testing import CliRunner

from rnnbench.cli import cli
from rnnbench.cli.options import OptionValue
from tests.rules.test_help import commands


def test_every_value_that_is_free_text_is_one_that_refuses_to_be_empty() -> None:
    for path in commands(cli):
        command: click.Command = cli
        for name in path:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        for parameter in command.params:
            closed = click.types.BoolParamType, click.Choice, click.IntRange
            assert isinstance(parameter.type, (OptionValue, *closed)), (path, parameter.name)


@pytest.mark.parametrize(
    ("command", "name"), [(["run", ""], "SUITE"), (["run", "quick", "--out", ""], "--out"), (["report", ""], "RUN")]
)
def test_an_empty_value_is_refused_in_words(command: list[str], name: str) -> None:
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert f"Invalid value for '{name}" in done.output
    assert "the value is empty (is a shell variable unset?)" in " ".join(done.output.split())
