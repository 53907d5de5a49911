"""What `rnnbench list cases` and `rnnbench doctor` print, and how wide."""

import json
import shlex
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from rnnbench.cli import cli, output
from rnnbench.store.metrics import METRICS
from rnnbench.store.records import DEFAULTS, axis_text
from tests.doubles.commands import rnnbench

FEW = "cell=gru batch_size=1 seq_len=16 hidden_size=64 phase=inference"


@pytest.mark.parametrize("suite", ["quick", "tasks", "modern", "data", "notebook"])
def test_a_listed_case_has_the_axes_that_tell_it_apart_and_the_others_are_told_once(suite: str) -> None:
    short, full = (CliRunner().invoke(cli, ["list", "cases", suite, *flag]) for flag in ((), ("--full",)))
    cases, keys = short.stdout.splitlines(), full.stdout.splitlines()
    assert len(cases) == len(set(cases)) == len(keys)
    shared = dict(term.split("=") for term in short.stderr.partition(":")[2].split())
    for case, key in zip(cases, keys, strict=True):
        own, whole = (dict(term.split("=") for term in line.split()) for line in (case, key))
        assert own.items() <= whole.items()
        assert shared.items() <= whole.items()
        assert not own.keys() & shared.keys()
        left_out = whole.keys() - own.keys() - shared.keys() - {"reference"}
        assert all(axis_text(DEFAULTS[axis]) == whole[axis] for axis in left_out)
    assert len({tuple(dict(term.split("=") for term in case.split())) for case in cases}) == 1  # one set of axes


def test_the_axes_of_a_listed_case_select_it_from_the_whole_suite() -> None:
    (listed,) = (
        line
        for line in CliRunner().invoke(cli, ["list", "cases", "quick", "--only", FEW]).stdout.splitlines()
        if "implementation=loop" in line
    )
    again = CliRunner().invoke(cli, ["list", "cases", "quick", "--only", listed]).stdout.splitlines()
    assert [line for line in again if "torch.nn" not in line] == [listed]


def test_on_a_terminal_no_listed_line_is_wider_than_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout", mock.Mock(isatty=lambda: True))
    lines = output.on_terminal("cell=vanilla implementation=loop phase=inference batch_size=1 seq_len=16").splitlines()
    assert [len(line) <= 60 for line in lines] == [True, True]
    assert lines[1].startswith("  ")
    assert output.wrapped("a" * 90, hang=2) == "a" * 90  # a path can be copied


@pytest.mark.parametrize("words", ["suites", "cells", "metrics"])
def test_on_a_terminal_of_80_columns_every_list_stays_within_it_and_names_stand_alone_on_the_left(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "on_terminal", output.wrapped)
    lines = CliRunner().invoke(cli, ["list", words], env={"COLUMNS": "80"}).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    first = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert len(first) < len(lines)
    assert len(set(first)) == len(first)


def test_doctor_says_first_whether_the_machine_is_ready_and_stays_within_the_terminal() -> None:
    done = CliRunner().invoke(cli, ["doctor", "--no-probe"], env={"COLUMNS": "70"})
    assert done.exit_code == 0
    first, *others = done.stdout.splitlines()
    assert first.startswith(("Change ", "No obstacle is known."))
    assert all(len(line) <= 70 for line in others if " " in line.strip())
    facts = [line for line in others if line.startswith("machine: ") and "  " in line]
    assert {"machine: cores", "machine: memory"} <= {line.partition("  ")[0] for line in facts}
    assert len({len(line) - len(line.partition("  ")[2].lstrip()) for line in facts}) == 1  # one column of values


def test_suites_cells_and_metrics_are_listed_and_a_broken_suite_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "broken.toml").write_text("[")
    done = rnnbench("list", "suites", cwd=tmp_path, code=0)
    assert "quick" in done.stdout
    assert "broken         can't be used: suites/broken.toml: can't be read as TOML: " in done.stderr
    assert {"deep-notebook", "overlapping"} <= set(rnnbench("list", "cells", cwd=tmp_path).stdout.split())
    lines = rnnbench("list", "metrics", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [metric.name for metric in METRICS]


@pytest.mark.parametrize("words", ["suites", "cells", "metrics", f"cases quick --only '{FEW}'"])
def test_each_line_of_a_list_is_a_json_object_on_request(words: str) -> None:
    usual, lines = (CliRunner().invoke(cli, shlex.split(f"list {words} {flag}")).stdout for flag in ("", "--json"))
    objects = [json.loads(line) for line in lines.splitlines()]
    assert len(objects) == len(usual.splitlines())
    assert all(each.keys() == objects[0].keys() for each in objects)


def test_doctor_prints_a_json_object_on_request() -> None:
    content = json.loads(CliRunner().invoke(cli, ["doctor", "--no-probe", "--json"]).stdout)
    assert content.keys() == {"answer", "to_change", "machine"}
    assert "machine: cores" in content["machine"]
