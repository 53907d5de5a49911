from pathlib import Path

import pytest
import torch

from rnnbench.workloads.inputs import COUNT
from rnnbench.workloads.phases import PHASES
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small


def prepared(phase: str):
    built = build(small.case("gru", phase=phase), Path())
    return built, built.timed_call()


def test_inference_records_nothing_for_backward() -> None:
    _, timed = prepared("inference")
    with timed.mode():
        output, _ = timed.call()
    assert output.is_inference()


@pytest.mark.parametrize("phase", ["training", "step"])
def test_a_later_call_finds_the_gradients_of_the_first_and_adds_nothing_to_them(phase: str) -> None:
    built, timed = prepared(phase)
    with timed.mode():
        timed.call()
        first = [parameter.grad.clone() for parameter in built.model.parameters()]
        for _ in range(COUNT):  # the last of them has the input of the first
            timed.call()
    for before, parameter in zip(first, built.model.parameters(), strict=True):
        assert before.abs().max() > 0
        assert torch.equal(before, parameter.grad)


@pytest.mark.parametrize("phase", PHASES)
def test_weights_are_the_same_after_any_number_of_calls(phase: str) -> None:
    built, timed = prepared(phase)
    before = [parameter.detach().clone() for parameter in built.model.parameters()]
    with timed.mode():
        for _ in range(5):
            timed.call()
    assert all(torch.equal(*pair) for pair in zip(before, built.model.parameters(), strict=True))


def test_the_optimizers_step_is_taken() -> None:
    built, timed = prepared("step")
    with timed.mode():
        timed.call()
    closure = dict(zip(timed.call.__code__.co_freevars, (c.cell_contents for c in timed.call.__closure__), strict=True))
    assert len(closure["optimizer"].state) == len(list(built.model.parameters()))
