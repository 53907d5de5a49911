"""A check against a stored run: the run that it measures must be of the same machine."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench import suites
from rnnbench.analysis.run_to_run import MIN_CASES
from rnnbench.harness.check import baseline as against
from rnnbench.store.folder import RunFolder, read_info
from rnnbench.store.processor import Processor
from rnnbench.store.records import Group
from tests.doubles.stored import PROCESSOR, folder, on, several


def run(parent: Path, processor: Processor | None) -> Path:
    path = folder(parent, several([2.0] * MIN_CASES))
    with closing(RunFolder(path)) as opened:
        opened.write_info(replace(on(processor), id=read_info(path).id))
    return path


@pytest.mark.parametrize(
    ("processor", "reason", "code"),
    [
        (PROCESSOR, "", 0),
        (replace(PROCESSOR, stepping="0"), "processor stepping was 0 and is 1", 2),
        (None, "the base was made by an rnnbench that did not record the machine's identity", 2),
    ],
)
def test_a_baseline_of_another_machine_is_incomparable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: Processor | None, reason: str, code: int
) -> None:
    monkeypatch.setattr(against, "run_suite", lambda *_, **__: run(tmp_path / "head", PROCESSOR))
    suite = suites.read("quick")
    baseline = run(tmp_path / "base", processor)
    groups = [Group(case.workload, (case,)) for case in several([2.0] * MIN_CASES)]
    _, comparison = against.check_against_run(
        suite, groups, suite.settings, baseline, out=tmp_path, command="", on_progress=lambda _: None
    )
    assert {finding.reason for finding in comparison.findings} == {reason}
    assert comparison.exit_code() == code
