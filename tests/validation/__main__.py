"""`python -m tests.validation [TABLE ...] [--only KIND] [--share SHARE] [--times N] [--goals]`: make tables of errors.

Writes `results/validation/<table>.csv` and `.md`; without names, all tables but those that need hours or a package.
Each row says of which commit it is, and one of real times also the processor, and how many pulses were quiet. `--share`
tries that share of the full number. Of `faults`, `fuzz` and `gate`, `--only` makes the rows of one kind and keeps the
others; of `gate`, `--times` is the number of checks of each commit. `--goals` makes the simulated tables, keeps none of
them, and compares their rows with the goals: the program ends with 1 if one is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from tests.validation import (
    affected,
    asserted,
    bisect_real,
    bisect_simulated,
    checks_simulated,
    explained,
    fastest_grid,
    faults,
    fuzz,
    gate,
    goals,
    handed_back,
    histories,
    latency_simulated,
    live_simulated,
    made,
    not_slower_simulated,
    pairs,
    planted_edits,
    products,
    real,
    record,
    regret,
    shared_simulated,
    simulation,
    split_simulated,
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
    size: int | None = None  # the number that `make` takes, if the table is simulated
    summary: Summary | None = None  # what is shown of it; all rows otherwise
    is_live: bool = False  # of real times, whose processor and quiet pulses are kept
    is_of_processor: bool = False  # live, and the rows that were made on other processors stay
    takes_share: bool = False  # `--share`
    adds: bool = False  # each time a part, beside those that are kept
    takes_options: bool = False  # `--share` and `--only`; the rows of other kinds stay
    if_named: bool = False  # made only then: it takes hours, adds to what is kept, or needs a package


TABLES = {
    "simulated-coverage": Table(simulation.coverage, 2000),
    "real-coverage": Table(lambda: real.coverage(8), is_live=True),
    "busy-coverage": Table(lambda: real.coverage(8, busy=4), is_live=True),
    "shared-simulated": Table(shared_simulated.coverage, 10),
    "split-simulated": Table(split_simulated.gain, 10),
    "stopping-simulated": Table(stopping_simulated.coverage, 1200),
    "latency-simulated": Table(latency_simulated.coverage, 2000),
    "not-slower-simulated": Table(not_slower_simulated.error_rates, 300),
    "live-shared": Table(live_simulated.coverage, 12),
    "not-slower-shared": Table(live_simulated.answers, 20),
    "rounds-simulated": Table(not_slower_simulated.intervals, 1000),
    "verdicts-simulated": Table(verdicts_simulated.error_rates, 400),
    "checks-simulated": Table(checks_simulated.error_rates, 200),
    "alarms": Table(verdicts.alarms, summary=verdicts.rates, is_live=True, takes_share=True, adds=True, if_named=True),
    "stored-simulated": Table(stored_simulated.error_rates, 1000),
    "affected": Table(lambda: pd.concat([affected.edits(), planted_edits.planted()])),
    "bisect-simulated": Table(bisect_simulated.error_rates, 100),
    "bisect-real": Table(bisect_real.histories, summary=bisect_real.summary, is_live=True),
    "explained": Table(explained.explained, is_live=True),
    "products": Table(products.products, is_of_processor=True),
    "regret": Table(regret.regrets, summary=regret.summary, is_of_processor=True),
    "handed-back": Table(handed_back.searches, summary=handed_back.summary, is_of_processor=True),
    "fastest-lstm": Table(
        fastest_grid.lstms, summary=fastest_grid.summary, is_of_processor=True, takes_share=True, if_named=True
    ),
    "fastest-gru-rnn": Table(
        fastest_grid.grus_and_rnns,
        summary=fastest_grid.summary,
        is_of_processor=True,
        takes_share=True,
        if_named=True,
    ),
    "fastest-training": Table(
        fastest_grid.training, summary=fastest_grid.summary, is_of_processor=True, takes_share=True, if_named=True
    ),
    "unlike-coverage": Table(lambda: real.unlike(8), summary=real.of_states, is_live=True, if_named=True),
    "record": Table(record.tries, summary=record.record, is_live=True, takes_share=True, if_named=True),
    "assertions": Table(asserted.runs, summary=asserted.summary, is_live=True, takes_share=True, if_named=True),
    "pairs": Table(lambda: pairs.pairs(150), summary=pairs.summary, if_named=True),
    "histories": Table(histories.histories, summary=histories.summary, if_named=True),
    "gate": Table(gate.checks, takes_options=True, if_named=True),
    "faults": Table(faults.faults, takes_options=True, if_named=True),
    "fuzz": Table(fuzz.fuzz, takes_options=True, if_named=True),
    "strangers": Table(strangers.strangers, if_named=True),
    "strangers-fastest": Table(strangers.fastest_ways, is_live=True, if_named=True),
}


def main(arguments: list[str]) -> None:
    """Make the named tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.validation", description=__doc__)
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--only", default="", help="a part of the name of a kind of `faults`, `fuzz` or `gate`")
    parser.add_argument("--times", type=int, help="checks of each commit of `gate`; otherwise 3, and 20 of one")
    parser.add_argument("--busy", type=int, default=0, help="processes that run beside the checks of `gate`")
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
        quiet = [made.quiet_share()] if table.is_live or table.is_of_processor else []
        rows = _simulated(table, args.share) if table.size else table.make(*_options(name, args))
        seconds = time.monotonic() - started
        if quiet:
            about = made.Made(made.commit(), made.this_processor(), fmean([*quiet, made.quiet_share()]))
        else:
            about = made.Made(made.commit())
        _keep(name, rows, seconds, about)
        print((FOLDER / f"{name}.md").read_text(encoding="utf-8"))


def _options(name: str, args: argparse.Namespace) -> list[Any]:
    table = TABLES[name]
    options = [args.share, args.only] if table.takes_options else [args.share] if table.takes_share else []
    return [*options, args.times, args.busy] if name == "gate" else options


def _simulated(table: Table, share: float) -> pd.DataFrame:
    assert table.size is not None
    return table.make(max(1, round(share * table.size)))


def _miss_goals(names: Sequence[str], share: float) -> int:
    """Make simulated tables, print how their rows compare with the goals, and return 1 if one is missed, or else 0."""
    simulated = {name: table for name, table in TABLES.items() if table.size and (not names or name in names)}
    tables = {}
    for name, table in simulated.items():
        tables[name] = _simulated(table, share)
        print(f"{name}: made", flush=True)
    misses = goals.compared(tables)
    print(markdown(misses.sort_values("p-value")))
    print(f"{int(misses['missed'].sum())} of {len(misses)} shares miss their goals")
    return int(misses["missed"].any())


def _keep(name: str, rows: pd.DataFrame, seconds: float, about: made.Made) -> None:
    """Write a whole table as CSV, with the kept rows that stay, and what is shown of it as Markdown."""
    table, file = TABLES[name], FOLDER / f"{name}.csv"
    stored = pd.read_csv(file, keep_default_na=not table.takes_options) if file.exists() else rows.head(0)
    summary = table.summary or (lambda rows: rows)
    rows = rows.assign(**{column: value for column, value in about.columns().items() if column not in rows})
    visible_rows = rows
    if table.adds:
        visible_rows = rows = pd.concat([stored, rows], ignore_index=True)
    elif table.takes_options:
        kind = rows.columns[0]
        stored = stored[~stored[kind].isin(rows[kind])].reindex(columns=rows.columns, fill_value="")
        visible_rows = rows = pd.concat([stored, rows], ignore_index=True)
    elif table.is_of_processor:
        rows = beside_other_processors(rows, stored, about.processor)
        summary = partial(of_each_processor, summary)
        visible_rows = rows.drop(columns=[made.COMMIT, made.QUIET])
    elif name != "pairs":  # whose summary names the processor and the session of each row
        visible_rows = made.without(rows)
    rows.to_csv(file, index=False)
    heading = "; ".join(filter(None, [f"`python -m tests.validation {name}`, {seconds:.0f} s", made.said_of(rows)]))
    file.with_suffix(".md").write_text(f"{heading}\n\n{markdown(summary(visible_rows))}", encoding="utf-8")


def beside_other_processors(table: pd.DataFrame, stored: pd.DataFrame, here: str) -> pd.DataFrame:
    """Return a table of this processor below the kept rows of others."""
    others = stored[stored["processor"] != here] if len(stored) else stored
    return pd.concat([others, table.assign(processor=here)], ignore_index=True)


def of_each_processor(summary: Summary, table: pd.DataFrame) -> pd.DataFrame:
    """Return the summary of each processor's rows, one below the other."""
    parts = table.groupby("processor", sort=False)
    return pd.concat([summary(part.drop(columns="processor")).assign(processor=name) for name, part in parts])


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, with numbers to four significant digits."""
    show = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split()))
    lines = [list(table.columns), ["---"] * len(table.columns), *show.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
