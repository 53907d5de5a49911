"""All that is known of a case before it is timed.

What forward keeps for backward, for models whose needs are known; what one call does, equal from call to call.
"""

import gc
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.profiler import record_function
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from rnnbench.store.metrics import OBSERVED, Readings
from rnnbench.store.records import Case
from rnnbench.workloads import observe as probes
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import call_counts, count, observe, operator_calls, saved_bytes
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import build
from tests.adapt import awkward
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


CPU = torch.device("cpu")
MEGABYTE = 1 << 20
CELLS = ("vanilla", "lstm", "gru", "combined", "deep", "deep-notebook")
CASES = [
    *(small.case(cell, "loop", dtype="float32") for cell in CELLS),
    *(small.case(cell, "hoisted", dtype="float32") for cell in ("vanilla", "lstm", "gru")),
    *(small.reference_case(layer, dtype="float32") for layer in ("rnn", "lstm", "gru")),
]


def of(call: Callable[[], object]) -> dict[str, Any]:
    """The counts of a second call."""
    call()
    return count(TimedCall(call, torch.inference_mode), CPU)


def probed(case: Case, root: Path = Path()) -> Readings:
    """The counts of a case's second call."""
    built = build(case, root)
    timed = built.timed_call()
    with timed.mode():
        timed.call()
    built.model.zero_grad(set_to_none=True)
    return call_counts(built, timed)


def a_megabyte() -> torch.Tensor:
    return torch.empty(MEGABYTE, dtype=torch.uint8)


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.cell} {case.implementation}")
def test_the_products_are_those_that_torchs_own_counter_sees(case: Case, phase: str) -> None:
    # That counter sees no product in a layer that oneDNN fuses; with float64 oneDNN fuses none.
    built = build(Case.from_axes(case.axes() | {"phase": phase, "dtype": "float64"}), Path())
    timed = built.timed_call()
    with timed.mode(), FlopCounterMode(display=False) as counter:
        timed.call()
    assert count(timed, CPU)["macs"] == counter.get_total_flops() // 2


def test_a_block_of_the_call_before_is_not_set_against_those_of_this_one() -> None:
    kept: list[torch.Tensor] = []

    def call() -> None:
        kept.clear()
        kept.append(a_megabyte())

    assert of(call) == {"macs": 0, "operators": 1, "allocations": 1, "peak_bytes": MEGABYTE, "backend": "aten"}


def test_an_operator_counts_once_whatever_it_calls_and_a_named_block_is_none() -> None:
    input, weight, bias = torch.randn(3, 5), torch.randn(2, 5), torch.randn(2)

    def call() -> None:
        with record_function("a block"):
            linear(input, weight, bias)

    counts = of(call)
    assert (counts["macs"], counts["operators"]) == (3 * 2 * 5, 1)


def test_the_products_of_torchscript_are_not_known() -> None:
    own: dict[str, Any] = {"reference": "none", "dtype": "float32"}
    scripted, plain = (
        probed(replace(small.case("vanilla", **own), cell=f"awkward.py:{kind}"), Path(awkward.__file__).parent)
        for kind in ("scripted", "WithoutState")
    )
    assert "macs" not in scripted.values
    assert scripted.missing["macs"] == "TorchScript hides its products"
    assert plain.values["macs"] > 0


GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", GATES)
def test_the_products_of_a_layer_are_counted_though_a_library_fuses_them(layer: Any, dtype: Any, phase: Any) -> None:
    case = small.reference_case(layer, phase=phase, dtype=dtype, num_layers=2, bidirectional=True)
    work, is_training = case.workload, phase != "inference"
    rows, gates, h = work.seq_len * work.batch_size, GATES[layer] * work.hidden_size, work.hidden_size
    first, second, of_state = gates * work.input_size, gates * 2 * h, gates * h
    head = 2 * h * work.output_size
    forward = rows * (2 * (first + second + 2 * of_state) + head)
    # Backward: the gradients of all weights, and those of what is not given.
    given = 2 * rows * first + 4 * work.batch_size * of_state
    before = torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled
    assert probed(case).values["macs"] == forward + is_training * (2 * forward - given)
    assert (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled) == before


@pytest.mark.usefixtures("quick_compiler")
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_compiled_code_has_the_products_of_the_loop(phase: Any) -> None:
    looped, compiled = (
        probed(small.case("gru", how, phase=phase, dtype="float32", seq_len=2)).values for how in ("loop", "compiled")
    )
    assert compiled["macs"] == looped["macs"]
    assert compiled["operators"] < looped["operators"]


@pytest.mark.parametrize("mode", [nullcontext, torch.inference_mode])
def test_operators_that_others_call_are_counted_too(mode: Any) -> None:
    product = TimedCall(lambda: torch.ones(2, 3) @ torch.ones(3, 4), mode)
    assert operator_calls(product) > count(product, CPU)["operators"] >= 1


def test_the_peak_on_a_gpu_is_that_of_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [100, 100]  # now, and at most
    monkeypatch.setattr(torch, "get_device_module", lambda device: torch.cuda)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: held.__setitem__(1, held[0]))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: held[0])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: held[1])

    def call() -> None:
        held[1] = max(held[1], held[0] + 512)
        a_megabyte()  # on the processor

    counts = count(TimedCall(call, torch.inference_mode), torch.device("meta"))
    assert [counts[name] for name in ("operators", "allocations", "peak_bytes")] == [1, 0, 512]


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_case_that_is_checked_first_and_probed_later_has_the_same_metrics(phase: str) -> None:
    case = small.case("gru", phase=phase)
    at_once = observe(build(case, Path()))
    checked, readings = probes.checked(build(case, Path())), probes.probed(build(case, Path()))
    assert (checked.parity, checked.metrics) == (at_once.parity, {})
    assert readings.values.pop("backend") == at_once.backend
    assert (readings.values, readings.missing) == (at_once.metrics, at_once.missing)
