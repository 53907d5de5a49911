"""`python -m tests.validation [TABLE ...] [--only KIND] [--share SHARE] [--times N]`: measure errors, keep the tables.

Writes `results/validation/<table>.csv` and `.md`; without names, all tables but those that need hours or a package.
Of `faults`, `fuzz` and `gate`, `--only` makes the rows of one kind and keeps the others, `--share` tries that share of
the full number (of `gate`, `--times` checks of each commit), and the column `commit` says what was tried.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from rnnbench.harness.machine.cores import processor
from rnnbench.report.words.names import identity
from tests.validation import (
    affected,
    bisect_real,
    bisect_simulated,
    explained,
    faults,
    fuzz,
    gate,
    handed_back,
    history_simulated,
    latency_simulated,
    not_slower_simulated,
    pairs,
    planted_edits,
    products,
    real,
    regret,
    scaling,
    shared_simulated,
    simulation,
    stopping_simulated,
    stored_simulated,
    strangers,
    verdicts,
    verdicts_simulated,
)

FOLDER = Path("results/validation")
Summary = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Table:
    """How one table is made."""

    make: Callable[..., pd.DataFrame]
    summary: Summary | None = None  # what is shown of it; all rows otherwise
    is_of_processor: bool = False  # the rows that were made on other processors stay
    takes_options: bool = False  # `--share` and `--only`; the rows of other kinds stay
    if_named: bool = False  # made only then: it takes hours, adds to what is kept, or needs a package


TABLES = {
    "simulated-coverage": Table(lambda: simulation.coverage(2000)),
    "real-coverage": Table(lambda: real.coverage(8)),
    "busy-coverage": Table(lambda: real.coverage(8, busy=4)),
    "shared-simulated": Table(lambda: shared_simulated.coverage(10)),
    "stopping-simulated": Table(lambda: stopping_simulated.coverage(1200)),
    "latency-simulated": Table(lambda: latency_simulated.coverage(2000)),
    "scaling": Table(lambda: scaling.simulated(500)),
    "not-slower-simulated": Table(lambda: not_slower_simulated.error_rates(300)),
    "rounds-simulated": Table(lambda: not_slower_simulated.intervals(1000)),
    "history-simulated": Table(lambda: history_simulated.error_rates(10)),
    "history-few-cases": Table(lambda: history_simulated.few_cases(100)),
    "verdicts-simulated": Table(lambda: verdicts_simulated.error_rates(400)),
    "verdicts-slowed": Table(
        lambda: pd.concat([verdicts.slowed(10, 60, 0.05), verdicts.slowed(10, 25, 0.10)]),
        verdicts.rates,
        is_of_processor=True,
    ),
    "verdicts-unchanged": Table(
        lambda: pd.concat([verdicts.unchanged(20, 60), verdicts.unchanged(4, 120), verdicts.unchanged(16, 60, busy=2)]),
        verdicts.rates,
        is_of_processor=True,
    ),
    "stored-simulated": Table(lambda: stored_simulated.error_rates(1000)),
    "affected": Table(lambda: pd.concat([affected.edits(), planted_edits.planted()])),
    "bisect-simulated": Table(lambda: bisect_simulated.error_rates(100)),
    "bisect-real": Table(bisect_real.histories, bisect_real.summary),
    "explained": Table(explained.explained),
    "products": Table(products.products, is_of_processor=True),
    "regret": Table(regret.regrets, regret.summary, is_of_processor=True),
    "handed-back": Table(handed_back.searches, handed_back.summary, is_of_processor=True),
    "pairs": Table(lambda: pairs.pairs(150), pairs.summary, if_named=True),
    "gate": Table(gate.checks, takes_options=True, if_named=True),
    "faults": Table(faults.faults, takes_options=True, if_named=True),
    "fuzz": Table(fuzz.fuzz, takes_options=True, if_named=True),
    "strangers": Table(strangers.strangers, if_named=True),
    "strangers-fastest": Table(strangers.fastest_ways, if_named=True),
}


def main(arguments: list[str]) -> None:
    """Make the named tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.validation", description=__doc__)
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--only", default="", help="a part of the name of a kind of `faults`, `fuzz` or `gate`")
    parser.add_argument("--times", type=int, help="checks of each commit of `gate`; otherwise 3, and 20 of one")
    parser.add_argument("--busy", type=int, default=0, help="processes that run beside the checks of `gate`")
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of `faults` or `fuzz`")
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.tables if name not in TABLES]:
        sys.exit(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in args.tables or [name for name, table in TABLES.items() if not table.if_named]:
        table, started = TABLES[name], time.monotonic()
        options = (args.share, args.only) if table.takes_options else ()
        made = table.make(*options, *([args.times, args.busy] if name == "gate" else []))
        _keep(name, made, time.monotonic() - started)
        print((FOLDER / f"{name}.md").read_text(encoding="utf-8"))


def _keep(name: str, made: pd.DataFrame, seconds: float) -> None:
    """Write a whole table as CSV, with the kept rows that stay, and what is shown of it as Markdown."""
    table, file = TABLES[name], FOLDER / f"{name}.csv"
    kept = pd.read_csv(file, keep_default_na=not table.takes_options) if file.exists() else made.head(0)
    summary = table.summary or (lambda rows: rows)
    if table.takes_options:
        made, kind = made.assign(commit=_commit()), made.columns[0]
        kept = kept[~kept[kind].isin(made[kind])].reindex(columns=made.columns, fill_value="")
        made = pd.concat([kept, made], ignore_index=True)
    elif table.is_of_processor:
        made = beside_other_processors(made, kept, identity(processor()).split(";")[0])
        summary = partial(of_each_processor, summary)
    made.to_csv(file, index=False)
    text = f"`python -m tests.validation {name}`, {seconds:.0f} s\n\n{markdown(summary(made))}"
    file.with_suffix(".md").write_text(text, encoding="utf-8")


def beside_other_processors(table: pd.DataFrame, kept: pd.DataFrame, here: str) -> pd.DataFrame:
    """Return a table of this processor below the kept rows of others."""
    others = kept[kept["processor"] != here] if len(kept) else kept
    return pd.concat([others, table.assign(processor=here)], ignore_index=True)


def of_each_processor(summary: Summary, table: pd.DataFrame) -> pd.DataFrame:
    """Return the summary of each processor's rows, one below the other."""
    parts = table.groupby("processor", sort=False)
    return pd.concat([summary(part.drop(columns="processor")).assign(processor=name) for name, part in parts])


def _commit() -> str:
    """Return the commit that was tried, with `-dirty` where the code differs from it; the tables are no code."""
    commit = _git("rev-parse", "--short", "HEAD")
    return f"{commit}-dirty" if _git("status", "--porcelain", "--", "rnnbench", "tests", "suites") else commit


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, with numbers to four significant digits."""
    show = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split()))
    lines = [list(table.columns), ["---"] * len(table.columns), *show.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
