"""The steps of the acceptance run, each a few programs with a time limit. Imports only the standard library."""

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_STEP_SECONDS = 540
PYTHON = (sys.executable, "-m")

EIGHT = "cell=lstm batch_size=32 hidden_size=512 seq_len=32 dtype=float32 implementation=loop,hoisted,cudagraph"
COMPILED = "cell=lstm batch_size=32 hidden_size=512 seq_len=32 implementation=compiled"
GRID = "cell=lstm,gru batch_size=32,256 hidden_size=512,2048 seq_len=256 dtype=float32,bfloat16"
FLASH = "batch_size=16 hidden_size=768 seq_len=1024 dtype=float32,float16"
PROFILED = "cell=lstm phase=inference batch_size=32 hidden_size=512 seq_len=32 implementation=loop"

# The same on a CPU, with suites, sizes and times that fit it; the resulting figures mean nothing.
ON_CPU = {
    COMPILED: (
        "ladder",
        "cell=lstm phase=inference batch_size=1 hidden_size=64 seq_len=16 implementation=compiled",
        60,
    ),
    GRID: ("quick", "cell=lstm,gru batch_size=1,32 hidden_size=64 seq_len=16", 40),
    FLASH: ("published", "cell=gru seq_len=1", 40),
    PROFILED: ("quick", "cell=lstm phase=inference batch_size=1 hidden_size=64 seq_len=16 implementation=loop", 60),
}


@dataclass(frozen=True)
class Task:
    """One program of a step; it fails by its exit code, its time, or what it prints."""

    name: str
    limit_seconds: int
    command: tuple[str, ...]  # an argument with a * becomes the newest matching path when the task starts
    needs: str = ""  # a pattern that the output must contain
    refuses: str = ""  # a pattern that the output must not contain
    folder: Path = ROOT  # working directory


def steps(device: str, out: Path) -> dict[str, list[Task]]:
    """The tasks of each step, in the order of importance."""
    on_gpu = device != "cpu"

    def module(name: str, *arguments: str) -> tuple[str, ...]:
        return (*PYTHON, f"tests.gpu.{name}", *arguments)

    def chosen(name: str, suite: str, only: str, seconds: int) -> tuple[str, ...]:
        if not on_gpu:
            suite, only, seconds = ON_CPU.get(only, (suite, only, seconds))
        return (suite, "--device", device, "--only", only, "--budget", f"{seconds}s", "--out", str(out / name))

    def measured(name: str, suite: str, only: str, seconds: int) -> tuple[str, ...]:
        return module("measured", *chosen(name, suite, only, seconds))

    smi = [Task("nvidia-smi", 20, ("nvidia-smi", "-q"))] if on_gpu else []
    run = str(out / "grid" / "*-2*")
    tests = ("tests/harness/devices/test_cuda.py", "-m", "cuda", "-p", "no:cacheprovider")
    profiled = (*PYTHON, "rnnbench", "profile", *chosen("profile", "cuda", PROFILED, 60))
    return {
        "smoke": [
            *smi,
            Task("packages", 20, module("packages")),
            Task("doctor", 30, (*PYTHON, "rnnbench", "doctor", "--no-probe")),
            Task("rates", 50, module("rates", device)),
            Task("eight-cases", 60, measured("eight-cases", "cuda", EIGHT, 40)),
            Task("compiled", 120, measured("compiled", "cuda-full", COMPILED, 100)),
            Task("cuda-tests", 120, (*PYTHON, "pytest", "-q", *tests), needs=r"\d+ passed" if on_gpu else "skipped"),
        ],
        "truth": [Task("truth", 290, module("truth", device))],
        "run": [
            Task("grid", 270, measured("grid", "cuda", GRID, 240)),
            Task("report", 50, (*PYTHON, "rnnbench", "report", run, "--out", str(out / "report"))),
            Task("flash-rnn", 120, measured("flash-rnn", "published", FLASH, 100)),
        ],
        "gate": [
            Task("slowed", 120, module("slowed", device, "90")),
            Task("unchanged", 120, module("unchanged", device, "90", str(out / "unchanged"))),
            Task("profile", 90, profiled, needs="reports/", refuses="not profiled:", folder=out),
        ],
        "more": [
            Task("suspicions", 110, module("suspicions", device)),
            Task("live", 120, module("live", device)),
            Task("resumed", 200, module("resumed", device, str(out / "resumed"))),
            Task("too-large", 90, module("too_large", device, str(out / "too-large"))),
        ],
    }
