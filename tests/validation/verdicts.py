"""Error rates of the check on this machine: suites with known truth, because the slowdowns are planted.

`planted/` holds 24 cases of six cells, four of each, that take many steps in one call. In the head, some cells have
other code: it takes 5% or 10% more steps, or equally many. The other cases run the same code on both sides.
"""

import itertools
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from rnnbench.analysis.comparison import Comparison
from rnnbench.check.live import check
from rnnbench.check.sides import select, sides
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from tests.validation.noise import hogs

PLANTED = Path(__file__).with_name("planted")
SLOW, SAME = ("VanillaSlow", "LSTMSlow", "GRUSlow"), ("VanillaSame", "LSTMSame", "GRUSame")
# In place of 98, for 5% and 10%: 5.10% and 10.2% more; a call's overhead makes that 1-2% less.
NUMBERS = {0.0: "int(98)", 0.01: "99", 0.02: "100", 0.03: "101", 0.04: "102", 0.05: "103", 0.10: "108"}
Plan = dict[str, float]  # cell whose code differs -> planted slowdown


def unchanged(number: int, budget_seconds: float, busy: int = 0) -> pd.DataFrame:
    """Check suites in which all code differs and no speed does, beside busy processes; return a row for each case."""
    kind = "all 24 cases changed" + (f", beside {busy} busy processes" if busy else "")
    with hogs(busy):
        return _checked(kind, [dict.fromkeys((*SLOW, *SAME), 0.0)] * number, budget_seconds)


def slowed(number: int, budget_seconds: float, slowdown: float) -> pd.DataFrame:
    """Check suites in which the code of one slowed cell differs, and that of one as fast as before."""
    cells = itertools.islice(itertools.cycle(itertools.product(SLOW, SAME)), number)
    plans = [{slow: slowdown, same: 0.0} for slow, same in cells]
    return _checked(f"8 of 24 changed, 4 by {slowdown:.0%}", plans, budget_seconds)


def _checked(kind: str, plans: Sequence[Plan], budget_seconds: float) -> pd.DataFrame:
    """Return a row for each timed case of each suite."""
    rows = []
    for number, plan in enumerate(plans):
        started = time.monotonic()
        comparison = one_check(plan, budget_seconds)
        seconds = round(time.monotonic() - started, 1)
        about = {"kind": kind, "budget": budget_seconds, "suite": number, "seconds": seconds}
        rows += [about | row for row in _rows(comparison, plan)]
        print(f"{kind}, suite {number}: {comparison.count('regressed')} regressed, {seconds} s", flush=True)
    return pd.DataFrame(rows)


def one_check(
    plan: Plan,
    budget_seconds: float,
    device: str | None = None,
    *,
    only: Sequence[str] = (),
    margin: float | None = None,
) -> Comparison:
    """A live check of the planted suite against a head with the plan's slowdowns, or of some of its cases."""
    with tempfile.TemporaryDirectory() as scratch:
        base, head = Path(scratch) / "base", Path(scratch) / "head"
        write_sides(base, head, plan)
        settings = {"budget_seconds": budget_seconds, "margin": margin}
        suite = suites.read(str(head / "planted.toml")).with_check(**settings)
        with sides(suite, str(base), None) as (base_side, second):
            # The larger budget of both suites applies.
            first = replace(base_side, suite=base_side.suite.with_check(**settings))
            selection = select(first, second, parse_only(only), device)
            return check(first, second, *selection, out=Path(scratch), on_progress=lambda step: None)[1]


def write_sides(base: Path, head: Path, plan: Plan) -> None:
    """Write two folders with the planted suite, the head's changed by the plan."""
    for folder in (base, head):
        shutil.copytree(PLANTED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    code = (PLANTED / "planted.py").read_text()
    for cell, slowdown in plan.items():
        code, replaced = re.subn(rf"(class {cell}\(.*\n.*\n.*return) 98", rf"\1 {NUMBERS[slowdown]}", code)
        assert replaced == 1
    (head / "planted.py").write_text(code)


def _rows(comparison: Comparison, plan: Plan) -> Iterator[dict[str, object]]:
    """The cases that were timed: the planted slowdown, the verdict by time, and the ratios."""
    for finding in comparison.findings:
        if finding.rule == "same code":
            continue
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


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each kind, budget and slowdown: verdicts of the cases, and the suites with a false alarm."""
    rows = []
    for (kind, budget, slowdown), cases in table.groupby(["kind", "budget", "slowdown"]):
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
