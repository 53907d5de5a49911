"""Recordings of CUDA graphs, with fakes that compute on the CPU."""

import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor, nn

from rnnbench.workloads import graphed
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.doubles.fake_card import FakeCard


@pytest.fixture
def recordings(monkeypatch) -> list[bool]:
    """For each recording, whether inference mode was on."""
    recorded: list[bool] = []
    card = FakeCard(1 << 20)
    card.install(monkeypatch)

    def record(*arguments: Any) -> Any:
        recorded.append(torch.is_inference_mode_enabled())
        return card.graphs(*arguments)

    monkeypatch.setattr(graphed, "Graphs", record)
    return recorded


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("cell", ["combined", "deep", "lstm"])
def test_a_recording_agrees_after_replay_in_the_mode_in_which_it_is_timed(recordings, cell: str, phase: Any) -> None:
    built = build(small.case(cell, "cudagraph", phase=phase), Path())
    measurement = observe(built)
    assert measurement.parity == "agrees"
    assert measurement.backend == "cuda graph"
    assert measurement.metrics["macs"] == observe(build(small.case(cell, phase=phase), Path())).metrics["macs"]
    assert "keeps all that it needs" in measurement.missing["peak_bytes"]
    assert set(recordings) == {phase == "inference"}


def test_what_is_timed_is_the_replay_on_the_recordings_own_memory(recordings) -> None:
    built = build(small.case("gru", "cudagraph"), Path())
    timed = built.timed_call()
    assert built.runner()._given[0].data_ptr() == built.input.data_ptr()  # type: ignore[index]
    with timed.mode():
        output: Any = timed.call()
    torch.testing.assert_close(output[0], built.reference(built.input, built.layer_state)[0])


class Kept(torch.autograd.Function):
    """Doubles a tensor, and lets a test see how long autograd keeps what it knows of each call."""

    alive: ClassVar[list[weakref.ref[Any]]] = []

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.token = type("Token", (), {})()
        Kept.alive.append(weakref.ref(ctx.token))
        return 2 * tensor

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> Tensor:
        return 2 * direction


class OneWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0]))

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        output = Kept.apply(self.weight * input)
        return output, output + state


@pytest.fixture
def fake_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and graphs of CUDA that record and replay nothing."""
    for name, made in {
        "Stream": MagicMock,
        "current_stream": MagicMock,
        "CUDAGraph": MagicMock,
        "stream": nullcontext,
        "graph": lambda *_, **__: nullcontext(),
        "graph_pool_handle": lambda: (0, 1),
    }.items():
        monkeypatch.setattr(torch.cuda, name, made)


@pytest.mark.usefixtures("fake_streams")
def test_a_recording_keeps_nothing_that_autograd_knows_of_the_stream_on_which_it_was_made() -> None:
    model, input = OneWeight(), torch.tensor([5.0])
    Kept.alive.clear()
    recorded = graphed.Replayed(model, input, torch.zeros(1))
    assert len(Kept.alive) == graphed.WARM_UP_CALLS + 1
    assert [token() for token in Kept.alive] == [None] * len(Kept.alive)
    recorded(input, torch.zeros(1))[0].backward()
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == recorded.graphs.gradients[0].tolist()
    assert model.weight.grad.data_ptr() == recorded.graphs.gradients[0].data_ptr()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver")
@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep", "lstm", "gru"])
def test_a_real_recording_agrees_with_cudnn(cell: str, phase: Any) -> None:
    measurement = observe(build(small.case(cell, "cudagraph", phase=phase, device="cuda", dtype="float32"), Path()))
    assert measurement.parity == "agrees"
