"""The help of every command, as a new user reads it."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from syrupy.assertion import SnapshotAssertion

from rnnbench.cli import cli


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_has_a_help_with_an_example_of_itself(path: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    text = CliRunner().invoke(cli, [*path, "--help"], terminal_width=100).output
    assert f"rnnbench {' '.join(path[:1])}" in text.partition("Example")[2]
    assert text == snapshot


def test_the_list_of_commands(snapshot: SnapshotAssertion) -> None:
    text = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    assert "..." not in text.partition("Commands:\n")[2]
    assert text == snapshot
