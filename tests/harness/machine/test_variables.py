"""Variables of the shell that change times or precision, and what is said of them."""

import pytest

from rnnbench.harness.coordinator.origin import worker_environment
from rnnbench.harness.machine import variables


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*variables.THREADS, *variables.LIBRARIES, *variables.VERBOSE, *variables.FLOAT32_IN_ONEDNN):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("settings", "recorded", "note"),
    [
        ({}, "", ""),
        ({"OMP_NUM_THREADS": "8"}, "OMP_NUM_THREADS", ""),
        (
            {"ONEDNN_MAX_CPU_ISA": "SSE41"},
            "ONEDNN_MAX_CPU_ISA",
            "the shell sets ONEDNN_MAX_CPU_ISA=SSE41, which changes how fast torch's libraries are",
        ),
        ({"DNNL_VERBOSE": "0"}, "", ""),
        ({"CUDA_MODULE_LOADING": "LAZY"}, "", ""),  # torch itself sets it, up to 2.9
        ({"CUDA_MODULE_LOADING": "EAGER"}, "CUDA_MODULE_LOADING", "the shell sets CUDA_MODULE_LOADING=EAGER"),
        (
            {"MKL_VERBOSE": "1"},
            "MKL_VERBOSE",
            "the shell sets MKL_VERBOSE=1, which makes torch's libraries print a line for each call",
        ),
    ],
)
def test_what_changes_the_speed_of_libraries_is_recorded_and_told(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], recorded: str, note: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert variables.settings() == {name: settings[name] for name in recorded.split()}
    assert "; ".join(variables.library_notes()).startswith(note)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ""),
        ({"DNNL_DEFAULT_FPMATH_MODE": "BF16"}, "the shell sets DNNL_DEFAULT_FPMATH_MODE=BF16, which lets"),
        ({"ONEDNN_DEFAULT_FPMATH_MODE": "any"}, "the shell sets ONEDNN_DEFAULT_FPMATH_MODE=any, which lets"),
        ({"ONEDNN_DEFAULT_FPMATH_MODE": "strict", "DNNL_DEFAULT_FPMATH_MODE": "BF16"}, ""),
    ],
)
def test_float32_in_bfloat16_is_told(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert variables.library_notes() == []  # workers multiply in full precision
    told = "; ".join(variables.library_notes(in_float32=True))
    assert told.startswith(words)
    assert bool(told) is bool(words)


def test_workers_multiply_float32_in_full_precision_whatever_the_shell_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNL_DEFAULT_FPMATH_MODE", "BF16")
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    assert worker_environment(None)["ONEDNN_DEFAULT_FPMATH_MODE"] == "STRICT"
