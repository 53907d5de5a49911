"""Table: how far each series is from its reference, over all sizes."""

import pandas as pd

from rnnbench.report.tables.table import Column, Of, Table, of, table, where_new
from rnnbench.report.words.axes import one_line, several, word
from rnnbench.report.words.medians import CONTEXT, medians
from rnnbench.report.words.reference import ALONE, words
from rnnbench.report.words.units import count, ratio, ratio_interval


def render(summary: pd.DataFrame) -> Table:
    """Median and range of the ratio, one row for each cell, implementation and phase."""
    frame = medians(summary)
    columns = [
        Column("cell", of("series")),
        Column("phase", of("phase")),
        *(Column(word(axis), of(axis, one_line)) for axis in several(summary, CONTEXT)),
        Column("median ratio", of("median", ratio), numeric=True),
        Column("lowest to highest", Of(("lowest", "highest"), _range), numeric=True),
        Column("cases", Of(("compared", "cases"), _compared), numeric=True),
        *([Column("undecided", of("undecided", count), numeric=True)] if frame["undecided"].any() else []),
        Column("parity", of("parity")),
    ]
    reference = words(summary)
    machine = frame.drop(columns="series").rename(
        columns={
            "median": f"median_ratio_to_{reference.key}",
            "lowest": f"lowest_ratio_to_{reference.key}",
            "highest": f"highest_ratio_to_{reference.key}",
        }
    )
    return table(
        "medians",
        f"Ratio to {reference.name} over all sizes" if reference.has_ratios else "Ratios over all sizes",
        f"Time over that of {reference.name} at the same workload: 2× takes twice as long, below 1× is faster."
        if reference.has_ratios
        else ALONE,
        columns,
        frame,
        machine=machine,
        breaks=where_new(frame["cell"]),
    )


def _range(lowest: float, highest: float) -> str:
    return ratio_interval(lowest, highest) if lowest < highest else ""


def _compared(compared: int, cases: int) -> str:
    return f"{cases:,}" if compared == cases else f"{compared:,} of {cases:,}"
