"""Known cheats in the caller's own process: `rnnbench.measure` and `assert_not_slower`."""

from typing import Any

import pytest
import torch
from torch import nn

import rnnbench
from tests.cheats import cells
from tests.harness.live.modules import QUICK

INPUTS = (torch.randn(4, 6, 3), torch.zeros(1, 6, 5))  # (seq, batch, input) and the state


def pair(name: str) -> dict[str, Any]:
    """A module that cheats, and the honest layer with its weights."""
    layer, cheat = nn.RNN(3, 5), getattr(cells, name)(3, 5)
    cheat.load_state_dict(layer.state_dict())
    cheat.enough = 2  # the first call is the one whose output is compared before timing
    return {"mine": cheat, "torch": layer}


@pytest.mark.parametrize(
    ("name", "parity"),
    [
        ("MemoByIdentity", "after timing: differs by "),
        ("MemoByAddress", "after timing: differs by "),
        ("FirstResult", "after timing: differs by "),
        ("EarlyReturn", "after timing: differs by "),
        ("Honest", "agrees"),
    ],
)
def test_a_cheat_is_flagged_and_the_inputs_are_as_before(name: str, parity: str) -> None:
    before = [part.clone() for part in INPUTS]
    mine, reference = rnnbench.measure(pair(name), INPUTS, **QUICK).frame["parity"]
    assert mine.startswith(parity)
    assert ("times only" in mine) == (name != "Honest")
    assert reference == "is the reference"
    assert all(map(torch.equal, before, INPUTS))


def test_a_cheat_is_not_shown_to_be_faster() -> None:
    modules = pair("FirstResult")
    with pytest.raises(AssertionError, match=r"so its time means nothing: after timing: differs by "):
        rnnbench.assert_not_slower(modules["mine"], than=modules["torch"], input=INPUTS, factor=100, budget=0.05)


def test_an_input_of_a_graph_can_still_be_differentiated() -> None:
    input = torch.randn(4, 6, 3, requires_grad=True)
    loss = (input * input).sum()
    found = rnnbench.measure(pair("Honest"), input, **QUICK)
    assert found.frame.loc["mine", "parity"] == "agrees"
    loss.backward()
    assert torch.equal(input.grad, 2 * input.detach())  # type: ignore[arg-type]


def test_a_module_that_takes_no_other_values_keeps_its_time() -> None:
    input = torch.ones(4, 6, 3)
    input[0, 0, 0] = 2

    def picky(given: torch.Tensor) -> torch.Tensor:
        if given[0, 0, 0] != 2:
            raise ValueError("only this input")
        return given + 1

    found = rnnbench.measure({"mine": picky, "other": lambda given: given + 1}, input, **QUICK)
    assert found.frame.loc["mine", "parity"] == "is the reference"
    assert "Outputs could not be compared again after timing: ValueError: mine: only this input." in found.note
