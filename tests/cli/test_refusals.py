"""Command lines that are refused, as a user gets them wrong. The golden file has what each is told."""

import re
import shlex
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.adapt import awkward
from tests.doubles import checks, repository, stored
from tests.doubles import workload as small
from tests.doubles.commands import SUITE, rnnbench
from tests.report.verdicts import samples

CELL = small.case("vanilla")
LONG = {"LONG": "a" * 5000, "DIGITS": "9" * 400}
# `RUN`, `OTHER` and `CHECK` stand for folders of these, `SAVED` for a file of pytest-benchmark.
COMMANDS = {
    "run": """
        dance
        run quik
        run LONG
        run tiny.toml --only cell=glu
        run tiny.toml --only cell=gru,glu
        run tiny.toml --only cell=combind
        run tiny.toml --only ''
        run tiny.toml --only ' '
        run tiny.toml --only 'cell=gru implementation=hoisted threads=1,2'
        run tiny.toml --device tpu
        run tiny.toml --out tiny.toml
        run tiny.toml --budget soon
        run tiny.toml --budget DIGITS
        run tiny.toml --precision 2
        run tiny.toml --resume nowhere
        run tiny.toml --resume x --only cell=gru
        run tiny.toml --resume tiny.toml --out elsewhere
        run tiny.toml --slurm-option time=5
        list cases quik
    """,
    "report": """
        report nowhere
        report LONG
        report RUN OTHER --out c
        report RUN --out RUN
        report RUN/windows-0000.jsonl
        report RUN --suite quick
    """,
    "report of several runs": """
        report --together RUN
        report --together --history RUN OTHER
        report --together RUN empty
        report --history empty
        report --history RUN CHECK
        report --history RUN OTHER --suite b
        report --history results --suite c
    """,
    "compare and export": """
        compare RUN RUN
        compare RUN/run.json RUN
        export nowhere
        export nowhere --format csv
        export RUN --format xml
        export RUN --format json --windows
        export RUN --format csv --out tiny.toml
        export RUN --format csv --out new.csv
        export RUN/run.json --format csv
    """,
    "cells": """
        run nowhere.py:Mine
        run :Mine
        run ./awkward:Named
        run no_such_package.of:Mine
        run awkward.py:
        run awkward.py
        run awkward.py:Nothing
        run 'awkward.py:Other(3)'
        run awkward.py:Named --reference no_such:X
        run awkward.py:Named --reference gruu
        run awkward.py:Named --reference no.py:X
        run awkward.py:Tokens --input words
        run quick --reference gru
        run quick --input tokens:3
        list cases quick --sequence
        list cases no_such_package:Mine
        fastest :Mine
        profile awkward.py:Nothing
        check awkward.py:Nothing --base HEAD
        new-cell no_such_package:Mine
        new-cell torch.nn:
        new-cell awkward.py:Nothing
        new-cell awkward.py:Named --out tiny.toml
        new-cell 2fast
        new-cell my-cell
        new-cell class
        new-cell super
        new-cell ../up
        new-cell Mine --out tiny.toml
        new-cell Old
        new-cell torch
        new-cell Tensor
    """,
    "check": """
        check tiny.toml
        check tiny.toml --base ''
        check tiny.toml --base nowhere
        check tiny.toml --base RUN
        check tiny.toml --base HEAD --only cell=lstm
        check tiny.toml --base HEAD --only cell=gru,glu
        check tiny.toml --base HEAD --only ''
        check tiny.toml --base HEAD --margin 250%
        check gone.toml --base HEAD
        check tiny.toml --base HEAD --instructions=never
        check --instructions tiny.toml --base HEAD
    """,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    repository.commit(folder, {"tiny.toml": SUITE, "Old.toml": "mine"})
    (folder / "awkward.py").write_bytes(Path(awkward.__file__).read_bytes())
    (folder / "empty").mkdir()
    (folder / "results").mkdir()
    for name in ("RUN", "OTHER"):
        times = {CELL: [[2.0]] * 3, small.reference_case(): [[1.0]] * 3}
        stored.folder(folder / name, times).rename(folder / "results" / name)
        (folder / name).rmdir()
    compared = samples.comparison(samples.finding("regressed", 1.051, case=CELL))
    checks.write(folder / "made", compared, {CELL: 1.051}).rename(folder / "results" / "CHECK")
    (folder / "made").rmdir()
    return folder


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_refusal_says_what_is_wrong_and_what_would_be_right(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    for variable in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(variable, raising=False)
    places = {"RUN": "results/RUN", "OTHER": "results/OTHER", "CHECK": "results/CHECK"} | LONG
    before, told = sorted(folder.rglob("*")), {}
    for line in map(str.strip, COMMANDS[kind].strip().splitlines()):
        words = [places.get(word, word).replace("RUN/", "results/RUN/") for word in shlex.split(line)]
        done = rnnbench(*words, cwd=folder)
        assert (done.returncode, done.stdout) == (2, ""), line
        assert done.stderr.startswith("rnnbench: ")
        assert len(done.stderr) < 800
        # A long name is cut to a length that depends on the folder's.
        messages = re.sub("a{99,} ... a+", "LONG", done.stderr.replace(str(folder), "FOLDER")).splitlines()
        told[line] = [message for message in messages if not message.startswith("Try '")]  # names the test's program
    assert told == snapshot
    assert sorted(folder.rglob("*")) == before
