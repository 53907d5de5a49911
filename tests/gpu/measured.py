"""`python -m tests.gpu.measured SUITE ...`: do `rnnbench run` and check that every expected case was measured.

Exit code 1 if a case failed, was skipped without need, or was not reached.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rnnbench import suites
from rnnbench.expressions import parse_only
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.records import Case, Measurement


def expected(suite: str, only: Sequence[str], device: str) -> list[Case]:
    """The cases that a run must have measured: all that the device supports."""
    groups = suites.read(suite).groups(parse_only(only), device, most=None)
    cases = [case for group in groups for case in group.cases]
    return [case for case in cases if case.implementation != "cudagraph" or device.startswith("cuda")]


def faults(cases: Iterable[Case], measurements: dict[str, Measurement]) -> Iterable[str]:
    """A line for each case that was not measured."""
    for case in cases:
        measurement = measurements.get(case.key)
        if measurement is None:
            yield f"not in the run: {case.key}"
        elif measurement.status != "measured":
            yield f"{measurement.status}: {case.key}: {measurement.reason}"


def main(arguments: Sequence[str]) -> int:
    """Run the suite and judge the newest run folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("suite")
    for option in ("--device", "--out", "--budget"):
        parser.add_argument(option, required=True)
    parser.add_argument("--only", action="append", default=[])
    args = parser.parse_args(arguments)
    flags = [text for only in args.only for text in ("--only", only)]
    flags += ["--device", args.device, "--out", args.out, "--budget", args.budget, "--allow-missing"]
    done = subprocess.run([sys.executable, "-m", "rnnbench", "run", args.suite, *flags], check=False)
    if done.returncode:
        return done.returncode
    runs = sorted(Path(args.out).glob("*/run.json"), key=lambda file: file.stat().st_mtime)
    if not runs:
        print(f"{args.out} holds no run")
        return 1
    run = runs[-1].parent
    cases, measurements = expected(args.suite, args.only, args.device), last_measurements(run)
    wrong = list(faults(cases, measurements))
    for case in cases:
        if "compile_seconds" in (known := measurements.get(case.key, Measurement(case, "pending"))).metrics:
            print(f"compiled in {known.metrics['compile_seconds']:.1f} s: {case.key}")
    print("\n".join(wrong))
    info = read_info(run)
    print(
        f"{len(cases) - len(wrong)} of {len(cases)} cases measured, {info.replicates} replicates, {info.seconds:.0f} s"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
