"""The acceptance run reports failures, ends tasks that take too long, and keeps all output in one archive."""

import os
import re
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rnnbench.analysis.comparison import Finding
from rnnbench.store.records import Case
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from rnnbench.suite.outline import cases_of
from tests.conftest import pytest_collection_modifyitems
from tests.doubles import workload as small
from tests.gpu import acceptance, slowed
from tests.gpu.acceptance import ROOT, Task, main, run, steps

SCRIPT = ROOT / "tests" / "gpu" / "acceptance.sh"


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_the_steps_end_in_time_and_their_programs_are_there(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "DEVICE", device)
    monkeypatch.setattr(acceptance, "copied_code", lambda out: out)
    seconds = {}
    for step, tasks in steps(tmp_path).items():
        seconds[step] = sum(task.limit_seconds for task in tasks)
        for task in tasks:
            program, *arguments = map(str, task.arguments)
            files = [f"{program.replace('.', '/')}.py"] if program.startswith("tests.") else []
            files += [argument for argument in arguments if argument.endswith(".py")]
            assert all((ROOT / file).is_file() for file in files)
            # A precision that is missed is no fault.
            assert not task.refuses or not re.search(task.refuses, "precision: ±2% was not reached in 2 of 2 groups")
    assert max(seconds.values()) <= 9 * 60
    assert seconds["smoke"] <= 2 * 60  # it says whether the rest is worth it
    assert sum(seconds[step] for step in ("smoke", "truth", "run", "gate")) <= 25 * 60


@pytest.mark.parametrize(
    ("text", "changes", "fault"),
    [
        ("print('8 cases in 9 s')", {}, ""),
        ("raise SystemExit(3)", {}, "exit code 3"),
        ("print('5 skipped')", {"needs": "passed"}, "its output lacks 'passed'"),
        ("print('not profiled: x')", {"refuses": "not profiled:"}, "its output has 'not profiled:'"),
        ("import time; time.sleep(60)", {"limit_seconds": 1}, "longer than 1 s"),
    ],
)
def test_a_program_that_fails_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, changes: dict[str, Any], fault: str
) -> None:
    monkeypatch.setattr(acceptance, "ROOT", tmp_path)  # where programs are started
    (tmp_path / "program.py").write_text(text)
    found, line = run("step", Task("task", **{"limit_seconds": 30, "arguments": ["program"], **changes}), tmp_path)
    assert found == fault
    assert line.split()[:2] == ["step", "task"]
    assert (fault or "ok") in line


def test_the_exit_code_tells_of_a_failed_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = {"smoke": [Task("good", 30, ["timeit", "-n1", "-r1"]), Task("bad", 30, ["timeit", "--no-such-option"])]}
    monkeypatch.setattr(acceptance, "steps", lambda out: tasks)
    assert main(["--out", str(tmp_path), "smoke"]) == 1
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[-2:]] == ["good", "bad"]
    tasks["smoke"].pop()
    assert main(["--out", str(tmp_path), "smoke"]) == 0


def test_the_script_unpacks_wheels_says_which_steps_there_are_and_leaves_an_archive(tmp_path: Path) -> None:
    wheels, out = tmp_path / "wheels", tmp_path / "out"
    wheels.mkdir()
    (wheels / "broken-1-py3-none-any.whl").write_text("no archive")
    with zipfile.ZipFile(wheels / "good_wheel-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("good_wheel.py", "")
    (out / "logs").mkdir(parents=True)
    (out / "logs" / "kept.txt").write_text("x")
    environment = os.environ | {"PYTHON": sys.executable, "OUT": str(out), "DEVICE": "cpu", "WHEELS": str(wheels)}
    done = subprocess.run([SCRIPT, "none"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not unpacked: " in done.stderr
    assert "name steps to run, of smoke, captures, truth, run, gate, more" in done.stderr
    assert [file.name for file in (out / "packages").iterdir()] == ["good_wheel.py"]
    with tarfile.open(out / "acceptance.tar.gz") as archive:
        assert sorted(archive.getnames()) == ["./logs/kept.txt", "./logs/nvidia-smi.txt"]


@pytest.mark.parametrize(
    ("cell", "finding", "wrong"),
    [
        ("GRUSlow", {"verdict": "regressed", "time_verdict": "regressed"}, False),
        ("GRUSlow", {"verdict": "regressed", "time_verdict": "unchanged"}, True),  # by its counts alone
        ("GRUSame", {"verdict": "unchanged", "rule": "same code"}, False),
        ("GRUSame", {"verdict": "regressed", "time_verdict": "regressed"}, True),
    ],
)
def test_of_a_slowed_cell_the_time_is_judged_and_cases_that_run_the_same_code_are_right(
    cell: str, finding: dict[str, Any], wrong: bool
) -> None:
    case = Case(f"planted.py:{cell}", "loop", small.workload(reference="none"))
    assert slowed.is_wrong(Finding(case, margin=0.025, **finding)) == wrong


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ({"GRUSlow": ["regressed", "undecided"], "GRUSame": ["unchanged", "undecided"]}, 0),
        ({"GRUSlow": ["undecided", "undecided"], "GRUSame": ["undecided", "undecided"]}, 3),
        ({"GRUSlow": ["regressed", "regressed"], "GRUSame": ["undecided", "undecided"]}, 3),
        ({"GRUSlow": ["undecided", "undecided"], "GRUSame": ["unchanged", "unchanged"]}, 3),
        ({"GRUSlow": ["regressed", "unchanged"], "GRUSame": ["unchanged", "unchanged"]}, 1),
        ({"GRUSlow": ["regressed", "regressed"], "GRUSame": ["unchanged", "regressed"]}, 1),
        ({}, 3),
    ],
)
def test_a_gate_that_decides_nothing_shows_nothing(verdicts: dict[str, list[Any]], code: int) -> None:
    findings = [
        Finding(
            Case(f"planted.py:{cell}", "loop", small.workload(reference="none")), verdict, 0.025, time_verdict=verdict
        )
        for cell, found in verdicts.items()
        for verdict in found
    ]
    assert slowed.exit_code(findings) == code


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        ("Nothing regressed: 4 of 4 cases unchanged within 2.5%.", True),
        ("2 of 4 cases are undecided: gru loop. Also 2 unchanged.", True),
        ("Not checked: 0 of 4 decided.", False),
        ("1 of 4 cases regressed: gru loop. Also 3 unchanged.", False),
        ("Nothing regressed; 1 of 4 cases improved: gru loop. Also 3 unchanged.", False),
    ],
)
def test_a_copy_of_the_code_must_be_called_unchanged_in_some_case(tmp_path: Path, answer: str, passes: bool) -> None:
    (tmp_path / "copy").mkdir()
    [task] = [task for task in steps(tmp_path)["gate"] if task.name == "unchanged"]
    assert bool(re.search(task.needs, answer) and not re.search(task.refuses, answer)) == passes


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("eight-cases", "8 cases in 40 s\neach worker was started anew, which takes seconds longer than a fork: no"),
        ("slowed", "each worker was started anew, which takes seconds longer than a fork: no"),
        ("readings", '"{""energy_joules"": ""cuda:0 is a MIG instance""}"'),
        ("readings", '"{""device_seconds"": ""it has no CUPTI""}"'),
        ("graphed", "12 passed, 3 skipped in 4 s"),
    ],
)
def test_what_a_card_must_show_and_does_not_is_refused(
    task: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "DEVICE", "cuda")
    (tmp_path / "copy").mkdir()
    [chosen] = [each for tasks in steps(tmp_path).values() for each in tasks if each.name == task]
    assert re.search(chosen.refuses, text)
    assert not re.search(chosen.refuses, '8 cases in 40 s; 12 passed; "{""peak_bytes"": ""it keeps all""}"')


def test_the_grid_has_sixteen_groups_and_the_copy_four_cases(tmp_path: Path) -> None:
    only = parse_only([acceptance.GRID])
    assert len(suites.read_suite("cuda").groups(only, None)) == 16
    groups = suites.read_suite("ci").groups(parse_only([acceptance.UNCHANGED]), "cuda")
    assert sum(not case.is_reference for case in cases_of(groups)) == 4


@pytest.mark.parametrize(
    "text",
    [
        "Attempting to run cuBLAS, but there was no current CUDA context! Attempting to set the primary context...",
        "This instance was constructed with capturable=True or some of all the param_groups came with capturable=True, "
        "but step() is running without CUDA graph capture.",
        "Please use the new API settings to control TF32 behavior, such as torch.backends.cudnn.conv.fp32_precision = "
        "'tf32' or torch.backends.cuda.matmul.fp32_precision = 'ieee'.",
        "TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled. Consider setting "
        "`torch.set_float32_matmul_precision('high')` for better performance.",
    ],
)
def test_what_torch_warns_of_on_a_card_is_no_error(text: str) -> None:
    """Each text is torch's own, of 2.11 and 2.13."""
    warnings.warn(text, UserWarning, stacklevel=1)
    with pytest.raises(UserWarning, match="of something else"):
        warnings.warn(f"of something else: {text}", UserWarning, stacklevel=1)


def test_tests_on_a_card_run_alone(request: pytest.FixtureRequest) -> None:
    items: list[Any] = []
    for name in ("cuda", "slow"):
        item = pytest.Function.from_parent(request.node.parent, name=f"test_{name}", callobj=lambda: None)
        item.add_marker(name)
        items.append(item)
    pytest_collection_modifyitems(items)
    assert [item.get_closest_marker("alone") is not None for item in items] == [True, False]
