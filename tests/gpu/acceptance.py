"""`python -m tests.gpu.acceptance STEP...`: run steps, print a table last, leave one archive. See README.md here."""

import argparse
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.gpu.steps import Task, steps

KILL_SECONDS = 20.0  # after an interrupt
MAX_KEPT_BYTES = 20 << 20  # of each file in the archive
ARCHIVE = "acceptance.tar.gz"
NOT_KEPT = ("packages", ARCHIVE)
SHOWN_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """How a task ended."""

    step: str
    task: Task
    seconds: float
    fault: str  # empty if the task passed
    last_line: str


def plan(chosen: Sequence[str], known: dict[str, list[Task]]) -> Iterable[str]:
    """The tasks of each step, with their time limits."""
    for step in chosen:
        yield f"{step}: at most {sum(task.limit_seconds for task in known[step])} s"
        yield from (f"  {task.name:<14}{task.limit_seconds:>5} s  {' '.join(task.command[2:])}" for task in known[step])


def run(step: str, task: Task, out: Path) -> Outcome:
    """Run one task with its output in `out/logs`; interrupt it at its limit, and kill it if it goes on."""
    log = out / "logs" / f"{step}-{task.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        with log.open("w", encoding="utf-8") as file:
            code = _exit_code([_newest(argument) for argument in task.command], task, file.fileno())
    except OSError as fault:
        log.write_text(f"{fault}\n", encoding="utf-8")
        code = 127
    text = log.read_text(encoding="utf-8", errors="replace")
    written = [line for line in text.splitlines() if line.strip()]
    print("\n".join(written[-SHOWN_LINES:]), flush=True)
    return Outcome(step, task, time.monotonic() - began, _fault(task, code, text), written[-1] if written else "")


def _newest(argument: str) -> str:
    if "*" not in argument:
        return argument
    pattern = Path(argument)
    paths = sorted(pattern.parent.glob(pattern.name), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise FileNotFoundError(f"nothing matches {argument}: the task before has left no run")
    return str(paths[-1])


def _exit_code(command: Sequence[str], task: Task, output: int) -> int | None:
    """The exit code of a command, or None if it reached the time limit."""
    process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT, cwd=task.folder, start_new_session=True
    )
    try:
        return process.wait(task.limit_seconds)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGINT)
        try:
            process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()
        return None
    except BaseException:
        _signal_group(process, signal.SIGKILL)
        raise


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it has ended by itself meanwhile


def _fault(task: Task, code: int | None, text: str) -> str:
    if code is None:
        return f"longer than {task.limit_seconds} s"
    if code:
        return f"exit code {code}"
    if task.needs and not re.search(task.needs, text):
        return f"its output lacks {task.needs!r}"
    if task.refuses and (match := re.search(task.refuses, text)):
        return f"its output has {match[0]!r}"
    return ""


def table(outcomes: Iterable[Outcome]) -> Iterable[str]:
    """One line for each task."""
    for outcome in outcomes:
        result = outcome.fault or "ok"
        seconds = f"{outcome.seconds:>5.0f} of {outcome.task.limit_seconds:>3} s"
        yield f"{outcome.step:<6} {outcome.task.name:<12} {seconds}  {result:<20} {outcome.last_line[:80]}".rstrip()


def keep(out: Path) -> Iterable[str]:
    """Write the archive, and return lines about it and the files left out."""
    with tarfile.open(out / ARCHIVE, "w:gz") as archive:
        for path in sorted(path for path in out.rglob("*") if path.is_file() and not path.is_symlink()):
            inside = path.relative_to(out)
            if inside.parts[0] in NOT_KEPT:
                continue
            if path.stat().st_size > MAX_KEPT_BYTES:
                yield f"not in the archive, since it is larger than {MAX_KEPT_BYTES >> 20} MiB: {inside}"
                continue
            archive.add(path, Path("acceptance") / inside, recursive=False)
    yield f"{out / ARCHIVE}: {(out / ARCHIVE).stat().st_size / 1e6:.2f} MB"


def main(arguments: Sequence[str]) -> int:
    """Run the steps; exit code 1 if a task failed."""
    parser = argparse.ArgumentParser(prog="tests/gpu/acceptance.sh")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(steps('cuda', Path()))}")
    args = parser.parse_args(arguments)
    known = steps(args.device, args.out)
    if unknown := [step for step in args.steps if step not in known]:
        parser.error(f"no step {unknown[0]!r}; there are {', '.join(known)}")
    if not args.steps:
        print("\n".join(plan(list(known), known)))
        parser.error("name the steps to run")
    print("\n".join(plan(args.steps, known)), flush=True)
    outcomes = []
    for step in args.steps:
        for task in known[step]:
            print(f"\n== {step}: {task.name}", flush=True)
            outcomes.append(run(step, task, args.out))
    lines = list(table(outcomes))
    (args.out / "logs" / f"table-{'-'.join(args.steps)}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n" + "\n".join([*keep(args.out), "", *lines]))
    return int(any(outcome.fault for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
