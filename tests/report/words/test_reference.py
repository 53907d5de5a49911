"""A report of data sets names loading item by item as the reference; a report of cells names torch.nn."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.screen import terminal
from rnnbench.report.tables import all_tables, table_epochs
from rnnbench.report.words import headline
from rnnbench.report.words.axes import constants
from rnnbench.report.words.reference import is_reference
from rnnbench.store.run_info import RunInfo
from tests.doubles.pages import written
from tests.report.conftest import Summaries, info_with

TIMES = ("ratios", "medians")
NOISE = Noise(floor=0.01, worst=0.03, alarms=1, cases=54, drift=0.002)


@pytest.fixture
def loaded(made_up: Summaries) -> pd.DataFrame:
    return made_up("data")


@pytest.fixture
def trained(made_up: Summaries) -> pd.DataFrame:
    return made_up("training")


@pytest.mark.usefixtures("svg_alone")
def test_nothing_in_a_report_of_data_sets_speaks_of_torch_nn(
    loaded: pd.DataFrame, info: RunInfo, tmp_path: Path
) -> None:
    about = info_with(info, suite="data", description="Loading alone")
    text = terminal.text(loaded, about, 120)
    page = written(loaded, NOISE, about, tmp_path / "report").read_text(encoding="utf-8")
    for shown in (text, re.sub("<svg.*?</svg>", "", page, flags=re.DOTALL)):
        assert "torch.nn" not in shown
        assert "per_item" in shown
    assert "other ways to load take" in text
    assert "overlapping vectorised" in text


def test_a_report_of_cells_and_data_sets_speaks_of_the_reference(trained: pd.DataFrame, info: RunInfo) -> None:
    text = terminal.text(trained, info, 120)
    assert "Ratios are time over that of the reference." in " ".join(text.split())
    assert "times as long as the reference." in headline.answer(trained, info)


def test_columns_for_programs_say_what_the_ratio_is_to(
    loaded: pd.DataFrame, trained: pd.DataFrame, quick: pd.DataFrame, info: RunInfo
) -> None:
    columns = [set(all_tables.render(summary, info)["ratios"].frame.columns) for summary in (loaded, trained, quick)]
    for names, key in zip(columns, ("per_item", "reference", "torch_nn"), strict=True):
        assert {f"ratio_to_{key}", f"ratio_to_{key}_low", f"ratio_to_{key}_high"} <= names


def test_what_a_data_set_has_not_is_no_constant_of_its_run_nor_are_samples_where_nothing_loads(
    loaded: pd.DataFrame, quick: pd.DataFrame
) -> None:
    assert "hidden" not in constants(loaded)
    assert "1 layer" not in constants(loaded)
    assert "0 samples" not in constants(quick)
    assert "workers" not in constants(quick)


def test_loading_shows_sequences_per_second(loaded: pd.DataFrame, quick: pd.DataFrame, info: RunInfo) -> None:
    assert "sequences" in terminal.text(loaded, info, 120)
    assert "sequences" not in terminal.text(quick, info, 120)


def test_medians_over_other_numbers_of_workers_stand_apart(loaded: pd.DataFrame, info: RunInfo) -> None:
    medians = all_tables.render(loaded, info)["medians"]
    assert "workers" in medians.headers
    assert len(medians.rows) == 3 * 3


def test_an_epoch_stands_beside_its_steps_and_its_loading(trained: pd.DataFrame, info: RunInfo) -> None:
    trained.loc[trained["phase"] == "step", "seconds"] = 0.002
    trained.loc[trained["phase"] == "loading", "seconds"] = 0.008
    trained.loc[trained["phase"] == "epoch", "seconds"] = 0.060
    table = table_epochs.render(trained)
    assert len(table.rows) == (trained["phase"] == "epoch").sum()
    assert table.rows[0][-4:] == ("60.0 ms", "32.0 ms", "8.00 ms", "1.50×")  # 16 batches
    assert "An epoch beside its parts" in terminal.text(trained, info, 120)


def test_loading_at_several_sizes_of_the_model_gives_an_epoch_no_second_row(trained: pd.DataFrame) -> None:
    loading = trained[trained["phase"] == "loading"]
    both = pd.concat([trained, loading.assign(hidden_size=2 * loading["hidden_size"])], ignore_index=True)
    once, again = table_epochs.render(trained), table_epochs.render(both)
    assert again.rows == once.rows


def test_an_epoch_whose_parts_were_not_measured_keeps_its_row(trained: pd.DataFrame) -> None:
    alone = table_epochs.render(trained[trained["phase"] == "epoch"])
    assert all(row[-3:] == ("—", "—", "—") for row in alone.rows)
    assert alone.frame["over_parts"].map(math.isnan).all()


@pytest.mark.usefixtures("svg_alone")
def test_a_run_without_any_reference_has_times_and_says_that_nothing_was_compared(
    quick: pd.DataFrame, info: RunInfo, tmp_path: Path
) -> None:
    quick = quick[quick["phase"] == "training"]
    alone, info = without_reference(quick[~is_reference(quick)]), info_with(info, description="My cells")
    text = " ".join(terminal.text(alone, info, 120).split())
    page = re.sub("<svg.*?</svg>", "", written(alone, NOISE, info, tmp_path).read_text(), flags=re.DOTALL)
    tables = all_tables.render(alone, info)
    for shown in (text, page, headline.answer(alone, info), *(tables[name].note for name in TIMES)):
        assert "Time only: no reference is named, so there are no ratios and nothing was compared." in shown
    assert "ratio to" not in text
    assert "Over all sizes" not in text
    assert "torch.nn" not in text


def test_without_any_reference_ratios_are_to_the_fastest(quick: pd.DataFrame, info: RunInfo) -> None:
    alone = quick[~is_reference(quick)].assign(reference="none", parity="not compared: there is no reference")
    fastest = alone["cell"].eq("vanilla")
    alone.loc[fastest, ["ratio", "ratio_low", "ratio_high"]] = 1.0
    text = " ".join(terminal.text(alone, info, 120).split())
    assert "Ratios are time over that of the fastest." in text
    answer = headline.answer(alone, info)
    assert "times as long as the fastest" in answer
    assert "Time only" not in answer
    assert "slower than the fastest" in headline.significance(alone)
    assert "ratio_to_fastest" in all_tables.render(alone, info)["ratios"].frame


def test_cells_without_a_reference_are_named_beside_those_that_have_one(quick: pd.DataFrame, info: RunInfo) -> None:
    mixed = pd.concat([quick[quick["cell"] != "gru"], without_reference(quick[quick["cell"] == "gru"])])
    assert headline.answer(mixed, info).endswith("Time only, without a reference: gru.")
    assert "Ratios are time over that of torch.nn." in " ".join(terminal.text(mixed, info, 120).split())


def without_reference(cases: pd.DataFrame) -> pd.DataFrame:
    parity = "not compared: there is no reference"
    return cases.assign(reference="none", parity=parity, ratio=math.nan, ratio_low=math.nan, ratio_high=math.nan)
