"""`python -m tests.gpu.truth [DEVICE]`: the device's clock against other tools', taken in turns in one process.

Eight cases of the suite `cuda`, spread over its grid. Warm calls are held against `torch.utils.benchmark`, calls after
a flush of the cache against `triton.testing.do_bench`, which flushes it too, where triton is installed. The exit code
is 1 where a median ratio is off by more than 2%. On a CPU the cases are smaller, and only the program is tried.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.benchmark import Timer

from rnnbench import suites
from rnnbench.expressions import parse_only
from rnnbench.measure import devices
from rnnbench.measure.engine import calibrate, take_window, warm_up
from rnnbench.store.records import Case
from rnnbench.workloads.prepare import build
from tests.validation.__main__ import markdown

ROUNDS = 9
SECONDS = 0.1
ALLOWED = 0.02
EIGHT = "cell=lstm,gru implementation=loop phase=inference,training batch_size=32 hidden_size=512 dtype=float32"
LENGTHS = {"cpu": "seq_len=32", "cuda": "seq_len=256"}

Side = Callable[[], float]  # seconds per call


def chosen(device: str) -> list[Case]:
    """Eight cases: four of a loop, and of each the reference, which is kept with it."""
    only = parse_only([EIGHT, LENGTHS.get(device.partition(":")[0], LENGTHS["cuda"])])
    return [case for group in suites.read("cuda").groups(only, device, most=None) for case in group.cases]


def compared(case: Case) -> list[dict[str, Any]]:
    """One row for each tool that a case is held against."""
    device = devices.open_device(case.workload.device)
    torch.set_num_threads(case.workload.threads)
    timed = build(case, Path()).timed_call()
    rows = []
    with timed.mode():
        for tool, cold, theirs in _tools(case, timed.call):
            plan = calibrate(device, timed.call, SECONDS, cold=cold)
            warm_up(device, timed.call, plan)

            def ours(plan: Any = plan) -> float:
                return median(take_window(device, timed.call, plan).quantiles)

            logs = _log_ratios(ours, theirs)
            shared = {"case": f"{case.cell} {case.implementation} {case.workload.phase}", "against": tool}
            rows.append(shared | {"median ratio": float(np.exp(median(logs))), "spread": float(np.std(logs))})
    return rows


def _tools(case: Case, call: Callable[[], object]) -> list[tuple[str, bool, Side]]:
    """Name, whether it flushes caches before each call, and what it says a call takes."""
    timer = Timer("call()", globals={"call": call}, num_threads=case.workload.threads)
    found: list[tuple[str, bool, Side]] = [
        ("torch.utils.benchmark", False, lambda: float(timer.blocked_autorange(min_run_time=SECONDS).median))
    ]
    if importlib.util.find_spec("triton") is not None and not devices.is_shared(case.workload.device):
        do_bench = importlib.import_module("triton.testing").do_bench
        found.append(("triton.testing.do_bench", True, lambda: do_bench(call, return_mode="median") / 1e3))
    return found


def _log_ratios(ours: Side, theirs: Side) -> list[float]:
    logs = []
    for turn in range(ROUNDS):
        if turn % 2:
            first, second = ours(), theirs()
        else:
            second, first = theirs(), ours()
        logs.append(float(np.log(first / second)))
    return logs


def main(device: str) -> int:
    """Print the table; whether some ratio is off."""
    table = pd.DataFrame([row for case in chosen(device) for row in compared(case)])
    table["within"] = (table["median ratio"] - 1).abs() <= ALLOWED
    print(markdown(table))
    return int(not table["within"].all())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda"))
