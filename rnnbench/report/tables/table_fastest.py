"""Table: the fastest way to run each cell, workload by workload: how far the ladder goes."""

from collections import Counter

import pandas as pd

from rnnbench.report.tables.table import Column, Of, Table, of, table, where_new
from rnnbench.report.words.axes import one_line, several, word
from rnnbench.report.words.counts import known_ratios, tally
from rnnbench.report.words.medians import CONTEXT
from rnnbench.report.words.reference import is_reference, words
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import ratio, ratio_interval
from rnnbench.store.records import WORKLOAD_AXES

NEAR = 1.1  # times the reference's time


def render(summary: pd.DataFrame) -> Table | None:
    """One row for each phase of each cell with several implementations, or None if no cell has several."""
    frame = with_series(summary)
    own = frame[~is_reference(frame) & frame["ratio"].notna()]
    own = own[own.groupby("cell")["implementation"].transform("nunique") > 1]
    if own.empty:
        return None
    fastest = own.loc[own.groupby(["run", "cell", *WORKLOAD_AXES], sort=False)["ratio"].idxmin()]
    keys = ["cell", "phase", *several(summary, CONTEXT)]
    rows = pd.DataFrame(
        [
            dict(zip(keys, key, strict=True))
            | {
                "workloads": len(cases),
                "fastest": ", ".join(
                    f"{implementation} {count}"
                    for implementation, count in Counter(cases["implementation"]).most_common()
                ),
                "median": known_ratios(cases)["ratio"].median(),
                "lowest": known_ratios(cases)["ratio"].min(),
                "highest": known_ratios(cases)["ratio"].max(),
                "near": int((cases["ratio"] <= NEAR).sum()),
                "faster": tally(cases).faster,
            }
            for key, cases in fastest.groupby(keys, sort=False)
        ]
    )
    reference = words(summary)
    columns = [
        Column("cell", of("cell", one_line)),
        *(Column(word(axis), of(axis, one_line)) for axis in keys[1:]),
        Column("fastest, at how many workloads", of("fastest", one_line)),
        Column("median ratio", of("median", ratio), numeric=True),
        Column("lowest to highest", Of(("lowest", "highest"), ratio_interval), numeric=True),
        Column(f"at most {NEAR:g}×", Of(("near", "workloads"), _of_all), numeric=True),
        Column(f"faster than {reference.name}", Of(("faster", "workloads"), _of_all), numeric=True),
    ]
    names = {name: f"{name}_ratio_to_{reference.key}" for name in ("median", "lowest", "highest")}
    return table(
        "fastest",
        "The fastest way to run each cell",
        f"At each workload the implementation with the lowest ratio to {reference.name}. The lowest of several is a "
        "little too low by chance. Faster: the whole 95% interval is below 1.",
        columns,
        rows,
        machine=rows.rename(columns={**names, "near": f"at_most_{NEAR:g}"}),
        breaks=where_new(rows["cell"]),
    )


def _of_all(number: int, workloads: int) -> str:
    return f"{number} of {workloads}"
