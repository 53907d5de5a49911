from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.runs import drift
from rnnbench.analysis.runs.run_times import read
from rnnbench.errors import UserError
from tests.doubles import checks, stored
from tests.doubles import workload as small

GRU, LSTM = small.case("gru"), small.case("lstm")


def test_a_machine_that_slows_down_shows_in_the_times_and_not_in_the_ratios(tmp_path: Path) -> None:
    slopes = [[1.0 * 1.1**replicate] for replicate in range(5)]
    run = stored.folder(
        tmp_path,
        {small.reference_case("gru"): slopes, GRU: [[2 * seconds] for (seconds,) in slopes], LSTM: [[1.0]]},
    )
    found = drift.of_run(read(run))
    by_panel = {panel: points.sort_values("at")["ratio"] for panel, points in found.groupby("panel")}
    assert list(by_panel[drift.TIMES]) == pytest.approx([1.1**power for power in range(-2, 3)])
    assert list(by_panel[drift.RATIOS]) == pytest.approx([1.0] * 5)  # the case without a reference has none
    assert sorted(found["at"].unique()) == [1, 2, 3, 4, 5]


def test_a_single_replicate_shows_no_drift(tmp_path: Path) -> None:
    assert drift.of_run(read(stored.folder(tmp_path, {small.reference_case("gru"): [[1.0]], GRU: [[2.0]]}))).empty


def test_each_pair_of_a_check_has_its_ratio_and_its_minute(tmp_path: Path) -> None:
    folder = checks.write(tmp_path, None, {GRU: 1.05, LSTM: 1.0}, pairs=4, drift=0.01, spread=0.0)
    pairs = drift.of_check(folder / "base", folder / "head")
    assert list(pairs.columns) == drift.COLUMNS
    own = pairs[pairs["panel"] == GRU.key]
    for column in ("ratio", "mean_ratio"):
        assert list(own[column]) == pytest.approx(list(1.05 * np.exp(0.01 * np.arange(4))))
    assert list(own["at"]) == pytest.approx([0.0, 0.5, 1.0, 1.5])
    assert pairs["at"].is_monotonic_increasing


def test_a_pair_that_one_side_did_not_finish_does_not_count(tmp_path: Path) -> None:
    folder = checks.write(tmp_path, None, {GRU: 1.05}, pairs=3)
    file = folder / "head" / "windows-0002.jsonl"
    file.unlink()
    pairs: pd.DataFrame = drift.of_check(folder / "base", folder / "head")
    assert len(pairs) == 2


def test_a_side_that_is_gone_is_the_users_error(tmp_path: Path) -> None:
    folder = checks.write(tmp_path, None, {GRU: 1.05})
    (folder / "head" / "run.json").unlink()
    with pytest.raises(UserError, match="not a run folder"):
        drift.of_check(folder / "base", folder / "head")
