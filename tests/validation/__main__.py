"""`python -m tests.validation [TABLE ...] [--only KIND] [--share SHARE]`: measure errors, and keep the tables.

Writes `results/validation/<table>.csv` and `.md`; without names, all tables (some two hours on two quiet cores).
Made only when they are named: `faults`, `fuzz`, `gaps`, `gate` and `load`, which take long; `pairs`, which adds to what
is kept; `limits`, `against-r`, `strangers` and `strangers-fastest`, which need likwid-bench, R, or the package
torchrecurrent.

Of `faults`, `fuzz` and `gate`, `--only` makes the rows of one kind and keeps the others, `--share` tries that share of
the full number (of `gate` always all), and the column `commit` says what was tried.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from rnnbench.harness.machine.processor import processor
from rnnbench.report.words.processors import identity
from tests.validation import (
    affected,
    against_r,
    agreement,
    bias,
    bisect_real,
    bisect_simulated,
    cost,
    estimator,
    explained,
    faults,
    fleet,
    fuzz,
    gaps,
    gate,
    history_simulated,
    instructions,
    latency_simulated,
    limits,
    load,
    not_slower_simulated,
    pairs,
    products,
    pytest_door,
    real,
    regret,
    report_scale,
    rotating,
    scaling,
    simulation,
    slurm_sweep,
    stopping_simulated,
    stored_simulated,
    strangers,
    verdict_peers,
    verdicts,
    verdicts_simulated,
)

FOLDER = Path("results/validation")
Summary = Callable[[pd.DataFrame], pd.DataFrame]
SIMULATED_RUNS = 2000
SIMULATED_SUITES = 1000
SIMULATED_CHECKS = 400  # of each kind
SIMULATED_CASES = 1200  # of each kind
SIMULATED_FITS = 500
SIMULATED_HISTORIES = 10  # of each kind, with 100 cases each
SIMULATED_LINES = 100  # of histories of few cases, of each kind
SIMULATED_ASSERTIONS = 300
SIMULATED_SERIES = 1000  # of rounds, of each kind
SIMULATED_BISECTIONS = 500  # of each kind
SIMULATED_STREAMS = 2000  # of each kind
REAL_RUNS = 8  # with 30 intervals each
BUSY_PROCESSES = 4
TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "bias": bias.bias,
    "simulated-coverage": lambda: simulation.coverage(SIMULATED_RUNS),
    "real-coverage": lambda: real.coverage(REAL_RUNS),
    "busy-coverage": lambda: real.coverage(REAL_RUNS, busy=BUSY_PROCESSES),
    "agreement": agreement.agreement,
    "estimator": estimator.estimators,
    "cost": cost.cost,
    "fleet": fleet.fleets,
    "pytest-door": pytest_door.pytest_door,
    "not-slower-simulated": lambda: not_slower_simulated.error_rates(SIMULATED_ASSERTIONS),
    "rounds-simulated": lambda: not_slower_simulated.intervals(SIMULATED_SERIES),
    "slurm-sweep": slurm_sweep.sweeps,
    "scaling": lambda: scaling.scaling(SIMULATED_FITS),
    "explained": explained.explained,
    "verdicts-simulated": lambda: verdicts_simulated.error_rates(SIMULATED_CHECKS),
    "stopping-simulated": lambda: stopping_simulated.coverage(SIMULATED_CASES),
    "stored-simulated": lambda: stored_simulated.error_rates(SIMULATED_SUITES),
    "latency-simulated": lambda: latency_simulated.coverage(SIMULATED_STREAMS),
    "bisect-simulated": lambda: bisect_simulated.error_rates(SIMULATED_BISECTIONS),
    "history-simulated": lambda: history_simulated.error_rates(SIMULATED_HISTORIES),
    "history-few-cases": lambda: history_simulated.few_cases(SIMULATED_LINES),
    "history-trends": lambda: history_simulated.trends(SIMULATED_HISTORIES),
    "report-scale": report_scale.report_scale,
    "rotating-inputs": rotating.rotating,
    "products": products.products,
    "affected": affected.edits,
}
# These take long and are kept suite by suite: the CSV has every case, the Markdown the rates.
TRIALS: dict[str, list[verdicts.Trials]] = {
    "verdicts-slowed": [verdicts.slowed(10, 60)],
    "verdicts-unchanged": [verdicts.unchanged(40, 60)],
    "verdicts-hog": [verdicts.unchanged(2, 120, hog=True), verdicts.slowed(2, 120, hog=True)],
    "verdicts-one-call-in-ten": [verdicts.slowed_in_one_call_of_ten(2, 120)],
}
# The rows that were made on other processors stay in these tables.
OF_PROCESSORS = {"cost", "gaps", "limits", "products", "regret", *TRIALS}
PEERS = "verdicts-peers"
PAIRS = "pairs"  # made only when named: each time adds the machine of that day
PAIRS_SECONDS = 150
# All rows are kept as CSV, and a summary is shown.
SUMMARIZED: dict[str, tuple[Callable[[], pd.DataFrame], Summary]] = {
    "regret": (regret.regrets, regret.summary),
    "instructions": (instructions.counted, instructions.summary),
    "bisect-real": (bisect_real.histories, bisect_real.summary),
}
# Made only when named: they are about faults, strangers' files and size, not about time.
HARDENING: dict[str, Callable[[float, str], pd.DataFrame]] = {
    "faults": faults.faults,
    "fuzz": fuzz.fuzz,
    "gate": gate.checks,
}
# Made only when named: they take long, or need likwid-bench, R or a package.
BY_NAME: dict[str, Callable[[], pd.DataFrame]] = {
    "load": load.load,
    "gaps": gaps.unexplained,
    "limits": limits.limits,
    "against-r": against_r.against_r,
    "report-scale-huge": report_scale.huge,
    "strangers": strangers.strangers,
    "strangers-fastest": strangers.fastest_ways,
    "strangers-tries": strangers.tries,
}


def main(arguments: list[str]) -> None:
    """Make the named tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.validation", description=__doc__)
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--only", default="", help="a part of the name of a kind of `faults` or `fuzz`")
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of `faults` or `fuzz`")
    args = parser.parse_args(arguments)
    names = args.tables
    made_always = [*TABLES, *TRIALS, PEERS, *SUMMARIZED]
    known = [*made_always, *HARDENING, *BY_NAME, PAIRS]
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no table {unknown[0]!r}; there are {', '.join(known)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or made_always:
        started = time.monotonic()
        if name in HARDENING:
            _keep_rows(name, HARDENING[name](args.share, args.only))
        elif name == PAIRS:
            _keep(name, started, pairs.pairs(PAIRS_SECONDS), pairs.summary)
        elif name in SUMMARIZED:
            make, summary = SUMMARIZED[name]
            _keep(name, started, make(), summary)
        elif name in TABLES or name in BY_NAME:
            _keep(name, started, (TABLES | BY_NAME)[name]())
        else:
            suites, rates = (
                (verdict_peers.peers(), verdict_peers.rates)
                if name == PEERS
                else (verdicts.run(TRIALS[name]), verdicts.rates)
            )
            rows = pd.DataFrame()
            for suite in suites:
                rows = pd.concat([rows, suite])
                _keep(name, started, rows, rates)
        print((FOLDER / f"{name}.md").read_text(encoding="utf-8"))


def _keep(name: str, started: float, table: pd.DataFrame, summary: Summary = lambda table: table) -> None:
    """Write a whole table as CSV, and its summary as Markdown."""
    file = FOLDER / f"{name}.csv"
    if name in OF_PROCESSORS:
        table = beside_other_processors(table, pd.read_csv(file) if file.exists() else None, _processor())
        summary = partial(of_each_processor, summary)
    table.to_csv(file, index=False)
    shown = summary(table)
    text = f"`python -m tests.validation {name}`, {time.monotonic() - started:.0f} s\n\n{markdown(shown)}"
    (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")


def beside_other_processors(table: pd.DataFrame, kept: pd.DataFrame | None, processor: str) -> pd.DataFrame:
    """A table of this processor below the kept rows of others."""
    here = table.assign(processor=processor)
    return here if kept is None else pd.concat([kept[kept["processor"] != processor], here], ignore_index=True)


def of_each_processor(summary: Summary, table: pd.DataFrame) -> pd.DataFrame:
    """The summary of each processor's rows, one below the other."""
    parts = table.groupby("processor", sort=False)
    return pd.concat([summary(part.drop(columns="processor")).assign(processor=name) for name, part in parts])


def _processor() -> str:
    return identity(processor()).split(";")[0]


def _keep_rows(name: str, rows: pd.DataFrame) -> None:
    """Replace the rows of the same kinds in a kept table; the kind is the first column."""
    rows = rows.assign(commit=_commit())
    file = FOLDER / f"{name}.csv"
    kind = rows.columns[0]
    kept = pd.read_csv(file, keep_default_na=False) if file.exists() else rows.head(0)
    kept = kept[~kept[kind].isin(rows[kind])].reindex(columns=rows.columns, fill_value="")
    table = pd.concat([kept, rows], ignore_index=True)
    table.to_csv(file, index=False)
    text = f"`python -m tests.validation {name}`\n\n{markdown(table)}"
    file.with_suffix(".md").write_text(text, encoding="utf-8")


def _commit() -> str:
    """The commit that was tried, with `-dirty` where the code differs from it; the tables are no code."""
    commit = _git("rev-parse", "--short", "HEAD")
    return f"{commit}-dirty" if _git("status", "--porcelain", "--", "rnnbench", "tests", "suites") else commit


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, with numbers to four significant digits."""
    show = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split()))
    lines = [list(table.columns), ["---"] * len(table.columns), *show.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
