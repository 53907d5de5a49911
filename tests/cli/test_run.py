"""The command line end to end: real workers, real cells, real files."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from rnnbench import cli, load, summarize
from rnnbench.cli.run import refuse_missing
from rnnbench.errors import UserError
from rnnbench.slurm import sweep
from rnnbench.store.folder import RunFolder, read_info
from rnnbench.store.records import NOT_REACHED
from tests.doubles import stored
from tests.doubles import workload as small
from tests.doubles.commands import SUITE, rnnbench

CELLS = """
import os, resource, signal, time
import torch
from torch import nn
class Good(nn.GRUCell):
    pass
class Fatal(nn.GRUCell):
    def forward(self, input, h):
        os.kill(os.getpid(), signal.SIGSEGV)
class Wrong(nn.GRUCell):
    def forward(self, input, h):
        raise ValueError("on purpose")
class Leaky(nn.GRUCell):
    kept = []
    def forward(self, input, h):
        self.kept.append(torch.ones(1000))
        return super().forward(input, h)
class Hungry(nn.GRUCell):
    def forward(self, input, h):
        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, resource.RLIM_INFINITY))
        kept = [torch.empty(1 << 28) for _ in range(64)]
class Hung(nn.GRUCell):
    def forward(self, input, h):
        time.sleep(60)
"""
OWN = """
[[sweep]]
cell = ["mine.py:Good", "mine.py:Fatal", "mine.py:Wrong", "mine.py:Hung", "mine.py:Missing",
    "mine.py:Leaky", "mine.py:Hungry"]
implementation = ["loop", "torch.nn"]
reference = "gru"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(SUITE)
    (tmp_path / "mine.py").write_text(CELLS)
    return tmp_path


def test_a_suite_is_run_printed_stored_and_reported(folder: Path) -> None:
    done = rnnbench("run", "tiny.toml", cwd=folder, code=0)
    *table, path = done.stdout.strip().splitlines()
    for words in ("combined", "gru", "torch.nn", "hoisted", "nothing to hoist"):
        assert any(words in line for line in table), words
    info = read_info(folder / path)
    assert (info.status, info.replicates, info.suite) == ("finished", 2, "tiny")
    assert info.environment["worker"]["torch"]
    summary = summarize(load(folder / path))
    assert summary["status"].tolist() == ["measured", "skipped", "measured", "measured", "measured", "measured"]
    assert summary.loc[summary["status"] == "measured", "ratio"].gt(0).all()

    done = rnnbench("report", path, "--out", "page", cwd=folder, code=0)
    assert done.stdout.splitlines()[-1] == "page/index.html"
    assert "combined" in (folder / "page/index.html").read_text()


def test_cases_that_die_hang_or_raise_fail_alone(folder: Path) -> None:
    (folder / "tiny.toml").write_text(SUITE.replace("[defaults]", "deadline_seconds = 5\n[defaults]") + OWN)
    done = rnnbench("run", "tiny.toml", "--json", cwd=folder, code=2)
    assert re.search(
        r": \d+ of \d+ cases could not be measured; the first: .*; with --allow-missing this is no error$", done.stderr
    )
    rows = {row["cell"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["mine.py:Good"]["status"] == rows["gru"]["status"] == "measured"
    assert rows["mine.py:Good"]["parity"] == "agrees"
    assert rows["mine.py:Fatal"]["reason"] == "the worker was killed by SIGSEGV"
    assert rows["mine.py:Wrong"]["reason"] == "ValueError: on purpose (mine.py:12)"
    assert rows["mine.py:Leaky"]["status"] == "measured"
    assert rows["mine.py:Hungry"]["reason"].startswith("out of memory: ")
    assert rows["mine.py:Hung"]["reason"] == "no answer within 5 s"
    assert rows["mine.py:Missing"]["reason"].startswith(
        "mine.py has no class or function Missing; it has Good, Fatal, "
    )


def test_a_run_that_measured_nothing_and_failed_ends_with_2_after_all_it_has_to_show(folder: Path) -> None:
    alone = '[[sweep]]\ncell = ["mine.py:Wrong", "mine.py:Missing"]\nimplementation = "loop"\n'
    (folder / "tiny.toml").write_text('name = "tiny"\n' + alone)
    done = rnnbench("run", "tiny.toml", cwd=folder)
    (path,) = (folder / "results").iterdir()
    message = "no case was measured: 2 of 2 could not be measured; the first: ValueError: on purpose (mine.py:12)"
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"rnnbench: results/{path.name}: {message}"
    assert done.stdout == f"results/{path.name}\n"  # what there is to say is said once
    allowed = rnnbench("run", "tiny.toml", "--resume", path, "--allow-missing", cwd=folder, code=0).stdout
    assert "No case was measured." in allowed
    assert allowed.count("on purpose") == 1

    done = rnnbench("run", "tiny.toml", "--resume", path, "--json", cwd=folder, code=2)
    assert done.stderr.splitlines()[-2:] == [str(path), f"rnnbench: {path}: {message}"]
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["failed", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "code", "status"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 130, "interrupted"),
        (signal.SIGKILL, -signal.SIGKILL, "running"),
    ],
)
def test_a_run_that_is_cut_off_keeps_what_it_has_and_can_be_reported_and_resumed(
    folder: Path, by: signal.Signals, code: int, status: str
) -> None:
    (folder / "tiny.toml").write_text(SUITE.replace("replicates = 2", "replicates = 999"))
    command = [sys.executable, "-m", "rnnbench", "run", "tiny.toml"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list(folder.glob("results/*/windows-0001.jsonl")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(by)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    if by != signal.SIGKILL:
        assert (
            errors.strip().splitlines()[-1].startswith("rnnbench: interrupted; what was measured is in results/tiny-")
        )
    [path] = folder.glob("results/*")
    assert read_info(path).status == status
    assert load(path).windows["replicate"].nunique() >= 1
    rnnbench("report", path, cwd=folder, code=0)
    if by != signal.SIGKILL:  # an interrupted run resumes like the one below
        return
    (folder / "tiny.toml").write_text(SUITE)
    before = load(path).windows["replicate"].nunique()
    rnnbench("run", "tiny.toml", "--resume", path, cwd=folder, code=0)
    assert read_info(path).status == "finished"
    after = load(path).windows
    assert after["replicate"].nunique() >= before
    assert not after.duplicated(["worker", "case", "order"]).any()


def test_debug_shows_the_traceback(folder: Path) -> None:
    done = rnnbench("--debug", "run", "quik", cwd=folder)
    assert "Traceback" in done.stderr
    assert done.returncode == 2  # 1 would say that something regressed


def test_a_fault_of_our_own_is_no_regression(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(**how: bool) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.cli, "main", breaks)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_suite_for_a_device_that_is_not_there_is_an_error_unless_its_cases_may_be_missing(folder: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = rnnbench("run", "cuda", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rnnbench: cuda: torch ")
    assert done.stderr.endswith("; with --allow-missing this is no error\n")
    done = rnnbench("run", "cuda", "--allow-missing", cwd=folder, code=0)
    assert done.stdout.startswith("rnnbench: cuda is skipped: torch ")
    assert len(done.stdout.splitlines()) == 1
    as_json = rnnbench("run", "cuda", "--allow-missing", "--json", cwd=folder)
    assert (as_json.returncode, as_json.stdout, as_json.stderr) == (0, "", done.stdout)
    assert not (folder / "results").exists()


INTERRUPTED = """
import os, signal, sys
class AtImport:
    def find_spec(self, name, *rest):
        if name == "{name}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, AtImport())
sys.argv = ["rnnbench", *{arguments!r}]
from rnnbench.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rnnbench.cli.check", ["list", "cells"]),  # while the command line itself is imported
        ("pandas", ["report", "tiny.toml"]),
        ("rnnbench.suite.suites", ["run", "tiny.toml"]),
    ],
)
def test_ctrl_c_while_something_is_loaded_is_one_line(folder: Path, name: str, arguments: list[str]) -> None:
    code = INTERRUPTED.format(name=name, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    # A shell shows 130 for both. With `-c` Python ends itself by the signal, because the code runs in an exec().
    assert done.returncode in (130, -signal.SIGINT)
    assert done.stderr.strip() == "rnnbench: interrupted"


@pytest.mark.parametrize("command", ["run", "profile"])
def test_a_budget_that_can_not_fit_a_replicate_is_an_error_that_says_what_would(folder: Path, command: str) -> None:
    done = rnnbench(command, "tiny.toml", "--budget", "0.01s", cwd=folder, code=2)
    assert re.search(
        r": no case was measured within the budget; (go on with: rnnbench run .* --resume .* --budget \d+s"
        r"|give --budget \d+s or more)\n",
        done.stderr,
    )


@pytest.mark.slow
def test_a_run_that_lacks_something_ends_with_what_to_type(folder: Path) -> None:
    precise = "run", "tiny.toml", "--precision", "0.01%", "--budget", "15s"
    done = rnnbench(*precise, cwd=folder)
    assert "precision: ±0.01% was not reached in 2 of 2 groups; raise max_replicates, which is 2\n" in done.stdout
    (folder / "tiny.toml").write_text(SUITE.replace("max_replicates = 2", "max_replicates = 1_000"))
    done = rnnbench(*precise, cwd=folder, code=0)
    *_, note, to_continue, page, run = done.stdout.splitlines()
    assert re.fullmatch(r"precision: ±0\.01% was not reached in \d of \d groups?", note)
    assert re.fullmatch(rf"Continue: rnnbench run tiny.toml --resume {run} --budget \d+[smh]", to_continue)
    assert page == f"Page:     rnnbench report {run}"
    rnnbench(*to_continue.split()[2:4], "--resume", run, "--budget", "16s", cwd=folder, code=0)


@pytest.mark.parametrize(
    ("cases", "nothing", "missing"),
    [
        ([("measured", ""), ("skipped", "why"), ("pending", NOT_REACHED)], "", ""),
        ([], "", ""),
        (
            [("measured", ""), ("failed", "broken"), ("pending", "the job was lost")],
            "",
            "2 of 3 cases could not be measured; the first: broken; with --allow-missing this is no error",
        ),
        ([("skipped", "no GPU")] * 2, *["no case was measured: 2 of 2 were skipped; the first: no GPU"] * 2),
        (
            [("pending", NOT_REACHED), ("failed", "broken"), ("skipped", "")],
            *["no case was measured: 1 of 3 could not be measured; the first: broken"] * 2,
        ),
        (
            [("pending", "the job was lost")],
            *["no case was measured: 1 of 1 could not be measured; the first: the job was lost"] * 2,
        ),
    ],
)
def test_what_could_not_be_measured_is_an_error(
    tmp_path: Path, cases: list[tuple[str, str]], nothing: str, missing: str
) -> None:
    summary = pd.DataFrame(cases, columns=["status", "reason"])
    for some_may_fail, words in ((True, nothing), (False, missing)):
        with pytest.raises(UserError, match=f": {re.escape(words)}$") if words else contextlib.nullcontext():
            refuse_missing(tmp_path, summary, some_may_fail=some_may_fail)


def test_a_run_by_slurm_is_continued_by_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored.folder(tmp_path, {small.case("gru"): [[1e-3]]})
    with contextlib.closing(RunFolder(path)) as run:
        run.write_info(replace(read_info(path), seconds_needed=90.0))
    monkeypatch.setattr(sweep, "run_by_slurm", lambda *arguments, **options: path)
    done = rnnbench("run", "quick", "--executor", "slurm", cwd=tmp_path, code=0)
    assert f"Continue: rnnbench run quick --executor slurm --resume {path} --budget 90s" in done.stdout
