"""What it gains to split a group whose calls differ much: runs of one group on a simulated shared core.

A case of 0.45 ms and a longer one are timed beside a reference of 0.3 ms, by the real planner, turns and estimators on
a fake clock, until the budget is spent. Runs whose planner splits the group on a shared core are compared with runs in
which all cases have blocks as long as the longest call. The truth is the ratio on a quiet core.
"""

import math
import random
from functools import partial

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import quiet_estimates_of
from rnnbench.analysis.replicate_times import undisturbed_log_ratio
from rnnbench.harness.turns.planner import Planner
from rnnbench.harness.turns.split import split
from rnnbench.store.records import Case, Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.validation.shared_simulated import PROCESS_SPREAD, SHARINGS, Machine, Sharing, turns_taken, whole

REFERENCE, SHORT, LONG = small.reference_case(), small.case("vanilla", "hoisted"), small.case("vanilla")
GROUP = Group(REFERENCE.workload, (SHORT, LONG, REFERENCE))
REFERENCE_SECONDS, SHORT_SECONDS = 3e-4, 4.5e-4
LONG_SECONDS = (1.5e-3, 4e-3)
START_SECONDS, VISIT_SECONDS, PREPARE_SECONDS = 0.05, 0.05, 0.1  # of a replicate, a visit, a case in it
BUDGET = 5.0
SETTINGS = Settings(replicates=2, max_replicates=1000, precision=1e-4)


def one_run(sharing: Sharing, long_seconds: float, seed: str, *, may_split: bool) -> pd.DataFrame:
    """Return a row for each of the two cases that are compared."""
    rng = random.Random(seed)
    of_run = rng.uniform(*sharing.quiet)
    seconds = {SHORT: SHORT_SECONDS, LONG: long_seconds, REFERENCE: REFERENCE_SECONDS}
    responses = {case.key: rng.uniform(*sharing.response) for case in GROUP.cases}
    planner, spent = Planner([GROUP], SETTINGS), 0.0
    planner.add_start(START_SECONDS)
    subgroups = split(GROUP, {case.key: seconds[case] for case in seconds}, sum(sharing.quiet) / 2)
    if may_split and len(subgroups) > 1:
        planner.split(GROUP, subgroups)
    samples: dict[Case, list[tuple[float, int]]] = {SHORT: [], LONG: []}
    while visits := planner.next_visits(BUDGET - spent):
        [group] = visits
        quiet = rng.uniform(*sharing.quiet) if sharing.by == "visit" else of_run
        machine = Machine(rng, quiet, sharing.bout)
        costs = {case.key: seconds[case] * math.exp(rng.gauss(0, PROCESS_SPREAD)) for case in group.cases}
        times = whole(turns_taken(machine, costs, responses, planner.case_seconds))
        took = VISIT_SECONDS + PREPARE_SECONDS * len(costs) + machine.seconds
        spent += START_SECONDS + took
        planner.add_visit(group, took, times)
        for case, sample in samples.items():
            if case in group.cases:
                sample.append(undisturbed_log_ratio(times[case.key], times[REFERENCE.key]))
    rows = []
    for case, estimate in zip(samples, quiet_estimates_of([*samples.values()]), strict=True):
        truth = math.log(seconds[case] / REFERENCE_SECONDS)
        rows.append(
            {
                "case": "short" if case == SHORT else "long",
                "is undisturbed": estimate.has_interval,
                "half-width": (estimate.upper - estimate.lower) / 2,
                "error": estimate.value - truth if estimate.has_interval else math.nan,
                "covered": estimate.lower <= truth <= estimate.upper if estimate.has_interval else math.nan,
                "visits": len(samples[case]),
            }
        )
    return pd.DataFrame(rows)


def gain(runs: int) -> pd.DataFrame:
    """Return a row for each way of sharing, length of the long call, case and planner."""
    tables = []
    for name, sharing in SHARINGS.items():
        for long_seconds in LONG_SECONDS:
            for word, may_split in (("whole", False), ("split", True)):
                run = partial(one_run, sharing, long_seconds, may_split=may_split)
                results = pd.concat([run(f"{name} {long_seconds} {number}") for number in range(runs)])
                table = results.groupby("case", sort=False).agg(
                    **{
                        "runs": ("is undisturbed", "size"),
                        "undisturbed": ("is undisturbed", "mean"),
                        "half-width": ("half-width", "median"),
                        "typical error": ("error", lambda errors: float(np.sqrt((errors**2).mean()))),
                        "covered": ("covered", "mean"),
                        "visits": ("visits", "mean"),
                    }
                )
                table.insert(0, "group", word)
                table.insert(0, "longest call, ms", 1e3 * long_seconds)
                table.insert(0, "the core is", name)
                tables.append(table.reset_index())
    columns = ["the core is", "longest call, ms", "case", "group"]
    whole_table = pd.concat(tables, ignore_index=True)
    return whole_table[[*columns, *(column for column in whole_table if column not in columns)]]
