"""How the programs of the acceptance run judge results; only the acceptance run itself executes them."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from rnnbench import suites
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.report.notebook.measured import Measured
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import Measurement
from tests.doubles import workload as small
from tests.doubles.ceilings import ceiling as made_up_ceiling
from tests.gpu import live, measured, packages, rates, resumed, too_large, unchanged

CARD = rates.known("NVIDIA H100 80GB HBM3")


def ceiling(dtype: str = "bfloat16", tflops: float = 800.0, copies: float = 3.0) -> Ceiling:
    rate = tflops * 1e12 / 2
    return made_up_ceiling("cuda", dtype, 1, rate, ((1 << 20, 9e12), (1 << 30, copies * 1e12)), 4e-6, 2.5e-6)


def off(found: Ceiling, card: rates.KnownCard | None = CARD) -> list[str]:
    return [text.split()[1] for text, is_right in rates.lines(found, card) if not is_right]


def test_the_figures_that_are_known_of_an_h100_are_right() -> None:
    for dtype, tflops in {"bfloat16": 800.0, "float32": 50.0, "tf32": 400.0}.items():
        assert off(ceiling(dtype, tflops)) == []


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (ceiling(tflops=8000), ["products"]),  # the clock did not wait for the device
        (ceiling("float32", 400), ["products"]),  # TF32 was switched on
        (ceiling("tf32", 50), ["products"]),  # TF32 was switched off
        (ceiling(copies=1.5), ["copies"]),  # only one direction was counted
        (ceiling(copies=9.0), ["copies"]),  # the cache was measured
    ],
)
def test_a_ceiling_that_can_not_be_is_off(found: Ceiling, wrong: list[str]) -> None:
    assert off(found) == wrong


def test_a_card_that_nothing_is_known_of_is_not_judged() -> None:
    assert rates.known("NVIDIA H100 PCIe") is None
    assert off(ceiling(tflops=8000), None) == []


def test_a_package_that_is_missing_or_too_old_is_named_with_the_remedy() -> None:
    assert packages.requirements().keys() >= {"torch", "click", "torchinfo"}
    required = {"click": "1.0", "torchinfo": "99", "no-such-package-at-all": "2.1"}
    faults = {package: fault for package, _, fault in packages.rows(required)}
    assert faults["click"] == ""
    assert faults["torchinfo"] == "is older than 99; put a newer wheel into the folder WHEELS"
    assert faults["no-such-package-at-all"] == "is not installed; put its wheel into the folder WHEELS (at least 2.1)"
    assert packages.numbers("2.11.0+cu130") == (2, 11, 0) > packages.numbers("2.9.1")


def test_the_steps_and_their_packages_need_nothing_that_a_machine_may_lack() -> None:
    code = (
        "import sys, tests.gpu.acceptance, tests.gpu.packages;"
        "print([one for one in ('torch', 'pydantic', 'numpy', 'rnnbench') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_case_that_was_not_measured_is_a_fault_of_the_run() -> None:
    good, bad, unreached = (small.case("gru", batch_size=size) for size in (1, 2, 3))
    known = {
        good.key: Measurement(good, "measured"),
        bad.key: Measurement(bad, "failed", "out of memory"),
    }
    lines = list(measured.faults([good, bad, unreached], known))
    assert lines == [f"failed: {bad.key}: out of memory", f"not in the run: {unreached.key}"]


def test_a_graph_is_expected_on_a_gpu_alone() -> None:
    only = ["cell=lstm batch_size=32 hidden_size=512 seq_len=32"]
    assert len(measured.expected("cuda", only, "cuda")) == 8
    assert len(measured.expected("cuda", only, "cpu")) == 6


def test_a_check_of_equal_code_is_right_without_an_alarm_and_with_a_case() -> None:
    def verdicts(*names: str | None) -> Counter[str]:
        lines = ["a line of words", *(json.dumps({"verdict": name}) for name in names)]
        return unchanged.counted(unchanged.findings("\n".join(lines)))

    assert unchanged.is_right(verdicts("unchanged", "undecided"))
    for wrong in (["unchanged", "regressed"], ["unchanged", "improved"], ["unchanged", None], []):
        assert not unchanged.is_right(verdicts(*wrong))


def test_a_copy_of_this_code_is_a_base(tmp_path: Path) -> None:
    unchanged.copy(tmp_path)
    assert (tmp_path / "rnnbench" / "harness" / "worker" / "loop.py").is_file()
    assert suites.read(str(tmp_path / "ci.toml")).name == "ci"


def test_only_the_cell_that_asks_for_too_much_may_fail_and_in_words(tmp_path: Path) -> None:
    groups = suites.read(str(too_large.write(tmp_path))).groups({}, "cuda", most=None)
    cases = [case for group in groups for case in group.cases]

    def ended(status: str, reason: str) -> list[str]:
        measurements = []
        for case in cases:
            if case.cell.endswith("Large"):
                measurements.append(Measurement(case, status, reason))  # type: ignore[arg-type]
            elif case.workload.batch_size > 32:
                measurements.append(Measurement(case, "skipped", "it needs 5,000.0 GB of memory at least, and ..."))
            else:
                measurements.append(Measurement(case, "measured"))
        return list(too_large.faults(measurements))

    assert ended("failed", "out of memory: CUDA out of memory") == []
    [large] = [case for case in cases if case.cell.endswith("Large")]
    assert ended("measured", "") == [f"measured in place of failed: {large.key}: "]
    assert len(ended("failed", "the worker was killed by SIGSEGV")) == 1


def test_a_resumed_run_has_all_windows_once_and_the_killed_workers_case_alone_fails() -> None:
    first, second = (small.case("gru", batch_size=size) for size in (1, 2))
    killed = Measurement(first, "failed", "the worker was killed by SIGKILL")
    good = Measurement(second, "measured")
    assert list(resumed.faults([killed, good], ["a", "b"], ["a", "b", "c"])) == []
    assert list(resumed.faults([good], ["a", "b"], ["a", "c", "c"])) == [
        "1 windows of the first part are gone",
        "1 windows are there twice",
    ]
    assert list(resumed.faults([good], ["a"], ["a"])) == ["no window was added by --resume"]
    wrong = list(resumed.faults([killed, Measurement(second, "pending", "not reached")], ["a"], ["a", "b"]))
    assert wrong == [
        "2 cases were not measured, more than the one that the killed worker was at",
        f"pending: {second.key}: not reached",
    ]


def test_a_live_measurement_is_right_with_a_ratio_equal_outputs_and_its_device() -> None:
    def result(ratio: float, parity: str) -> Measured:
        columns = {"ratio": [ratio, 1.0], "parity": [parity, "is the reference"]}
        frame = pd.DataFrame(columns, index=["loop", "torch"])
        return Measured(frame, frame, frame, "torch", "inference", "cuda:0", 1, "")

    good, bad = result(2.0, "agrees"), result(math.nan, "differs")
    assert live.faults(good, "inference", "cuda") == []
    assert live.faults(good, "inference", "cpu") == ["inference: it was measured on cuda:0"]
    assert live.faults(bad, "training", "cuda") == ["training: the ratio is nan", "training: parity is 'differs'"]


@pytest.mark.usefixtures("real_workers")
def test_the_worker_of_a_run_is_found_and_killed() -> None:
    worker = WorkerProcess("0000")
    try:
        end = time.monotonic() + 60
        while not resumed.kill_worker(os.getpid()):  # between fork and exec a process has another command line
            assert time.monotonic() < end
        assert worker._process.wait() == -signal.SIGKILL
    finally:
        worker.close()
