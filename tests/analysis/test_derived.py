"""Limits and other metrics derived from counts, times and ceilings."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis import derived as module
from rnnbench.analysis.derived import FORMULAS, explained_shares, explaining, with_derived
from rnnbench.store.frames import missing_reasons, missing_text
from rnnbench.store.metrics import METRICS
from rnnbench.store.parity import AGREES, Parity
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.stored import ceiling as made_up_ceiling

CEILING = made_up_ceiling("cpu", "float64", 1, 1e9, ((10**6, 1e9),), 1e-6, None)


def row(**changes: Any) -> dict[str, Any]:
    case = small.case("lstm", dtype="float64", batch_size=2, seq_len=3, input_size=5, hidden_size=7, output_size=11)
    known = {"parameters": 1000, "macs": 10**6, "seconds": 0.01, "energy_joules": 0.4, "backend": "aten"}
    return {"run": "a"} | case.axes() | known | {"ceiling": CEILING.to_text()} | changes


def derived(**changes: Any) -> dict[Any, Any]:
    record: dict[Any, Any] = with_derived(pd.DataFrame([row(**changes)])).to_dict("records")[0]
    return record


def moved_bytes(row: dict[str, Any]) -> float:
    return module.moved_bytes(Case.from_axes(row).workload, row["parameters"])


def serial_steps(row: dict[str, Any]) -> int:
    return module.serial_steps(Case.from_axes(row).workload, row["implementation"], row["backend"])


def test_every_derived_metric_has_its_formula() -> None:
    assert {metric.name for metric in METRICS if not metric.probe} == {"limit_seconds", *FORMULAS}


def test_all_that_enters_and_leaves_a_call_is_moved_once() -> None:
    inference = 1000 + 2 * 3 * (5 + 11) + 2 * 2 * 2 * 7  # parameters, tokens in and out, h and c before and after
    assert moved_bytes(row()) == 8 * inference
    training = inference + 2 * 3 * 11 + 1000
    assert moved_bytes(row(phase="training")) == 8 * training
    assert moved_bytes(row(phase="step")) == 8 * (training + 5 * 1000)
    assert moved_bytes(row(dtype="bfloat16")) == 2 * inference
    states = 2 * 2 * 3 * 2 * 2 * 7  # h and c before and after, for three layers in two directions
    assert moved_bytes(row(num_layers=3, bidirectional=True)) == 8 * (1000 + 2 * 3 * (5 + 11) + states)
    assert moved_bytes(row(reference="gru")) == 8 * (inference - 2 * 2 * 7)  # a GRU has no c
    assert math.isnan(moved_bytes(row(parameters=None)))


def test_an_epoch_is_as_many_steps_as_it_has_batches() -> None:
    epoch, step = {"phase": "epoch", "samples": 12}, {"phase": "step"}
    assert moved_bytes(row(**epoch)) == 6 * moved_bytes(row(**step))
    assert serial_steps(row(**epoch)) == 6 * serial_steps(row(**step))
    assert serial_steps(row(**epoch | {"samples": 13})) == 7 * serial_steps(row(**step))
    assert derived(**epoch)["sequences_per_second"] == pytest.approx(12 / 0.01)
    assert derived(**epoch)["energy_joules_per_sequence"] == pytest.approx(0.4 / 12)
    assert derived()["sequences_per_second"] == pytest.approx(2 / 0.01)
    assert derived()["energy_joules_per_sequence"] == pytest.approx(0.4 / 2)
    assert derived()["macs_per_second"] == pytest.approx(10**6 / 0.01)
    assert derived(**epoch | {"samples": 1})["sequences_per_second"] == pytest.approx(1 / 0.01)


def test_steps_follow_one_another_unless_one_operator_runs_them_all() -> None:
    assert serial_steps(row(seq_len=64, num_layers=3)) == 192
    assert serial_steps(row(seq_len=64, phase="training")) == 128
    assert serial_steps(row(seq_len=64, backend="mkldnn_rnn_layer")) == 1


def test_steps_that_decode_follow_those_that_encode() -> None:
    assert serial_steps(row(task="one_to_many", seq_len=64)) == 64
    assert serial_steps(row(task="encoder_decoder", seq_len=64, output_len=5, num_layers=2)) == 2 * (64 + 5)


@pytest.mark.parametrize(
    ("how", "steps", "decoded"),
    [
        ({"backend": "mkldnn_rnn_layer"}, 64, 1 + 5),
        ({"backend": "_cudnn_rnn, weights copied in each call"}, 64, 1 + 5),
        ({"implementation": "compiled", "backend": "inductor"}, 1, 1),
        ({"implementation": "prepacked", "backend": "inductor, products in oneDNN"}, 1, 1),
    ],
)
def test_a_fused_layer_is_called_anew_for_each_output_that_is_fed_back(
    how: dict[str, Any], steps: int, decoded: int
) -> None:
    assert serial_steps(row(task="one_to_many", seq_len=64, **how)) == steps
    assert serial_steps(row(task="encoder_decoder", seq_len=64, output_len=5, **how)) == decoded


@pytest.mark.parametrize(
    ("changes", "bound", "limit"),
    [
        ({}, "arithmetic", 1e-3),
        ({"macs": 1, "seq_len": 10_000}, "steps", 1e-2),
        ({"macs": 1, "backend": "_cudnn_rnn", "parameters": 10**6}, "memory", 8e-3),
    ],
)
def test_the_limit_is_the_longest_of_three(changes: dict[str, Any], bound: str, limit: float) -> None:
    record = derived(**changes)
    assert record["bound_by"] == bound
    assert record["limit_seconds"] == pytest.approx(limit, rel=0.05)
    assert record["times_limit"] == pytest.approx(0.01 / record["limit_seconds"])


READING = made_up_ceiling(
    "cpu", "float64", 1, 1e12, ((10**6, 1e12),), 1e-9, None, reads=((1024, 1e12), (2048, 1e9), (10**6, 1e8))
)
WEIGHTS = 8 * 4 * 32**2  # bytes of an LSTM's state weights


def reading(**changes: Any) -> dict[Any, Any]:
    """A case whose limit is the reading of its weights."""
    known = {"parity": AGREES, "hidden_size": 32, "macs": 1, "ceiling": READING.to_text()}
    return derived(**{**known, **changes})


def test_each_step_reads_the_weights_of_the_state_but_for_what_stays_in_registers() -> None:
    record = reading()
    assert record["bound_by"] == "weights"
    assert record["limit_seconds"] == pytest.approx(3 * (WEIGHTS - 2048) / 1e9)  # no slower than the next smaller size
    assert reading(phase="training")["limit_seconds"] == pytest.approx(5 * (WEIGHTS - 2048) / 1e9)
    assert reading(num_layers=2, bidirectional=True)["limit_seconds"] == pytest.approx(12 * (WEIGHTS - 2048) / 1e9)
    assert reading(hidden_size=8)["bound_by"] != "weights"  # all of them stay in registers
    two = replace(READING, threads=2).to_text()  # each core has registers of its own
    assert reading(ceiling=two)["limit_seconds"] == pytest.approx(3 * (WEIGHTS - 2 * 2048) / 1e9)
    assert reading(parity=Parity("uncompared", why="other equations"))["bound_by"] != "weights"
    assert reading(ceiling=CEILING.to_text())["bound_by"] != "weights"  # nobody measured how fast they can be read


@pytest.mark.parametrize(
    ("seconds", "cause"),
    [
        ((1e-4, 1e-2), "the machine ran faster during the run"),
        ((1e-2, 1e-4), "its reference stays above the limit"),
    ],
)
def test_a_limit_that_is_beaten_is_not_shown_and_the_likely_cause_is(seconds: tuple[float, float], cause: str) -> None:
    reference = row(implementation="torch.nn", cell="torch.nn.LSTM", seconds=seconds[0], missing="")
    table = with_derived(
        pd.DataFrame([reference, row(seconds=seconds[1], missing=missing_text({"energy_joules": "no counter"}))])
    )
    faster, slower = (0, 1) if seconds[0] < seconds[1] else (1, 0)
    assert math.isnan(table["limit_seconds"][faster])
    assert math.isnan(table["times_limit"][faster])
    assert table["bound_by"][faster] == ""
    reason = missing_reasons(table["missing"][faster])["times_limit"]
    assert reason.startswith("the call took 0.10 of its limit, so the limit is wrong: ")
    assert cause in reason
    assert missing_reasons(table["missing"][1])["energy_joules"] == "no counter"
    assert table["times_limit"][slower] == pytest.approx(10)


@pytest.mark.parametrize(
    ("compiled", "calls"),
    [(0.004, 2.0 / (0.006 - 0.004)), (0.006, math.inf), (0.02, math.inf), (math.nan, math.nan)],
)
def test_compiling_has_paid_after_as_many_calls_as_make_up_for_it(compiled: float, calls: float) -> None:
    rows = [
        row(implementation="loop"),
        row(implementation="hoisted", seconds=0.006),
        row(implementation="torch.nn", cell="torch.nn.LSTM", seconds=0.001),
        row(implementation="compiled", seconds=compiled, compile_seconds=2.0),
    ]
    break_even = with_derived(pd.DataFrame(rows))["break_even_calls"]
    assert break_even[:3].isna().all()
    assert break_even[3] == pytest.approx(calls, nan_ok=True)


@pytest.mark.parametrize("unknown", [{"ceiling": ""}, {"macs": None}, {"macs": math.nan}, {"parameters": math.nan}])
def test_what_is_not_known_has_no_limit_and_no_zero(unknown: dict[str, Any]) -> None:
    record = derived(**unknown)
    assert math.isnan(record["limit_seconds"])
    assert math.isnan(record["times_limit"])
    assert record["bound_by"] == ""


def ratios(of_batch: float, of_length: float, lengths: range, noise: float) -> pd.DataFrame:
    """Two series, far from each other, whose log ratios depend on batch and length."""
    random = np.random.default_rng(1)
    rows = [
        {"series": series, "batch_size": batch, "seq_len": length, "ratio": math.exp(log)}
        for number, series in enumerate(("a", "b"))
        for batch in (1, 8, 32)
        for length in lengths
        for log in [5 * number + of_batch * np.log(batch) + of_length * np.log(length) + random.normal(0, noise)]
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("frame", "axis"),
    [
        (ratios(0.5, 0.1, range(16, 65, 48), 0.01), "batch_size"),
        (ratios(0.05, 0.8, range(16, 65, 48), 0.01), "seq_len"),
        (ratios(0.1, 0.0, range(1, 41), 0.4), "batch_size"),  # an axis of many values gains nothing by chance
        (ratios(0.5, 0.0, range(16, 17), 0.01), "seq_len"),  # can't be told apart: the first
        (ratios(0.0, 0.0, range(16, 65, 48), 0.0), "seq_len"),
    ],
)
def test_the_axis_that_moves_the_ratios_within_each_series_explains_most(frame: pd.DataFrame, axis: str) -> None:
    assert explaining(frame, ["series"], ["seq_len", "batch_size"]) == axis
    assert explaining(frame, ["series"], []) is None


@pytest.mark.parametrize("series", [("a",), ("a", "b")])
def test_a_share_is_that_of_the_variance_and_pays_for_each_value_of_its_axis(series: tuple[str, ...]) -> None:
    """By hand: the variance is 17.5 / 5, what a batch leaves of it 4 / 4, and what a length leaves 13.5 / 3."""
    rows = [
        {"series": name, "batch_size": 1 + place // 3, "seq_len": 1 + place % 3, "case": place, "ratio": math.exp(log)}
        for number, name in enumerate(series)
        for place, log in enumerate(10.0 * number + np.arange(6))
    ]
    shares = explained_shares(pd.DataFrame(rows), ["series"], ["batch_size", "seq_len", "case"])
    assert shares == pytest.approx({"batch_size": 1 - 1 / 3.5, "seq_len": 1 - 4.5 / 3.5})  # no case is like another
