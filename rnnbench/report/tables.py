"""All tables of a report, in its order."""

from dataclasses import replace

import pandas as pd

from rnnbench.report import (
    table_costs,
    table_crossings,
    table_environment,
    table_epochs,
    table_fastest,
    table_medians,
    table_not_measured,
    table_parameters,
    table_ratios,
    table_scaling,
)
from rnnbench.report.table import Table
from rnnbench.store.folder import RunInfo


def render(summary: pd.DataFrame, info: RunInfo) -> dict[str, Table]:
    """Each table under the name of its files."""
    tables = [
        table_medians.render(summary),
        table_ratios.render(summary, info),
        *filter(None, [table_fastest.render(summary), table_epochs.render(summary)]),
        *filter(None, [table_scaling.render(summary), table_crossings.render(summary)]),
        table_costs.render(summary),
        table_parameters.render(summary),
        table_not_measured.render(summary),
        table_environment.render(info),
    ]
    label = [f"{info.caches.capitalize()}."] if info.caches else []
    return {table.name: replace(table, note=" ".join([table.note, *label]).strip()) for table in tables}
