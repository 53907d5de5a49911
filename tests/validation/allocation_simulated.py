"""What it gains to choose the length of turns: whole runs with the real planner, clock, pulses and estimators.

The clock is a fake one. Each group is a case and its reference on a core that is quiet or shared (`shared_simulated`),
and each visit costs some seconds beside its turns. In the same budget, runs whose turns keep the length that the suite
gives are compared with runs whose planner chooses it. The truth is the ratio on a quiet core.
"""

import itertools
import math
import random
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimates_of, undisturbed_estimates_of
from rnnbench.harness.devices import Cpu
from rnnbench.harness.turns.allocation import TurnsTaken
from rnnbench.harness.turns.planner import Planner
from rnnbench.store.records import Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.validation.shared_simulated import PROCESS_SPREAD, RATIOS, SHARINGS, Machine, Sharing, turns_taken, whole

GROUPS = 8
OVERHEAD = (0.1, 0.4)  # seconds of a visit beside its turns, drawn evenly for each group
START_SECONDS = 0.2  # of a replicate
CALLS = {"0.1 to 0.4 ms": (1e-4, 4e-4), "0.2 to 3 ms": (2e-4, 3e-3)}  # of the reference
BUDGET = 40.0
SETTINGS = Settings(replicates=4, precision=0.005, max_replicates=100)


@dataclass(frozen=True)
class Simulated:
    """A group on the simulated machine."""

    group: Group
    seconds: float  # of a call of the reference
    ratio: float
    overhead: float
    responses: tuple[float, float]


class FixedPlanner(Planner):
    """A planner whose turns keep the length that the suite gives."""

    def _allocate(self, groups: object, left: float) -> None:
        """Choose nothing."""


def one_run(
    planner_type: type[Planner], sharing: Sharing, calls: tuple[float, float], budget: float, seed: str
) -> pd.DataFrame:
    """Return a row for each group of a run that ends with its budget."""
    rng = random.Random(seed)
    of_run = rng.uniform(*sharing.quiet)
    simulated = [_drawn(number, calls, sharing, rng) for number in range(GROUPS)]
    by_group = {each.group: each for each in simulated}
    planner = planner_type([*by_group], SETTINGS)
    planner.add_start(START_SECONDS)
    shared: dict[Group, list[float]] = {group: [] for group in by_group}
    undisturbed: dict[Group, list[tuple[float, int]]] = {group: [] for group in by_group}
    clocked, spent = 0.0, START_SECONDS
    while visits := planner.next_visits(budget - spent):
        spent += START_SECONDS
        for group in visits:
            each = by_group[group]
            quiet = rng.uniform(*sharing.quiet) if sharing.by == "visit" else of_run
            seconds, own_seconds = _visited(each, Machine(rng, quiet, sharing.bout), planner, rng)
            spent += seconds
            clocked += own_seconds
    record = {group: planner._records[group] for group in by_group}
    for group in by_group:
        loop = group.cases[0].key
        shared[group] = record[group].log_ratios[loop]
        undisturbed[group] = record[group].undisturbed[loop]
    rows = []
    estimates = zip(
        simulated, estimates_of([*shared.values()]), undisturbed_estimates_of([*undisturbed.values()]), strict=True
    )
    for each, by_all, by_quiet in estimates:
        best = by_quiet if by_quiet.has_interval else by_all
        rows.append(
            {
                "undisturbed": by_quiet.has_interval,
                "error": by_quiet.value - math.log(each.ratio) if by_quiet.has_interval else math.nan,
                "half-width": (best.upper - best.lower) / 2,
                "covered": by_quiet.lower <= math.log(each.ratio) <= by_quiet.upper
                if by_quiet.has_interval
                else math.nan,
                "replicates": record[each.group].visits,
                "clocked": clocked / budget,
                "spent": spent / budget,
            }
        )
    return pd.DataFrame(rows)


def _drawn(number: int, calls: tuple[float, float], sharing: Sharing, rng: random.Random) -> Simulated:
    size = number + 1
    cases = small.case("gru", batch_size=size), small.reference_case(batch_size=size)
    low, high = calls
    seconds = low * (high / low) ** rng.random()
    responses = rng.uniform(*sharing.response), rng.uniform(*sharing.response)
    ratio = RATIOS[number % len(RATIOS)]
    return Simulated(Group(cases[0].workload, cases), seconds, ratio, rng.uniform(*OVERHEAD), responses)


def _visited(each: Simulated, machine: Machine, planner: Planner, rng: random.Random) -> tuple[float, float]:
    """Let a group be visited, and the planner know it; returns the seconds of the visit, and those of its calls."""
    loop, reference = (case.key for case in each.group.cases)
    costs = {loop: each.seconds * each.ratio, reference: each.seconds}
    costs = {arm: cost * math.exp(rng.gauss(0, PROCESS_SPREAD)) for arm, cost in costs.items()}
    asked = planner.case_seconds(each.group)
    halves = turns_taken(machine, costs, dict(zip(costs, each.responses, strict=True)), asked)
    # `blocks` are seconds of a call, and each block is as long as a call of the slower one.
    block = max(*costs.values(), Cpu.blocks.seconds)
    own_seconds = sum(len(taken.blocks) * block for taken in halves[reference])
    of_halves = [{arm: halves[arm][number].times() for arm in halves} for number in range(2)]
    turns = TurnsTaken(asked, own_seconds, machine.seconds, (of_halves[0], of_halves[1]), quiet_share=1.0)
    seconds = each.overhead + machine.seconds
    planner.add_visit(each.group, seconds, whole(halves), turns)
    return seconds, 2 * own_seconds


def gain(runs: int) -> pd.DataFrame:
    """Return a row for each way of sharing, length of calls and planner: how well groups are known."""
    rows = []
    for (name, sharing), calls in itertools.product(SHARINGS.items(), CALLS):
        for word, planner_type in (("as the suite says", FixedPlanner), ("chosen", Planner)):
            results = pd.concat(
                one_run(planner_type, sharing, CALLS[calls], BUDGET, f"{name} {calls} {run}") for run in range(runs)
            )
            rows.append(
                {
                    "the core is": name,
                    "calls of the reference": calls,
                    "length of turns": word,
                    "groups": len(results),
                    "undisturbed": results["undisturbed"].mean(),
                    "undisturbed within 2%": (results["undisturbed"] & (results["half-width"] < 0.02)).mean(),
                    "half-width": results["half-width"].median(),
                    "half-width of the worst tenth": results["half-width"].quantile(0.9),
                    "typical error": np.sqrt((results["error"] ** 2).mean()),
                    "covered": results["covered"].mean(),
                    "replicates": results["replicates"].mean(),
                    "clocked": results["clocked"].mean(),
                    "spent, at most": results["spent"].max(),
                }
            )
    return pd.DataFrame(rows)
