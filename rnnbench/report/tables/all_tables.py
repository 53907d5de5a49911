"""All tables of a report, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from rnnbench.report.tables import (
    table_costs,
    table_crossings,
    table_environment,
    table_epochs,
    table_fastest,
    table_latency,
    table_medians,
    table_not_measured,
    table_parameters,
    table_predicted,
    table_ratios,
    table_relative_costs,
    table_scaling,
)
from rnnbench.report.tables.table import Table
from rnnbench.report.words.axes import flushed
from rnnbench.store.run_info import RunInfo

Asked = Mapping[str, Sequence[Any]]  # axis -> values


def render(summary: pd.DataFrame, info: RunInfo, asked: Asked | None = None) -> dict[str, Table]:
    """All tables, by name. `asked` holds the sizes to predict."""
    tables = [
        table_medians.render(summary),
        table_ratios.render(summary, info),
        *filter(None, [table_latency.render(summary)]),
        *filter(None, [table_fastest.render(summary), table_epochs.render(summary)]),
        *filter(None, [table_relative_costs.render(summary)]),
        *filter(None, [table_scaling.render(summary), table_crossings.render(summary)]),
        *([table_predicted.render(summary, asked)] if asked else []),
        table_costs.render(summary),
        table_parameters.render(summary),
        table_not_measured.render(summary),
        table_environment.render(info),
    ]
    label = [f"{flushed(summary).capitalize()}."] if flushed(summary) else []
    return {table.name: replace(table, note=" ".join([table.note, *label]).strip()) for table in tables}
