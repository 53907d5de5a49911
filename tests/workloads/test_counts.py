"""What one call does: products, operators, blocks of memory."""

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

from rnnbench.store.metrics import Readings
from rnnbench.store.records import Case
from rnnbench.workloads.counts import count, operator_calls
from rnnbench.workloads.observe import call_counts
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import build
from tests.adapt import awkward
from tests.doubles import workload as small

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
