"""`python -m tests.gpu.resumed DEVICE OUT`: kill a worker of a run, interrupt the run and resume it.

Only the case that the worker was timing fails, with the signal's name; all others are measured, no window twice.
"""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import psutil

from rnnbench.harness.coordinator.origin import STARTER
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.records import Measurement

SUITE = """
name = "resumed"

[measure]
replicates = 8
precision = 0.9

[[sweep]]
cell = ["lstm", "gru"]
implementation = ["loop", "hoisted", "torch.nn"]
batch_size = [1, 32]
"""
WAIT_SECONDS = 60.0


def windows(out: Path) -> list[str]:
    """The lines of all windows that are stored below `out`."""
    return [line for file in out.glob("*/windows-*.jsonl") for line in file.read_text(encoding="utf-8").splitlines()]


def kill_worker(pid: int) -> bool:
    """Kill a worker of this process and return whether there was one."""
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if str(STARTER) in process.cmdline():
                process.kill()
                return True
        except psutil.Error:
            continue  # it has ended meanwhile
    return False


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; raises SystemExit if it takes too long."""
    end = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"within {WAIT_SECONDS:.0f} s {what}")
        time.sleep(0.02)


def cut_off(command: Sequence[str], out: Path) -> list[str]:
    """Start a run, kill its worker while it times, interrupt the run some windows later; return the windows kept."""
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: len(windows(out)) > 10, "the run has no windows")
        wait_until(lambda: kill_worker(process.pid), "no worker was found")
        before = len(windows(out))
        wait_until(lambda: len(windows(out)) > before + 10, "the run does not go on after its worker was killed")
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_SECONDS)
    finally:
        process.kill()
    return windows(out)


def faults(measurements: Iterable[Measurement], kept: Sequence[str], after: Sequence[str]) -> Iterable[str]:
    """The faults of the run after it was resumed."""
    unmeasured = [measurement for measurement in measurements if measurement.status != "measured"]
    if len(unmeasured) > 1:
        yield f"{len(unmeasured)} cases were not measured, more than the one that the killed worker was at"
    yield from (
        f"{measurement.status}: {measurement.case.key}: {measurement.reason}"
        for measurement in unmeasured
        if "SIGKILL" not in measurement.reason
    )
    if lost := Counter(kept) - Counter(after):
        yield f"{lost.total()} windows of the first part are gone"
    if twice := [line for line, count in Counter(after).items() if count > 1]:
        yield f"{len(twice)} windows are there twice"
    if len(after) <= len(kept):
        yield "no window was added by --resume"


def main(arguments: Sequence[str]) -> int:
    """Run, interrupt, resume and judge."""
    device, out = arguments[0], Path(arguments[1])
    out.mkdir(parents=True, exist_ok=True)
    suite = out / "resumed.toml"
    suite.write_text(SUITE, encoding="utf-8")
    rnnbench = [sys.executable, "-m", "rnnbench", "run", str(suite), "--allow-missing"]
    out = out / f"{time.time():.0f}"
    kept = cut_off([*rnnbench, "--device", device, "--out", str(out)], out)
    run = next(out.glob("*/run.json")).parent
    print(f"cut off: {read_info(run).status}, {len(kept)} windows", flush=True)
    done = subprocess.run([*rnnbench, "--resume", str(run)], check=False)
    after = windows(out)
    wrong = list(faults(last_measurements(run).values(), kept, after))
    if done.returncode or read_info(run).status != "finished":
        wrong.append(f"--resume ended with {done.returncode}, and the run is {read_info(run).status}")
    print("\n".join(wrong) or f"resumed: {len(kept)} windows kept, {len(after) - len(kept)} added, none twice")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
