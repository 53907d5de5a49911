"""All that is known of a case before it is timed, and what forward keeps for backward."""

import gc
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.store.metrics import OBSERVED, Readings
from rnnbench.store.records import Case
from rnnbench.workloads import observe as probes
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe, saved_bytes
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small

ROOT = Path()


def metrics(case: Case) -> dict[str, Any]:
    return observe(build(case, ROOT)).metrics


def test_torchinfos_totals_are_the_ones_that_the_notebook_prints() -> None:
    values = metrics(small.case("deep", **small.NOTEBOOK))
    assert f"{values['mult_adds'] / 1e6:.2f}" == "0.08"
    sizes = [values[name] for name in ("input_bytes", "forward_backward_bytes", "parameter_bytes")]
    assert [f"{size / 1e6:.2f}" for size in sizes] == ["0.01", "0.02", "0.01"]
    assert f"{sum(sizes) / 1e6:.2f}" == "0.04"


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("case", [small.case("lstm"), small.case("gru", "hoisted"), small.reference_case("lstm")])
def test_every_metric_of_a_probe_is_observed_and_no_gradient_stays(case: Case, phase: str) -> None:
    built = build(Case.from_axes(case.axes() | {"phase": phase, "dtype": "float32"}), ROOT)
    measurement = observe(built)
    assert measurement.status == "pending"
    assert measurement.metrics.keys() | measurement.missing.keys() == {
        metric.name for metric in OBSERVED if metric.probe in ("model", "summary", "saved", "calls")
    }
    assert measurement.missing == {}
    assert all(parameter.grad is None for parameter in built.model.parameters())


@pytest.mark.parametrize("phase", ["inference", "step"])
@pytest.mark.parametrize("case", [small.case("lstm"), small.case("gru", "hoisted"), small.reference_case("lstm")])
def test_nothing_of_a_case_is_left_once_it_was_observed(case: Case, phase: str) -> None:
    def observed() -> int:
        """The number of tensors that exist after a case was built, observed and dropped."""
        observe(build(Case.from_axes(case.axes() | {"phase": phase, "dtype": "float32"}), ROOT))
        gc.collect()
        return sum(issubclass(type(candidate), torch.Tensor) for candidate in gc.get_objects())

    first = observed()
    assert observed() <= first  # fewer, if something of an earlier test was left


def test_a_fused_layer_is_named_and_a_cell_of_plain_operators_too() -> None:
    assert observe(build(small.reference_case("lstm", dtype="float32"), ROOT)).backend == "mkldnn_rnn_layer"
    assert observe(build(small.case("lstm", dtype="float32"), ROOT)).backend == "aten"


def test_a_probe_that_fails_leaves_its_metrics_missing_and_the_others_as_they_are(monkeypatch) -> None:
    def broken(*_: object) -> Readings:
        raise ValueError("no such table")

    case = small.case("gru")
    whole = metrics(case)
    monkeypatch.setattr(probes, "call_counts", broken)
    monkeypatch.setattr(sys, "stderr", None)  # the case has closed its standard streams
    measurement = observe(build(case, ROOT))
    lost = {metric.name for metric in OBSERVED if metric.probe == "calls"}
    failed = dict.fromkeys(lost, "its probe failed: ValueError: no such table")
    assert measurement.missing == failed
    assert {name: value for name, value in whole.items() if name not in lost} == measurement.metrics


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru", "torch.nn.GRUCell"])
@pytest.mark.parametrize("task", ["many_to_many", "many_to_one", "one_to_one", "one_to_many", "encoder_decoder"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_layers": 3, "dropout": 0.5},
        {"bidirectional": True, "num_layers": 2},
        {"lengths": "varied"},
        {"lengths": "varied", "bidirectional": True, "num_layers": 2},
    ],
)
def test_every_task_agrees_with_torchs_layers_built_the_same_way(cell: str, task: Any, changes: dict[str, Any]) -> None:
    reference = {"vanilla": "rnn", "lstm": "lstm"}.get(cell, "gru")
    sizes = {"one_to_one": {"seq_len": 1}, "one_to_many": {"input_size": 2}, "encoder_decoder": {"output_len": 7}}
    workload = small.workload(reference=reference, task=task, **sizes.get(task, {}), **changes)
    for implementation in ("loop", "hoisted", "transposed"):
        how: Any = "torch.nn-cell" if cell.startswith("torch") else implementation
        try:
            built = build(Case(cell, how, workload), ROOT)
        except Skip:
            assert workload.bidirectional or task == "one_to_many"  # no second direction, nothing to hoist, no lengths
            continue
        assert str(observe(built).parity) == "agrees"


@pytest.mark.parametrize("cell", ["gru", "torch.nn.GRU"])
def test_training_draws_dropout_and_inference_and_the_comparison_do_not(cell: str) -> None:
    how: Any = "loop" if cell == "gru" else "torch.nn"
    for phase, draws in (("inference", False), ("training", True)):
        workload = small.workload(reference="gru", num_layers=2, dropout=0.5, phase=phase)
        built = build(Case(cell, how, workload), ROOT)
        assert str(observe(built).parity) == ("agrees" if how == "loop" else "is the reference")
        outputs = [built.model(built.input, built.state)[0] for _ in range(2)]
        assert torch.equal(*outputs) != draws
        # cuDNN's layer keeps what backward needs only where `training` is set.
        assert {part.training for side in (built.model, built.reference) for part in side.modules()} == {draws}


@pytest.mark.parametrize("implementation", ["loop", "hoisted"])
def test_a_vanilla_cell_keeps_its_states_and_their_stack_for_the_head(implementation: Any) -> None:
    case = small.case("vanilla", implementation, phase="training")
    work = case.workload
    states = work.seq_len * work.batch_size * work.hidden_size * 8  # bytes
    # Each once as tanh's result, and all of them stacked, for the head.
    assert saved_bytes(build(case, ROOT)).values == {"saved_bytes": 2 * states}


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_case_that_is_checked_first_and_probed_later_has_the_same_metrics(phase: str) -> None:
    case = small.case("gru", phase=phase)
    at_once = observe(build(case, Path()))
    checked, readings = probes.checked(build(case, Path())), probes.probed(build(case, Path()))
    assert (checked.parity, checked.metrics) == (at_once.parity, {})
    assert readings.values.pop("backend") == at_once.backend
    assert (readings.values, readings.missing) == (at_once.metrics, at_once.missing)
