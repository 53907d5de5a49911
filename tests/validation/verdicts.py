"""Error rates of the check on this machine: suites with known truth, because the slowdowns are planted.

`planted/` holds 24 cases of six cells, four of each, that take many steps in one call. In the head, some cells have
other code: it takes 5% or 10% more steps, or equally many. The other cases run the same code on both sides.
"""

import math
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from scipy import stats

from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.variances import t_quantile
from rnnbench.analysis.verdict import CHANGED, ONE_LOOK_CONFIDENCE
from rnnbench.check.live import check
from rnnbench.check.sides import select, sides
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from tests.validation import made

PLANTED = Path(__file__).with_name("planted")
# In place of 98, for 5% and 10%: 5.10% and 10.2% more; a call's overhead makes that 1-2% less.
NUMBERS = {0.0: "int(98)", 0.01: "99", 0.02: "100", 0.03: "101", 0.04: "102", 0.05: "103", 0.10: "108"}
CHECKS = {0.0: 300, 0.02: 30, 0.05: 30, 0.10: 30}  # planted slowdown -> checks of a whole table
CHECK_SECONDS = 20.0
FOUR_CASES = "cell=planted.py:VanillaSame,planted.py:VanillaSlow phase=inference"
Plan = dict[str, float]  # cell whose code differs -> planted slowdown


def alarms(share: float = 1.0) -> pd.DataFrame:
    """Make live checks of four cases whose code differs; return a row for each case.

    In most checks no speed differs; in others two of the cases are slower. `share`: of the full number of checks, which
    is a part of the table.
    """
    part = time.strftime("%Y-%m-%d %H:%M")
    rows = []
    for slowdown, number in CHECKS.items():
        for check_number in range(max(1, round(share * number))):
            started = time.monotonic()
            plan = {"VanillaSlow": slowdown, "VanillaSame": 0.0}
            comparison = one_check(plan, CHECK_SECONDS, only=(FOUR_CASES,))
            seconds = round(time.monotonic() - started, 1)
            quiet = round(made.quiet_share(), 3)
            about = {"part": part, "planted": slowdown, "check": check_number, "seconds": seconds, made.QUIET: quiet}
            rows += [about | row for row in _rows(comparison, plan)]
            print(
                f"{slowdown:.0%}, check {check_number}: {comparison.count('regressed')} regressed, {seconds} s",
                flush=True,
            )
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
        suite = suites.read_suite(str(head / "planted.toml")).with_check(**settings)
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
    """Yield the cases: what is planted in each, the verdict by time, and the p-value of no change."""
    for finding in comparison.findings:
        axes = finding.case.axes()
        cell = str(axes["cell"]).rpartition(":")[2]
        yield {
            "slowdown": plan.get(cell, 0.0),
            "case": f"{cell} {axes['phase']} batch {axes['batch_size']}",
            "verdict": finding.time_verdict,  # the counts would reveal every planted slowdown
            "state": finding.state,
            "replicates": finding.replicates,
            "ratio": finding.low.value if finding.low else math.nan,
            "p-value": _p_value(finding.low, finding.replicates),
        }


def _p_value(ratio: Estimate | None, replicates: int) -> float:
    """Return the two-sided p-value of a ratio of 1, as its interval says it; NaN without an interval."""
    if ratio is None or not ratio.has_interval or ratio.upper == ratio.lower:
        return math.nan
    error = math.log(ratio.upper / ratio.lower) / 2 / t_quantile((1 + ONE_LOOK_CONFIDENCE) / 2, replicates - 1)
    return 2 * float(stats.t.sf(abs(math.log(ratio.value)) / error, replicates - 1))


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each part and planted slowdown, and for all parts together: alarms with their bound, and power.

    An alarm is a verdict of change for a case in which nothing is planted. `alarms below`: the upper end of the 95%
    interval of their share of checks (Clopper and Pearson). Without a change, 5% of `p < 0.05` are right.
    """
    whole = table.copy()
    whole[["part", made.COMMIT]] = "all", ""
    rows = []
    for (part, planted), cases in pd.concat([table, whole]).groupby(["part", "planted"], sort=False):
        checks = cases.groupby("check" if part != "all" else ["check", "seconds"], sort=False)
        equal, slower = cases[cases["slowdown"] == 0], cases[cases["slowdown"] > 0]
        alarms_of_check = equal[equal["verdict"].isin(CHANGED)].groupby(["seconds", "check"]).ngroups
        number = checks.ngroups
        bound = float(stats.beta.ppf(0.975, alarms_of_check + 1, number - alarms_of_check))
        is_decided = cases["verdict"].isin([*CHANGED, "unchanged"])
        rows.append(
            {
                "part": part,
                "planted": f"{planted:.0%}",
                "checks": number,
                "with an alarm": alarms_of_check,
                "alarms below": f"{bound:.1%}",
                "equal cases decided": f"{is_decided[equal.index].mean():.0%}",
                "p < 0.05": f"{equal['p-value'].lt(0.05).sum()} of {equal['p-value'].notna().sum()}",
                "slower cases found": f"{slower['verdict'].eq('regressed').sum()} of {len(slower)}",
                "no case decided": int(
                    (~checks["verdict"].apply(lambda of: of.isin([*CHANGED, "unchanged"]).any())).sum()
                ),
                "undisturbed": f"{cases['state'].eq('undisturbed').mean():.0%}",
                "seconds": checks["seconds"].first().median(),
                made.QUIET: cases[made.QUIET].mean(),
                made.COMMIT: cases[made.COMMIT].iloc[0],
            }
        )
    return pd.DataFrame(rows)
