"""`python -m tests.validation [TABLE ...] [--share SHARE] [--goals]`: make tables of errors.

Writes `results/validation/<table>.csv` and `.md`; without names, all tables but those that need hours or a package.
Each row says of which commit it is, and one of real times also the processor, and how many pulses were quiet. `--share`
tries that share of the full number. `--goals` makes the simulated tables, keeps none of them, and compares their rows
with the goals: the program ends with 1 if one is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd

from tests.validation import (
    affected,
    checks_simulated,
    explained,
    faults,
    goals,
    handed_back,
    histories,
    live_simulated,
    made,
    planted_edits,
    real,
    rounds_simulated,
    runs_apart,
    shared_simulated,
    stopping_simulated,
    stored_simulated,
    verdicts,
    verdicts_simulated,
)

FOLDER = Path("results/validation")
Summary = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Table:
    """How one table is made."""

    make: Callable[..., pd.DataFrame]
    size: int | None = None  # the number that `make` takes, if the table is simulated
    summary: Summary | None = None  # what is shown of it; all rows otherwise
    is_live: bool = False  # of real times, whose processor and quiet pulses are kept
    takes_share: bool = False  # `--share`
    adds: bool = False  # each time a part, beside those that are kept
    if_named: bool = False  # made only then: it takes hours, adds to what is kept, or needs a package


TABLES = {
    "stopping-simulated": Table(stopping_simulated.coverage, 1200),
    "real-coverage": Table(lambda: real.coverage(8), is_live=True),
    "shared-simulated": Table(shared_simulated.coverage, 10),
    "live-shared": Table(live_simulated.coverage, 12),
    "rounds-simulated": Table(rounds_simulated.intervals, 1000),
    "verdicts-simulated": Table(verdicts_simulated.error_rates, 400),
    "checks-simulated": Table(checks_simulated.error_rates, 200),
    "alarms": Table(verdicts.alarms, summary=verdicts.rates, is_live=True, takes_share=True, adds=True, if_named=True),
    "repeated": Table(runs_apart.repeated, summary=runs_apart.rates, is_live=True, adds=True, if_named=True),
    "stored-simulated": Table(stored_simulated.error_rates, 1000),
    "affected": Table(lambda: pd.concat([affected.edits(), planted_edits.planted()])),
    "histories": Table(histories.histories, summary=histories.summary, if_named=True),
    "explained": Table(explained.explained, is_live=True),
    "handed-back": Table(handed_back.searches, summary=handed_back.summary, is_live=True),
    "faults": Table(faults.faults, takes_share=True, if_named=True),
}


def main(arguments: list[str]) -> None:
    """Make the named tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.validation", description=__doc__)
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--share", type=float, default=1.0, help="of the full number")
    parser.add_argument("--goals", action="store_true", help="compare simulated tables with their goals, and keep none")
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.tables if name not in TABLES]:
        sys.exit(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    if args.goals:
        sys.exit(_miss_goals(args.tables, args.share))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in args.tables or [name for name, table in TABLES.items() if not table.if_named]:
        table, started = TABLES[name], time.monotonic()
        quiet = [made.quiet_share()] if table.is_live else []
        rows = _made(table, args.share)
        seconds = time.monotonic() - started
        if quiet:
            about = made.Made(made.commit(), made.this_processor(), fmean([*quiet, made.quiet_share()]))
        else:
            about = made.Made(made.commit())
        _keep(name, rows, seconds, about)
        print((FOLDER / f"{name}.md").read_text(encoding="utf-8"))


def _made(table: Table, share: float) -> pd.DataFrame:
    if table.size is not None:
        return table.make(max(1, round(share * table.size)))
    return table.make(share) if table.takes_share else table.make()


def _miss_goals(names: Sequence[str], share: float) -> int:
    """Make simulated tables, print how their rows compare with the goals, and return 1 if one is missed, or else 0."""
    simulated = {name: table for name, table in TABLES.items() if table.size and (not names or name in names)}
    tables = {}
    for name, table in simulated.items():
        tables[name] = _made(table, share)
        print(f"{name}: made", flush=True)
    misses = goals.compared(tables)
    print(markdown(misses.sort_values("p-value")))
    print(f"{int(misses['missed'].sum())} of {len(misses)} shares miss their goals")
    return int(misses["missed"].any())


def _keep(name: str, rows: pd.DataFrame, seconds: float, about: made.Made) -> None:
    """Write a whole table as CSV, with the kept rows if it adds to them, and what is shown of it as Markdown."""
    table, file = TABLES[name], FOLDER / f"{name}.csv"
    columns = {column: value for column, value in about.columns().items() if column not in rows}  # a row's own counts
    rows = rows.assign(**columns)
    if table.adds and file.exists():
        rows = pd.concat([pd.read_csv(file), rows], ignore_index=True)
    rows.to_csv(file, index=False)
    visible_rows = rows if table.adds else made.without(rows)
    shown = table.summary(visible_rows) if table.summary else visible_rows
    heading = "; ".join(filter(None, [f"`python -m tests.validation {name}`, {seconds:.0f} s", made.said_of(rows)]))
    file.with_suffix(".md").write_text(f"{heading}\n\n{markdown(shown)}", encoding="utf-8")


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, with numbers to four significant digits."""
    show = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split()))
    lines = [list(table.columns), ["---"] * len(table.columns), *show.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
