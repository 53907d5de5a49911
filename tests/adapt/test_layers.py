"""Modules for whole sequences run as they are, and agree with torch.nn's where they are its own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.adapt.layers import adapt_layer
from rnnbench.store.records import Case
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.adapt import awkward
from tests.adapt.awkward import BatchFirst, WithoutOwnState
from tests.doubles import workload as small

FOLDER = Path(awkward.__file__).parent


def case(name: str, **changes: Any) -> Case:
    return Case(name, "sequence", small.workload(**changes))


@pytest.mark.parametrize("task", ["many_to_many", "many_to_one"])
@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("reference", ["none", "gru"])
@pytest.mark.parametrize("name", ["BatchFirst", "WithoutOwnState"])
def test_it_runs_as_it_is(name: str, reference: Any, phase: Any, task: Any) -> None:
    built = build(case(f"awkward.py:{name}", reference=reference, phase=phase, task=task), FOLDER)
    measurement = observe(built)
    why = "there is no reference" if reference == "none" else "it takes no state"
    assert measurement.parity == f"not compared: {why}"


@pytest.mark.parametrize(("steps", "rows"), [(4, 3), (3, 3), (1, 2), (6, 1)])
@pytest.mark.parametrize("layer", [nn.GRU(4, 6, batch_first=True), nn.GRU(4, 6, 2, batch_first=True)])
def test_the_batch_comes_second(layer: nn.GRU, steps: int, rows: int) -> None:
    usual, input = torch.randn(layer.num_layers, rows, 6), torch.randn(steps, rows, 4)
    expected = layer(input.transpose(0, 1), usual)
    found = adapt_layer(layer, input, usual)
    assert found is None or found.width == 6  # None: it is adapted already
    outputs, state = layer(input, usual)
    torch.testing.assert_close(outputs, expected[0].transpose(0, 1))
    torch.testing.assert_close(state, expected[1])
    del layer.forward


def test_the_order_is_found_by_trial_where_the_class_does_not_say_it() -> None:
    module, input, usual = BatchFirst(4, 6), torch.randn(3, 3, 4), torch.randn(1, 3, 6)
    expected = module(input.transpose(0, 1)).transpose(0, 1)
    found = adapt_layer(module, input, usual)
    assert found is not None
    assert (found.call.is_batch_first, found.call.takes_state) == (True, False)
    torch.testing.assert_close(module(input, usual)[0], expected)
    assert module(input, usual)[1] is usual
    other = adapt_layer(WithoutOwnState(4, 6), input, usual)
    assert other is not None
    assert (other.call.is_batch_first, other.width) == (False, 7)


def test_torch_s_own_layer_with_the_batch_first_is_compared(tmp_path: Path) -> None:
    source = """
from torch import nn
class Mine(nn.LSTM):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size, batch_first=True)
"""
    (tmp_path / "mine.py").write_text(source)
    measurement = observe(build(case("mine.py:Mine", reference="lstm", phase="training"), tmp_path))
    assert measurement.parity == "agrees"


def test_a_task_that_goes_on_from_a_state_needs_one() -> None:
    with pytest.raises(Skip, match="one_to_many goes on from a state, but BatchFirst takes none"):
        build(case("awkward.py:BatchFirst", reference="none", task="one_to_many", output_size=5), FOLDER)
