"""Options of every command: an empty value, most likely from an unset shell variable, is refused."""

import pytest
from click.testing import CliRunner

from rnnbench.cli import cli


@pytest.mark.parametrize(
    ("command", "name"), [(["run", ""], "SUITE"), (["run", "quick", "--out", ""], "--out"), (["report", ""], "RUN")]
)
def test_an_empty_value_is_refused_in_words(command: list[str], name: str) -> None:
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert f"Invalid value for '{name}" in done.output
    assert "the value is empty (is a shell variable unset?)" in " ".join(done.output.split())
