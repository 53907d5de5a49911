"""Options of every command: an empty value, most likely from an unset shell variable, is refused."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from rnnbench.cli import cli
from tests.rules.test_help import commands

FREE = (click.types.StringParamType, click.Path)  # these accept an empty value by default


def parameters() -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    for path in commands(cli):
        command: click.Command = cli
        for name in path:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        for parameter in command.params:
            if not getattr(parameter, "is_flag", False) and not isinstance(command, click.Group):
                yield path, parameter


def required(path: tuple[str, ...], but: click.Parameter) -> list[str]:
    """A value for each required argument of a command, and an empty one for `but`."""
    values = [
        "" if argument is but else "quick"
        for where, argument in parameters()
        if where == path and isinstance(argument, click.Argument) and (argument.required or argument is but)
    ]
    return ["--", *values]


@pytest.mark.parametrize(
    ("path", "parameter"), [pytest.param(*entry, id=f"{' '.join(entry[0])} {entry[1].name}") for entry in parameters()]
)
def test_an_empty_value_is_refused_in_words(path: tuple[str, ...], parameter: click.Parameter) -> None:
    option = [parameter.opts[0], ""] if isinstance(parameter, click.Option) else []
    needed = ["--format", "csv"] if path == ("export",) and parameter.name != "to" else []
    done = CliRunner().invoke(cli, [*path, *option, *needed, *required(path, parameter)])
    assert done.exit_code == 2, done.output
    name = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
    assert f"Invalid value for '{name}': " in done.output
    if isinstance(parameter.type, FREE) or type(parameter.type).__name__ == "OptionValue":
        assert "the value is empty (is a shell variable unset?)" in " ".join(done.output.split())
