"""Agreement: the engine's medians against those of torch.utils.benchmark, in turns in one process."""

from statistics import median

import numpy as np
import pandas as pd
from torch.utils.benchmark import Timer

from rnnbench.harness.devices import Cpu
from rnnbench.harness.turns.engine import calibrate, take_window, warm_up
from tests.validation.cases import chosen, timed

ROUNDS = 9
SECONDS = 0.1


def agreement() -> pd.DataFrame:
    """One row for each of twelve cases, with both medians and their ratio."""
    rows = []
    for case in chosen():
        call, device = timed(case), Cpu()
        with call.mode():
            plan = calibrate(device, call.call, SECONDS)
            warm_up(device, call.call, plan)
            timer = Timer("call()", globals={"call": call.call}, num_threads=1)
            ours, theirs = [], []
            for turn in range(ROUNDS):
                for side in ("ours", "theirs") if turn % 2 else ("theirs", "ours"):
                    if side == "ours":
                        ours.append(median(take_window(device, call.call, plan).quantiles))
                    else:
                        theirs.append(timer.blocked_autorange(min_run_time=SECONDS).median)
        workload = case.workload
        rows.append(
            {
                "case": f"{case.cell} {case.implementation} {workload.phase} batch {workload.batch_size}",
                "rnnbench (us)": median(ours) * 1e6,
                "torch.utils.benchmark (us)": median(theirs) * 1e6,
                "median ratio": float(np.exp(np.median(np.log(np.array(ours) / np.array(theirs))))),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(within=(table["median ratio"] - 1).abs() <= 0.02)
