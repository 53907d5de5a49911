"""`python -m tests.gpu.acceptance STEP...`: run steps, each a few programs with a time limit, and print a table last.

DEVICE in the environment names the device. Imports only the standard library.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEVICE = os.environ.get("DEVICE", "cuda")
SHOWN_LINES = 12
TIMED_OUT = (124, 137)  # exit codes of `timeout`

EIGHT = "cell=lstm batch_size=32 hidden_size=512 seq_len=32 dtype=float32 implementation=loop,hoisted,cudagraph"
ALIKE = r"\d unchanged|unchanged within"  # what a check prints
APART = r"\d (cases? )?(improved|regressed)"
COMPILED = "cell=lstm batch_size=32 hidden_size=512 seq_len=32 implementation=compiled"
# 16 groups
GRID = "cell=lstm,gru batch_size=32,256 hidden_size=512,2048 seq_len=256 dtype=float32,bfloat16 phase=training"
UNCHANGED = "cell=gru batch_size=32 implementation=loop,hoisted"  # 4 cases: a pair of CUDA workers takes 8 s to start
FLASH = "batch_size=16 hidden_size=768 seq_len=1024 dtype=float32,float16"
NOT_FORKED = "was started anew"  # what a run says if workers can't be forked, which makes it take minutes longer
UNKNOWN = r'(energy_joules|device_seconds)"+: '  # in an exported table, of a case that lacks what its card can tell
PROFILED = "cell=lstm phase=inference batch_size=32 hidden_size=512 seq_len=32 implementation=loop"
# The same on a CPU, with suites, sizes and times that fit it; the resulting figures mean nothing.
SMALL = "cell=lstm phase=inference batch_size=1 hidden_size=64 seq_len=16 implementation="
ON_CPU = {
    COMPILED: ("ladder", f"{SMALL}compiled", 60),
    GRID: ("quick", "cell=lstm,gru batch_size=1", 40),
    FLASH: ("published", "cell=gru seq_len=1", 40),
    PROFILED: ("ladder", f"{SMALL}loop", 60),
}


@dataclass(frozen=True)
class Task:
    """One program of a step; it fails by its exit code, its time, or what it prints."""

    name: str
    limit_seconds: int
    arguments: Sequence[str | Path]  # of Python's `-m`; one with a * becomes the newest matching path
    needs: str = ""  # a pattern that the output must contain
    refuses: str = ""  # a pattern that the output must not contain


def steps(out: Path) -> dict[str, list[Task]]:
    """Return the tasks of each step, in the order of importance."""
    on_gpu = DEVICE != "cpu"

    def chosen(name: str, suite: str, only: str, seconds: int) -> list[str | Path]:
        if not on_gpu:
            suite, only, seconds = ON_CPU.get(only, (suite, only, seconds))
        return [suite, "--device", DEVICE, "--only", only, "--budget", f"{seconds}s", "--out", out / name]

    def measured(limit: int, *arguments: str | int) -> Task:
        name, suite, only, seconds = arguments
        refuses = rf"\d ({'skipped|' if on_gpu else ''}failed|not reached)|{NOT_FORKED}"  # a CPU has no graphs
        command = ["rnnbench", "run", *chosen(str(name), str(suite), str(only), int(seconds))]
        return Task(str(name), limit, command, needs=r"\d cases? in ", refuses=refuses)

    def tests(name: str, limit: int, file: str, *only: str) -> Task:
        command = ["pytest", "-q", "-s", f"tests/{file}", "-p", "no:cacheprovider", *only]
        return Task(name, limit, command, needs=r"\d+ passed", refuses=r"\d+ skipped" if on_gpu else "")

    exported: list[str | Path] = ["rnnbench", "export", out / "eight-cases" / "*-2*", "--format", "csv"]

    unchanged: list[str | Path] = ["rnnbench", "check", "ci", "--all", "--base", copied_code(out), "--device", DEVICE]
    unchanged += ["--only", UNCHANGED, "--budget", "90s", "--out", out / "unchanged"]
    return {
        "smoke": [
            Task("doctor", 20, ["rnnbench", "doctor", "--no-probe"]),
            measured(60, "eight-cases", "cuda", EIGHT, 40),
            Task("readings", 10, exported, needs="implementation=loop", refuses=UNKNOWN if on_gpu else ""),
            tests("rates", 30, "gpu/test_truth.py", "-k", "ceilings"),
        ],
        "captures": [
            tests("graphed", 100, "workloads/test_graphed.py"),
            tests("equal-layer", 60, "speedup/test_equal_layer.py"),
            tests("cuda-tests", 150, "harness/devices/test_cuda.py"),
            measured(180, "compiled", "cuda-full", COMPILED, 160),
        ],
        "truth": [tests("truth", 240, "gpu/test_truth.py", "-k", "not ceilings")],
        "run": [
            measured(330, "grid", "cuda", GRID, 300),
            Task("report", 50, ["rnnbench", "report", out / "grid" / "*-2*", "--out", out / "report"]),
            measured(120, "flash-rnn", "published", FLASH, 100),
        ],
        "gate": [
            Task("slowed", 120, ["tests.gpu.slowed", DEVICE, "90"], refuses=NOT_FORKED),
            Task("unchanged", 120, unchanged, needs=ALIKE, refuses=f"{APART}|{NOT_FORKED}"),
            Task(
                "profile",
                90,
                ["rnnbench", "profile", *chosen("profile", "cuda", PROFILED, 60)],
                refuses="not profiled:",
            ),
        ],
        "more": [tests("more", 520, "gpu/test_more.py")],
    }


def copied_code(out: Path) -> Path:
    """Return a folder with a copy of this code and of the suite `ci`, where `--base` looks for them."""
    copy = out / "copy"
    if not copy.exists():
        shutil.copytree(ROOT / "rnnbench", copy / "rnnbench", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "suites" / "ci.toml", copy)
    return copy


def run(step: str, task: Task, out: Path) -> tuple[str, str]:
    """Run a task with its output in `out/logs`, interrupted at its limit; returns its fault, and a line with it."""
    log = out / "logs" / f"{step}-{task.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = []
    for argument in map(Path, task.arguments):
        newest = (
            max(argument.parent.glob(argument.name), key=os.path.getmtime, default=None)
            if "*" in argument.name
            else None
        )
        arguments.append(str(newest or argument))
    limit = ["timeout", "--signal=INT", "--kill-after=20", str(task.limit_seconds)]
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        command = [*limit, sys.executable, "-m", *arguments]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, check=False).returncode
    seconds = time.monotonic() - began
    text = log.read_text(encoding="utf-8", errors="replace")
    written = [line for line in text.splitlines() if line.strip()] or [""]
    print("\n".join(written[-SHOWN_LINES:]), flush=True)
    fault = ""
    if code:
        fault = f"longer than {task.limit_seconds} s" if code in TIMED_OUT else f"exit code {code}"
    elif task.needs and not re.search(task.needs, text):
        fault = f"its output lacks {task.needs!r}"
    elif task.refuses and (match := re.search(task.refuses, text)):
        fault = f"its output has {match[0]!r}"
    times = f"{seconds:>5.0f} of {task.limit_seconds:>3} s"
    return fault, f"{step:<8} {task.name:<12} {times}  {fault or 'ok':<20} {written[-1][:80]}".rstrip()


def main(arguments: Sequence[str]) -> int:
    """Run the steps; exit code 1 if a task failed."""
    parser = argparse.ArgumentParser(prog="tests/gpu/acceptance.sh")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("steps", nargs="*", metavar="STEP")
    args = parser.parse_args(arguments)
    known = steps(args.out)
    if not args.steps or not known.keys() >= set(args.steps):
        parser.error(f"name steps to run, of {', '.join(known)}")
    outcomes = []
    for step in args.steps:
        for task in known[step]:
            print(f"\n== {step}: {task.name}, at most {task.limit_seconds} s", flush=True)
            outcomes.append(run(step, task, args.out))
    lines = "\n".join(line for _, line in outcomes)
    (args.out / "logs" / f"table-{'-'.join(args.steps)}.txt").write_text(f"{lines}\n", encoding="utf-8")
    print(f"\n{lines}")
    return int(any(fault for fault, _ in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
