"""Models under torch.autocast: weights and outputs are float32, products are not, and both sides do the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rnnbench.harness.worker.ceilings import kernel_for
from rnnbench.store.implementations import Implementation
from rnnbench.store.records import (
    Case,
    DType,
    computed_in,
)
from rnnbench.suite.file import Sweep
from rnnbench.workloads.observe import observe
from rnnbench.workloads.parity import allowed
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.doubles.fake_card import FakeCard

BFLOAT16: DType = "autocast-bfloat16"
HOWS: tuple[Implementation, ...] = ("loop", "hoisted", "torch.nn")


class Products(TorchDispatchMode):
    """The types of the factors of all products."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket.__name__ in ("mm", "addmm", "bmm", "linear", "matmul"):
            self.types |= {each.dtype for each in args if isinstance(each, torch.Tensor)}
        return function(*args, **(kwargs or {}))


def case(how: Implementation, cell: str = "gru", **changes: Any) -> Case:
    axes: dict[str, Any] = {"dtype": BFLOAT16, **changes}
    return small.reference_case("gru", **axes) if how == "torch.nn" else small.case(cell, how, **axes)


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("how", HOWS)
def test_products_are_cast_and_weights_gradients_and_outputs_are_not(how: Implementation, phase: Any) -> None:
    built = build(case(how, phase=phase), Path())
    assert {weight.dtype for weight in built.model.parameters()} == {torch.float32}
    timed = built.timed_call()
    with timed.mode():
        timed.call()
        if how != "torch.nn":  # the layer hides its products
            with Products() as products:
                timed.call()
            assert products.types == {torch.bfloat16}
        output, _ = built.model(built.input, built.state)
    assert output.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    gradients = {weight.grad.dtype for weight in built.model.parameters() if weight.grad is not None}
    assert gradients == (set() if phase == "inference" else {torch.float32})


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("cell", ["vanilla", "gru"])
def test_a_cell_under_autocast_agrees_with_the_layer_under_autocast(cell: str, phase: Any) -> None:
    assert str(observe(build(case("hoisted", cell, phase=phase), Path())).parity) == "agrees"


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
def test_a_recording_holds_the_casts(monkeypatch: pytest.MonkeyPatch, phase: Any) -> None:
    FakeCard(1 << 20).install(monkeypatch)
    assert str(observe(build(case("cudagraph", phase=phase), Path())).parity) == "agrees"


def test_a_wrong_gate_is_seen_through_the_rounding_of_the_type_that_it_casts_to() -> None:
    sizes = {"steps": 32, "batch": 4, "hidden": 64, "output": 10}
    for name in ("output", "gradient of body.weight"):
        assert allowed(name, BFLOAT16, **sizes) == allowed(name, "bfloat16", **sizes)


def test_limits_are_those_of_the_type_that_it_casts_to() -> None:
    assert computed_in(BFLOAT16) == "bfloat16"
    sets = ("avx512_bf16", "avx512f")
    assert kernel_for(BFLOAT16, sets) == kernel_for("bfloat16", sets)


def test_a_suite_takes_it_as_a_type() -> None:
    assert Sweep(cell=("gru",), dtype=("float32", BFLOAT16, "autocast-float16")).dtype[1] == BFLOAT16
