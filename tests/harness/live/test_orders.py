"""Live modules that read the batch and the steps in two orders."""

from typing import Any

import pytest
import torch
from torch import nn

from rnnbench import explain, measure, sweep
from tests.adapt.layers import BatchFirst
from tests.harness.live import QUICK

pytestmark = pytest.mark.usefixtures("one_thread", "short_turns")


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("sizes", [(9, 2), (9, 1), (1, 9), (5, 5)])
def test_a_layer_with_the_batch_first_gets_an_input_of_its_own(sizes: tuple[int, int], *, is_declared: bool) -> None:
    layer = nn.LSTM(5, 5)
    other = BatchFirst(layer)
    mine = other.inner if is_declared else other
    x = torch.randn(*sizes, 5)
    modules = {"mine": mine, "torch": layer}
    refused = pytest.raises(ValueError, match=r"mine reads \(batch, seq, .* torch reads .* input={'mine': x.transpose")
    for take in (measure, explain):
        with refused:
            take(modules, x, progress=False)
    own = {"mine": x.transpose(0, 1), "torch": x}
    assert measure(modules, own, reference="torch", **QUICK).frame["parity"]["mine"] == "agrees"
    assert measure(modules, own, reference="mine", **QUICK).frame["parity"]["torch"] == "agrees"


def test_a_point_of_a_sweep_with_the_batch_in_two_places_is_not_measured() -> None:
    layer = nn.LSTM(5, 5)
    modules = {"mine": BatchFirst(layer), "torch": layer}
    with pytest.raises(RuntimeError, match=r"mine reads \(batch, seq"):
        sweep(modules, lambda batch: torch.randn(6, batch, 5), batch=[1, 3], **QUICK)
    swept = sweep(
        modules,
        lambda batch: {"mine": torch.ones(batch, 6, 5), "torch": torch.ones(6, batch, 5)},
        batch=[1, 3],
        **QUICK,
    )
    assert set(swept.frame["parity"]) == {"agrees", "is the reference"}


@pytest.mark.parametrize("sizes", [(9, 2), (9, 1), (1, 9), (5, 5)])
def test_functions_take_an_input_of_their_own_in_the_other_order_and_give_either(sizes: tuple[int, int]) -> None:
    layer = nn.LSTM(5, 5)
    other = BatchFirst(layer)
    x = torch.randn(*sizes, 5)
    for give in (lambda outputs: outputs, lambda outputs: outputs.transpose(0, 1)):
        modules: dict[str, Any] = {"mine": lambda x, give=give: give(other(x)[0]), "torch": layer}
        result = measure(modules, {"mine": x.transpose(0, 1), "torch": x}, reference="torch", **QUICK)
        assert result.frame["parity"]["mine"] == "agrees"


def test_what_may_have_run_other_numbers_of_steps_is_told_with_the_remedy() -> None:
    layer = nn.LSTM(5, 5)
    other = BatchFirst(layer)
    unknown: dict[str, Any] = {"mine": lambda x: other(x)[0], "torch": layer}
    result = measure(unknown, torch.randn(9, 1, 5), **QUICK)
    assert "Whether mine reads (seq, batch, ...) or (batch, seq, ...) could not be found out" in result.note
    assert "their ratio means nothing: then give each its own input, x.transpose(0, 1)" in result.note
    same: dict[str, Any] = {"mine": lambda x: layer(x)[0], "torch": layer}
    for modules, sizes in ((same, (9, 1)), (unknown, (1, 1)), (unknown, (5, 5))):
        assert "could not be found out" not in measure(modules, torch.randn(*sizes, 5), **QUICK).note


def test_a_result_for_each_sequence_is_not_turned_though_it_has_as_many_values_as_steps() -> None:
    layer = nn.LSTM(5, 6, batch_first=True)
    x = torch.randn(6, 4, 5)
    modules: dict[str, Any] = {
        "mine": lambda x: layer(x)[0][:, -1],
        "base": lambda x: layer(x.transpose(0, 1))[0][:, -1],
    }
    result = measure(modules, {"mine": x.transpose(0, 1), "base": x}, reference="base", **QUICK)
    assert result.frame["parity"]["mine"] == "agrees"
