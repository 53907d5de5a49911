"""Error rates of the check on this machine: suites with known truth, because the slowdowns are planted.

`planted/` holds 24 cases of real cells that take many steps in one call. The base runs it unchanged. In the head half
of the cases take more steps: 3%, 5% or 10%, assigned to the cells differently in each suite, or 50% in one call of
ten. In other suites nothing differs.
"""

import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rnnbench import suites
from rnnbench.analysis.comparison import Comparison
from rnnbench.harness.check.check import check
from rnnbench.harness.check.selection import select
from rnnbench.harness.check.sides import sides
from tests.validation.hogs import hogs

PLANTED = Path(__file__).with_name("planted")
CELLS = ("VanillaSlow", "LSTMSlow", "GRUSlow")
STEPS = {0.03: 101, 0.05: 103, 0.10: 108}  # in place of 98
STEPS_OF_EVERY_TENTH_CALL = 147
Plan = dict[str, float]  # cell -> planted slowdown


@dataclass(frozen=True)
class Trials:
    """A number of suites of one kind."""

    kind: str
    plans: Sequence[Plan]
    budget_seconds: float
    hog: bool = False
    every_tenth: bool = False


def unchanged(number: int, budget_seconds: float, *, hog: bool = False) -> Trials:
    """Suites in which nothing differs."""
    return Trials("unchanged", [{}] * number, budget_seconds, hog)


def slowed(number: int, budget_seconds: float, *, hog: bool = False) -> Trials:
    """Suites in which the three slowed cells have the three slowdowns, in changing order."""
    turns = itertools.islice(itertools.cycle(itertools.permutations(STEPS)), number)
    return Trials("slowed", [dict(zip(CELLS, sizes, strict=True)) for sizes in turns], budget_seconds, hog)


def slowed_in_one_call_of_ten(number: int, budget_seconds: float) -> Trials:
    """Suites in which every tenth call of the slowed cells takes 50% longer: 5% in the mean."""
    return Trials("one call in ten", [dict.fromkeys(CELLS, 0.05)] * number, budget_seconds, every_tenth=True)


def run(trials: Sequence[Trials]) -> Iterator[pd.DataFrame]:
    """A frame for each suite with a row for each case: the planted slowdown, the verdict by time, and the ratios."""
    for trial in trials:
        for number, plan in enumerate(trial.plans):
            started = time.monotonic()
            with hogs(int(trial.hog), rests=True):
                comparison = one_check(plan, trial.budget_seconds, every_tenth=trial.every_tenth)
            seconds = time.monotonic() - started
            kind = f"{trial.kind}, with a hog" if trial.hog else trial.kind
            about = {"kind": kind, "budget": trial.budget_seconds, "suite": number, "seconds": round(seconds, 1)}
            rows = pd.DataFrame([about | row for row in _rows(comparison, plan)])
            counts = rows.groupby(["slowdown", "verdict"]).size().to_dict()
            print(f"{kind}, {trial.budget_seconds:.0f} s, suite {number}: {counts}, {seconds:.0f} s", flush=True)
            yield rows


def one_check(plan: Plan, budget_seconds: float, *, every_tenth: bool, device: str | None = None) -> Comparison:
    """A live check of the planted suite against a head with the plan's slowdowns."""
    with tempfile.TemporaryDirectory() as scratch:
        base, head = Path(scratch) / "base", Path(scratch) / "head"
        write_sides(base, head, plan, every_tenth=every_tenth)
        suite = suites.read(str(head / "planted.toml")).with_check(budget_seconds=budget_seconds)
        with sides(suite, str(base), None, None) as (first, second):
            selection = select(first, second, {}, device, any_number=False)
            return check(first, second, selection, out=Path(scratch), command="", on_progress=lambda step: None)[1]


def write_sides(base: Path, head: Path, plan: Plan, *, every_tenth: bool = False) -> None:
    """Write two folders with the planted suite, the head's slowed by the plan."""
    for folder in (base, head):
        shutil.copytree(PLANTED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    table = "STEPS_OF_EVERY_TENTH_CALL" if every_tenth else "STEPS"
    steps = {cell: STEPS_OF_EVERY_TENTH_CALL if every_tenth else STEPS[size] for cell, size in plan.items()}
    code = (PLANTED / "planted.py").read_text()
    empty = f"\n{table}: dict[str, int] = {{}}\n"
    assert empty in code
    (head / "planted.py").write_text(code.replace(empty, f"\n{table}: dict[str, int] = {steps}\n"))


def _rows(comparison: Comparison, plan: Plan) -> Iterator[dict[str, object]]:
    for finding in comparison.findings:
        axes = finding.case.axes()
        cell = str(axes["cell"]).rpartition(":")[2]
        yield {
            "slowdown": plan.get(cell, 0.0),
            "case": f"{cell} {axes['phase']} batch {axes['batch_size']}",
            "verdict": finding.time_verdict,  # the counts would reveal every planted slowdown
            "replicates": finding.replicates,
            "ratio": finding.low.value if finding.low else None,
            "mean_ratio": finding.mean.value if finding.mean else None,
        }


def rates(found: pd.DataFrame) -> pd.DataFrame:
    """One row for each kind, budget and slowdown: verdicts of the cases, and the suites with a false alarm."""
    rows = []
    for (kind, budget, slowdown), cases in found.groupby(["kind", "budget", "slowdown"]):
        verdicts = cases["verdict"].value_counts()
        alarms = cases[cases["verdict"].isin(["regressed", "improved"])]["suite"].nunique()
        names = ("regressed", "undecided", "unchanged", "improved")
        rows.append(
            {
                "suites": kind,
                "budget (s)": f"{budget:.0f}",
                "slowdown": f"{slowdown:.0%}",
                "number": cases["suite"].nunique(),
                "cases": len(cases),
                **{verdict: int(verdicts.get(verdict, 0)) for verdict in names},
                "suites with a false alarm": "" if slowdown else str(alarms),
                "median ratio": cases["ratio"].median(),
                "spread of a case's ratio": cases.groupby("case")["ratio"].std().median(),
                "median seconds": cases.groupby("suite")["seconds"].first().median(),
            }
        )
    return pd.DataFrame(rows)
