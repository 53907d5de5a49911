"""Variables of the shell that change times or precision, and what is said of them."""

import psutil
import pytest

from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.machine import variables


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*variables.THREADS, *variables.LIBRARIES, *variables.VERBOSE, *variables.FLOAT32_IN_ONEDNN):
        monkeypatch.delenv(name, raising=False)


def test_a_limit_of_instruction_sets_is_recorded_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (variables.known(), variables.library_notes(), variables.imprecise_float32()) == ({}, [], "")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert variables.known() == {"OMP_NUM_THREADS": "8", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    assert variables.library_notes() == [
        "the shell sets ONEDNN_MAX_CPU_ISA=SSE41, which changes how fast torch's libraries are"
    ]


@pytest.mark.parametrize("name", ["DNNL_VERBOSE", "MKL_VERBOSE"])
def test_libraries_that_print_each_call_are_recorded_and_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0")
    assert variables.known() == {}
    monkeypatch.setenv(name, "1")
    assert variables.known() == {name: "1"}
    [note] = variables.library_notes()
    assert note.startswith(f"the shell sets {name}=1, which makes torch's libraries print a line for each call")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"DNNL_DEFAULT_FPMATH_MODE": "BF16"}, "The shell sets DNNL_DEFAULT_FPMATH_MODE=BF16"),
        ({"ONEDNN_DEFAULT_FPMATH_MODE": "any"}, "The shell sets ONEDNN_DEFAULT_FPMATH_MODE=any"),
        ({"ONEDNN_DEFAULT_FPMATH_MODE": "strict", "DNNL_DEFAULT_FPMATH_MODE": "BF16"}, ""),
    ],
)
def test_float32_in_bfloat16_is_told(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert variables.imprecise_float32().startswith(words)
    assert bool(variables.imprecise_float32()) is bool(words)


def test_workers_multiply_float32_in_full_precision_whatever_the_shell_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNL_DEFAULT_FPMATH_MODE", "BF16")
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    worker = WorkerProcess("0000")
    try:
        worker.wait_ready()
        environment = psutil.Process(worker.pid).environ()
    finally:
        worker.close()
    assert environment["ONEDNN_DEFAULT_FPMATH_MODE"] == "STRICT"
