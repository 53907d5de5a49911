"""The help of every command, as a new user reads it."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from rnnbench.cli import cli


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_has_a_help_with_an_example_of_itself(path: tuple[str, ...]) -> None:
    text = CliRunner().invoke(cli, [*path, "--help"]).output
    _, heading, example = text.partition("Example")
    assert heading
    assert f"rnnbench {' '.join(path[:1])}" in example


@pytest.mark.parametrize("group", [[], ["list"]])
def test_a_list_of_commands_says_what_each_does_in_whole_sentences(group: list[str]) -> None:
    text = CliRunner().invoke(cli, [*group, "--help"], terminal_width=80).output
    lines = text.partition("Commands:\n")[2].splitlines()
    assert lines
    assert [line for line in lines if line.endswith("...") or not line.endswith((".", "?"))] == []
