import pandas as pd

from rnnbench.report.page import selection
from rnnbench.report.tables import all_tables
from rnnbench.store.run_info import RunInfo
from tests.report.conftest import with_one_replicate


def test_readers_choose_by_the_axes_that_vary_and_sizes_are_in_order(quick: pd.DataFrame) -> None:
    axes = {axis["name"]: axis for axis in selection.choices(quick.iloc[::-1].reset_index(drop=True))["axes"]}
    assert list(axes) == ["cell", "implementation", "phase", "batch_size", "seq_len", "hidden_size", "num_layers"]
    assert axes["hidden_size"]["values"] == ["64", "256"]
    assert axes["batch_size"]["word"] == "batch"
    assert not any(cell.startswith("torch.nn") for cell in axes["cell"]["values"])


def test_a_case_has_the_place_of_each_of_its_values(quick: pd.DataFrame) -> None:
    choices = selection.choices(quick)
    for row in (0, 57, 130):
        named = {
            axis["name"]: axis["values"][index]
            for axis, index in zip(choices["axes"], choices["cases"][row], strict=True)
            if index >= 0
        }
        assert named == {name: str(quick.loc[row, name]) for name in named}
        assert ("cell" in named) == (quick.loc[row, "implementation"] != "torch.nn")


def test_a_reference_knows_the_cases_of_its_group(quick: pd.DataFrame) -> None:
    beside = selection.choices(quick)["beside"]
    assert sorted(beside) == quick.index[quick["implementation"] == "torch.nn"].to_list()
    assert (
        sorted(case for cases in beside.values() for case in cases)
        == quick.index[quick["implementation"] != "torch.nn"].to_list()
    )


def test_every_row_of_a_table_says_which_cases_it_is_about(quick: pd.DataFrame, info: RunInfo) -> None:
    everything = all_tables.render(quick, info)
    one_each = selection.rows_of(everything["ratios"], quick)
    assert sorted(case for cases in one_each for case in cases) == list(range(len(quick)))
    medians = everything["medians"]
    for row, cases in zip(medians.rows, selection.rows_of(medians, quick), strict=True):
        assert {f"{cell} {how}" for cell, how in quick.loc[cases, ["cell", "implementation"]].to_numpy()} == {row[0]}
        assert set(quick.loc[cases, "phase"]) == {row[1]}
    (missing, *_) = selection.rows_of(everything["not_measured"], quick)
    assert set(quick.loc[missing, "status"]) == {"skipped"}
    assert not any(selection.rows_of(everything["environment"], quick))
    pooled = {name for name, table in everything.items() if selection.is_pooled(table)}
    assert pooled == {"medians", "fastest", "relative_costs", "parameters", "not_measured"}


def test_a_mark_is_named_with_its_workload_ratio_interval_and_time(quick: pd.DataFrame) -> None:
    row = quick.index[(quick["cell"] == "gru") & (quick["implementation"] == "loop")][0]
    quick.loc[row, ["ratio", "ratio_low", "ratio_high", "seconds"]] = [2.5, 2.4, 2.6, 1.5e-3]
    name = "gru loop, inference, batch 1, length 16, hidden 64, 1 layer"
    assert selection.titles(quick)[row] == f"{name}; 2.50× (2.40–2.60); 1.50 ms"
    assert selection.titles(with_one_replicate(quick))[row] == f"{name}; 1.50 ms"
