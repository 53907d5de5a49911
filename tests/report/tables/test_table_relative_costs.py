import numpy as np
import pandas as pd

from rnnbench.report.tables import table_relative_costs
from tests.report.conftest import with_none_measured, without_reference


def test_a_cost_is_held_against_that_of_the_reference_at_the_same_workload(quick: pd.DataFrame) -> None:
    quick["peak_bytes"] = np.where(quick["implementation"] == "torch.nn", 1000.0, 1500.0) * quick["batch_size"]
    table = table_relative_costs.render(quick)
    index = table.headers.index("peak memory")
    assert {row[index] for row in table.rows} == {"1.50×"}
    assert not any(row[0].startswith("torch.nn") for row in table.rows)


def test_what_costs_the_reference_nothing_has_no_ratio(quick: pd.DataFrame) -> None:
    table = table_relative_costs.render(quick)
    rows = {row[:2]: row for row in table.rows}
    saved = table.headers.index("saved for backward")
    assert rows["lstm loop", "inference"][saved] == "—"  # nothing is kept for a backward that never comes
    assert rows["lstm loop", "training"][saved] == "1.00×"


def test_without_both_sides_there_is_no_table(quick: pd.DataFrame) -> None:
    assert table_relative_costs.render(without_reference(quick)) is None
    assert table_relative_costs.render(with_none_measured(quick)) is None
    assert table_relative_costs.render(quick.head(0)) is None
