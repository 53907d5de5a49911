"""Measuring leaves the user's process unchanged, however it ends, and nothing disturbs a timed call."""

import gc
import json
import pickle
import random
import signal
import sys
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnbench import measure
from rnnbench.cells import CellError
from rnnbench.harness.live.put_back import undisturbed
from rnnbench.harness.machine import global_state
from rnnbench.store.records import Phase
from tests.harness.live.modules import QUICK

pytestmark = pytest.mark.usefixtures("one_thread")


class Meddler(nn.Module):
    """A module that changes everything in its reach, in every call."""

    def __init__(self, ending: BaseException | None) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.count: Tensor
        self.register_buffer("count", torch.zeros(()))
        self.calls = 0
        self.ending = ending

    def forward(self, input: Tensor) -> Tensor:
        self.calls += 1
        if self.ending is not None and self.calls > 8:
            if isinstance(self.ending, KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            raise self.ending
        self.count = self.count + 1
        random.random()
        np.random.random()
        torch.set_num_threads(3)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(mode=True)
        output: Tensor = self.drop(self.norm(self.linear(input)))
        return output * torch.inf if self.calls % 2 else output  # even at rate 0 Adam turns it into NaN


def of_process() -> list[Any]:
    return [
        *(torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()),
        *(torch.is_grad_enabled(), torch.is_inference_mode_enabled(), gc.isenabled()),
        *(torch.get_rng_state().tolist(), random.getstate(), pickle.dumps(np.random.get_state())),
    ]


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize(
    "ending", [None, RuntimeError("on purpose"), KeyboardInterrupt()], ids=["end", "error", "ctrl-c"]
)
@pytest.mark.parametrize("training", [True, False])
def test_all_is_put_back(phase: Phase, ending: BaseException | None, training: bool) -> None:
    module = Meddler(ending).train(training)
    module.drop.train(not training)  # a module whose mode differs from its owner's
    input = torch.randn(4, 3, requires_grad=True)
    for leaf in (input, *list(module.parameters())[:1]):  # the other parameters have no gradient
        leaf.grad = torch.randn_like(leaf)
    before, process = json.dumps(of_module(module, input)), of_process()
    identities = [id(tensor) for tensor in (*module.buffers(), *module.parameters(), input.grad)]
    other = lambda x: x * module.linear.weight.sum()  # noqa: E731
    if ending is None:
        assert len(measure({"mine": module, "other": other}, input, phase, **QUICK).frame) == 2
    else:
        with pytest.raises(type(ending)):
            measure({"mine": module, "other": other}, input, phase, **QUICK)
    assert module.calls > 8
    assert json.dumps(of_module(module, input)) == before
    assert identities == [id(tensor) for tensor in (*module.buffers(), *module.parameters(), input.grad)]
    assert of_process() == process


@pytest.mark.parametrize("phase", ["training", "step"])
def test_weights_that_an_optimizer_in_backward_changes_are_put_back(phase: Phase) -> None:
    layer = nn.LSTM(3, 4)
    for parameter in layer.parameters():
        optimizer = torch.optim.SGD([parameter], 0.1)
        parameter.register_post_accumulate_grad_hook(lambda _, step=optimizer.step: step())
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    input = torch.randn(5, 2, 3)
    measure({"mine": layer, "other": nn.LSTM(3, 4)}, input, phase, **QUICK)
    torch.testing.assert_close(dict(layer.state_dict()), before, rtol=0, atol=0)


@pytest.mark.usefixtures("one_thread")
def test_a_setting_that_can_not_be_put_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(wanted: object) -> None:
        raise CellError("it changes inter-op threads, which can't be put back")

    monkeypatch.setattr(global_state, "restore", refuse)
    for _ in range(2):  # the second is not kept out by the first
        with pytest.raises(CellError, match="it changes inter-op threads"):
            measure({"a": nn.GELU(), "b": nn.GELU()}, torch.randn(2, 3), **QUICK)


def test_a_graph_that_holds_a_buffer_with_nan_can_still_go_backward() -> None:
    layer, input = nn.Linear(3, 2), torch.randn(4, 3)
    layer.register_buffer("scale", torch.tensor([2.0, torch.nan]))
    loss = (layer(input) * layer.get_buffer("scale")).sum()
    measure({"mine": layer, "other": nn.Linear(3, 2)}, input, **QUICK)
    loss.backward()
    assert layer.bias.grad is not None
    torch.testing.assert_close(layer.bias.grad, torch.tensor([8.0, torch.nan]), equal_nan=True)


def of_module(module: nn.Module, input: Tensor) -> dict[str, Any]:
    grads = [leaf.grad if leaf.grad is None else leaf.grad.tolist() for leaf in (input, *module.parameters())]
    return {
        "values": {name: value.tolist() for name, value in module.state_dict().items()},
        "training": [part.training for part in module.modules()],
        "grads": grads,
        "input": input.tolist(),
    }


@pytest.mark.parametrize("was_on", [True, False])
def test_no_turn_sees_garbage_collection_a_tracer_or_a_profiler(was_on: bool) -> None:
    def watch(frame: object, event: str, argument: object) -> None:
        """Do nothing, in place of a debugger or coverage."""

    with ExitStack() as put_back:
        put_back.callback(gc.enable)
        put_back.callback(sys.settrace, sys.gettrace())
        put_back.callback(sys.setprofile, sys.getprofile())
        (gc.enable if was_on else gc.disable)()
        sys.settrace(watch)
        sys.setprofile(watch)
        with undisturbed():
            seen = gc.isenabled(), sys.gettrace(), sys.getprofile()
        afterwards = gc.isenabled(), sys.gettrace(), sys.getprofile()
    assert seen == (False, None, None)
    assert afterwards == (was_on, watch, watch)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="Python has sys.monitoring since 3.12")
def test_a_tool_that_monitors_is_paused_and_goes_on_afterwards() -> None:
    monitoring, tool = sys.monitoring, 4  # type: ignore[attr-defined, unused-ignore]
    wanted = monitoring.events.PY_START
    monitoring.use_tool_id(tool, "a test")
    try:
        monitoring.set_events(tool, wanted)
        with undisturbed():
            paused = monitoring.get_events(tool)
        assert (paused, monitoring.get_events(tool)) == (0, wanted)
        monitoring.set_events(tool, 0)
    finally:
        monitoring.free_tool_id(tool)
