"""Table: what each series costs beside time, over its reference: memory, arithmetic, calls, energy."""

import pandas as pd

from rnnbench.report.tables.table import Column, Table, of, table, where_new
from rnnbench.report.words.axes import one_line, several, word
from rnnbench.report.words.medians import CONTEXT
from rnnbench.report.words.metrics import with_metrics
from rnnbench.report.words.reference import is_reference, words
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import ratio
from rnnbench.store import metrics
from rnnbench.store.metrics import Metric
from rnnbench.store.records import WORKLOAD_AXES


def render(summary: pd.DataFrame) -> Table | None:
    """One row for each series and phase, or None if no metric is known of both a series and its reference."""
    frame = with_metrics(with_series(summary))
    group = ["run", *WORKLOAD_AXES]
    observed = _observed()
    names = [metric.name for metric in observed]
    sides = frame[~is_reference(frame)].merge(frame.loc[is_reference(frame), [*group, *names]], on=group)
    for name in names:
        over = sides.pop(f"{name}_y")
        sides[name] = (sides.pop(f"{name}_x") / over).where(over > 0)
    shown = [metric for metric in observed if sides[metric.name].notna().any()]
    if not shown:
        return None
    context = several(summary, CONTEXT)
    keys = ["series", "cell", "implementation", "phase", *context]
    kept = [metric.name for metric in shown]
    rows = sides.groupby(keys, sort=False)[kept].median().dropna(how="all").reset_index()
    columns = [
        Column("cell", of("series")),
        Column("phase", of("phase")),
        *(Column(word(axis), of(axis, one_line)) for axis in context),
        *(Column(metric.label, of(metric.name, ratio), numeric=True) for metric in shown),
    ]
    reference = words(summary)
    return table(
        "relative_costs",
        f"What each call costs, over {reference.name}",
        f"Each figure over that of {reference.name} at the same workload, median over all sizes: 2× is twice as much.",
        columns,
        rows,
        machine=rows.drop(columns="series").rename(columns={name: f"{name}_ratio_to_{reference.key}" for name in kept}),
        breaks=where_new(rows["cell"]),
    )


def _observed() -> list[Metric]:
    """The metrics that are observed of any case; of torchinfo's estimates, only those that have a verdict."""
    every = (metric for metric in metrics.METRICS if metric.probe and not metric.implementations)
    return [metric for metric in every if metric.probe != "summary" or metric.verdict]
