"""`python -m tests.validation [TABLE ...]`: measure the engine's own error, and keep the tables.

Writes `results/validation/<table>.csv` and `.md`; without names, all tables (some 25 minutes on two quiet cores).
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tests.validation import agreement, bias, cost, estimator, real, simulation

FOLDER = Path("results/validation")
SIMULATED_RUNS = 2000
REAL_RUNS = 8  # of 30 intervals each
TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "bias": bias.bias,
    "simulated-coverage": lambda: simulation.coverage(SIMULATED_RUNS),
    "real-coverage": lambda: real.coverage(REAL_RUNS),
    "agreement": agreement.agreement,
    "estimator": estimator.estimators,
    "cost": cost.cost,
}


def main(names: list[str]) -> None:
    """Make the tables named."""
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        sys.exit(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or TABLES:
        started = time.monotonic()
        table = TABLES[name]()
        table.to_csv(FOLDER / f"{name}.csv", index=False)
        text = f"`python -m tests.validation {name}`, {time.monotonic() - started:.0f} s\n\n{markdown(table)}"
        (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
        print(f"{name}: {text}")


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, numbers to four significant digits."""
    show = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else str(value))
    lines = [list(table.columns), ["---"] * len(table.columns), *show.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
