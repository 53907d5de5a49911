import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.predict import UNCOUNTED_HERE, UNTOLD, half_widths, predict
from rnnbench.analysis.size_fit import SERIES_AXES
from rnnbench.errors import UserError
from rnnbench.store.records import Workload
from tests.validation import scaling

from . import made_up

NEW = {"batch_size": [9], "seq_len": [33], "hidden_size": [200]}


def test_times_and_ratios_at_new_sizes_are_those_of_the_law() -> None:
    predicted = predict(made_up.summary(made_up.BOTH), NEW)
    assert list(predicted.columns) == [
        *SERIES_AXES, "batch_size", "seq_len", "input_size", "hidden_size", "status", "reason",
        "seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high",
        "spent_on", "dispatch", "arithmetic", "memory", "measured_seconds",
    ]  # fmt: skip
    predicted = predicted.set_index("cell")
    work = Workload("lstm", "inference", "many_to_many", 9, 33, 64, 200, 10, 1, "float32", "cpu", 1)
    loop, layer = (law(work, made_up.macs(work)) for law in (made_up.loop, made_up.layer))
    assert predicted.loc["lstm", "seconds"] == pytest.approx(loop, rel=1e-4)
    assert predicted.loc["lstm", "ratio"] == pytest.approx(loop / layer, rel=1e-4)
    assert predicted.loc["torch.nn.LSTM", "ratio"] == 1
    assert set(predicted["status"]) == {"predicted"}
    assert predicted.loc["lstm", "dispatch"] == pytest.approx((1e-5 + 33 * 2e-5) / loop, rel=1e-3)
    assert predicted.loc["lstm", ["dispatch", "arithmetic", "memory"]].sum() == pytest.approx(1)
    assert set(predicted["reason"]) == {""}


def test_the_reference_s_ratio_is_one_without_doubt_and_that_of_a_cell_without_a_reference_is_not_known() -> None:
    columns = ["ratio", "ratio_low", "ratio_high"]
    layer = predict(made_up.summary({("torch.nn.LSTM", "torch.nn"): made_up.layer}), NEW)
    assert layer[columns].to_numpy().tolist() == [[1.0, 1.0, 1.0]]
    alone = predict(made_up.summary({("lstm", "loop"): made_up.loop}), NEW)
    assert alone["seconds_low"].notna().all()
    assert alone[columns].isna().all(axis=None)


def test_what_both_fits_miss_alike_cancels_in_their_ratio() -> None:
    def bent(work: Workload, macs: float) -> float:
        return made_up.layer(work, macs) * (1 + work.hidden_size / 256)

    twice: dict[tuple[str, str], made_up.Law] = {
        ("torch.nn.LSTM", "torch.nn"): bent,
        ("lstm", "loop"): lambda work, macs: 2 * bent(work, macs),
    }
    row = predict(made_up.summary(twice), NEW).set_index("cell").loc["lstm"]
    assert row["seconds_high"] > 1.001 * row["seconds"]
    assert row[["ratio", "ratio_low", "ratio_high"]].to_numpy(dtype=float) == pytest.approx([2.0, 2.0, 2.0], rel=1e-4)


def test_sizes_whose_arithmetic_does_not_follow_from_the_recorded_are_not_predicted() -> None:
    """If the input was always as wide as the state, their costs can't be told apart."""
    tied = made_up.summary({("lstm", "loop"): made_up.loop})
    hidden = tied["hidden_size"]
    tied = tied.assign(input_size=hidden, macs=tied["batch_size"] * tied["seq_len"] * (8 * hidden**2 + 10 * hidden))
    predicted = predict(tied, {"batch_size": [4], "seq_len": [16], "input_size": [200], "hidden_size": [200, 128]})
    assert predicted["status"].tolist() == ["predicted", "not predicted"]
    assert predicted["reason"].tolist() == ["", UNCOUNTED_HERE]
    assert predicted["seconds"].isna().tolist() == [False, True]


def test_intervals_hold_what_would_be_measured_next() -> None:
    table = scaling.simulated(6, noise=(0.01, 0.05))
    # 36 intervals at 95%: fewer than 33 come about once in 30 tries; at 80%, so many do.
    assert (table["coverage"] * table["intervals"]).sum() >= 33
    assert table["intervals"].sum() == 36


def test_nothing_is_predicted_beyond_twice_the_measured_sizes_and_the_row_says_why() -> None:
    predicted = predict(made_up.summary(made_up.BOTH), NEW | {"batch_size": [128, 129], "cell": ["lstm"]})
    rows = predicted[predicted["cell"] == "lstm"]
    assert list(rows["status"]) == ["predicted", "not predicted"]
    assert rows["reason"].iloc[1] == "batch_size was measured from 1 to 64; 129 is beyond 2 times that"
    assert rows[["seconds", "seconds_low", "ratio", "dispatch"]].iloc[1].isna().all()
    assert rows["spent_on"].iloc[1] == ""


def test_a_size_of_two_measured_values_gives_no_interval_at_a_third_and_says_why() -> None:
    predicted = predict(made_up.summary(made_up.BOTH, steps=[4, 64]), NEW)
    assert predicted["seconds"].notna().all()
    assert predicted["seconds_low"].isna().all()
    assert set(predicted["reason"]) == {UNTOLD}


def test_what_was_measured_at_just_this_size_stands_beside_the_prediction() -> None:
    measured = made_up.summary(made_up.BOTH)
    predicted = predict(measured, {"batch_size": [4], "seq_len": [16], "hidden_size": [64, 65], "cell": ["lstm"]})
    rows = predicted[predicted["cell"] == "lstm"]
    assert rows["measured_seconds"].iloc[0] == pytest.approx(rows["seconds"].iloc[0], rel=1e-4)
    assert np.isnan(rows["measured_seconds"].iloc[1])


def test_the_reference_of_a_series_that_is_kept_is_kept_too() -> None:
    laws: dict[tuple[str, str], made_up.Law] = {**made_up.BOTH, ("lstm", "hoisted"): made_up.loop}
    predicted = predict(made_up.summary(laws), NEW | {"implementation": ["hoisted"]})
    assert set(zip(predicted["cell"], predicted["implementation"], strict=True)) == {
        ("torch.nn.LSTM", "torch.nn"),
        ("lstm", "hoisted"),
    }


@pytest.mark.parametrize(
    "sizes",
    [
        {"batch_size": [9], "hidden_size": [200]},
        NEW | {"batch_size": ["many"]},
        NEW | {"batch_size": [0]},
        NEW | {"batch_size": ["9" * 19]},
        NEW | {"cell": ["gru"]},
    ],
)
def test_what_can_t_be_answered_is_said(sizes: dict[str, list[object]], snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UserError) as fault:
        predict(made_up.summary(made_up.BOTH), sizes)
    assert str(fault.value) == snapshot


def test_a_run_without_enough_sizes_says_how_many_are_enough() -> None:
    with pytest.raises(UserError, match="fewer than 6 sizes were measured"):
        predict(made_up.summary(made_up.BOTH, batches=[1], steps=[4]), NEW)
    with pytest.raises(UserError, match="it has no inference, training, step"):
        predict(pd.DataFrame(made_up.summary(made_up.BOTH)).assign(phase="loading"), NEW)


MEASURED = {"batch_size": (1, 4, 16), "seq_len": (8, 32), "input_size": (64,), "hidden_size": (32, 64, 128, 256)}
INSIDE = {"batch_size": 4, "seq_len": 8, "input_size": 64, "hidden_size": 128}


@pytest.mark.parametrize(
    ("errors", "half"),
    [
        ([0.1], math.nan),
        ([0.1, -0.1], stats.t.ppf(0.975, 1) * 0.1),
        ([0.0, 0.1, -0.2], stats.t.ppf(0.975, 2) * math.sqrt(0.05 / 3)),
        ([0.0] * 17 + [-1.0], stats.t.ppf(0.975, 17) / math.sqrt(18)),
        ([0.0] * 18 + [-1.0], 1.0),  # of 19 or more, the largest bounds 95% of new values
        ([0.0] * 37 + [0.5, -1.0], 0.5),  # the 38th of 39 values
        ([0.1, -0.1] * 20, stats.t.ppf(0.975, 39) * 0.1),
    ],
)
def test_the_interval_is_student_s_or_holds_95_of_100_errors_whatever_is_wider(
    errors: list[float], half: float
) -> None:
    held_out = pd.DataFrame({"axis": "", "place": "point", "log_error": errors})
    assert half_widths(held_out, [INSIDE], MEASURED) == pytest.approx([half], nan_ok=True)


def test_the_widest_of_the_kinds_that_a_prediction_belongs_to_counts_and_none_where_one_is_not_known() -> None:
    kinds = [("", "point", 0.1), ("batch_size", "inside", 0.3), ("hidden_size", "above", 0.01)]
    held_out = pd.DataFrame(
        [(axis, place, sign * size) for axis, place, size in kinds for sign in (1, -1)],
        columns=["axis", "place", "log_error"],
    )
    requests = [{}, {"batch_size": 3}, {"hidden_size": 300}, {"batch_size": 3, "hidden_size": 300}, {"hidden_size": 16}]
    widths = half_widths(held_out, [INSIDE | new for new in requests], MEASURED)
    assert widths / stats.t.ppf(0.975, 1) == pytest.approx([0.1, 0.3, 0.1, 0.3, math.nan], nan_ok=True)
