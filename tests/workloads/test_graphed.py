"""Recordings of CUDA graphs, with a fake of torch's recorder that works as it does, on the processor."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench.workloads import implementations
from rnnbench.workloads.observe import ParityError, observe
from rnnbench.workloads.prepare import build
from tests import workload as small


@pytest.fixture
def recordings(monkeypatch) -> list[Any]:
    """What was recorded; a replay computes from the inputs of the recording, into which others are copied first."""
    made: list[Any] = []

    def record(module: nn.Module, samples: tuple[Any, ...], allow_unused_input: bool) -> nn.Module:
        assert allow_unused_input
        made.append((module, samples, torch.is_inference_mode_enabled()))
        forward = module.forward

        def replay(input: Tensor, state: Any) -> Any:
            with torch.no_grad():
                samples[0].copy_(input)
            return forward(samples[0], samples[1])

        module.forward = replay
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    monkeypatch.setattr(implementations, "GRAPHED_ON", "cpu")
    return made


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep", "lstm", "gru"])
def test_a_recording_agrees_after_replay_in_the_mode_in_which_it_is_timed(recordings, cell: str, phase: Any) -> None:
    built = build(small.case(cell, "cudagraph", phase=phase), Path())
    found = observe(built)
    assert found.parity == "agrees"
    assert found.backend == "cuda graph"
    assert "keeps all that it needs" in found.missing["peak_bytes"]
    assert {mode for _, _, mode in recordings} == {phase == "inference"}


def called(timed: Any) -> Tensor:
    output: Tensor = timed.call()[0]
    return output


def test_what_is_timed_is_the_replay_on_the_recordings_own_memory(recordings) -> None:
    built = build(small.case("gru", "cudagraph"), Path())
    timed = built.timed_call()
    _, samples, _ = recordings[-1]
    assert samples[0].data_ptr() == built.input.data_ptr()
    with timed.mode():
        output = called(timed)
    torch.testing.assert_close(output, built.reference(built.input, built.layer_state)[0])


def test_a_recording_that_computes_something_else_does_not_pass(recordings, monkeypatch) -> None:
    built = build(small.case("gru", "cudagraph"), Path())

    def stale(module: nn.Module, samples: Any, allow_unused_input: bool) -> nn.Module:
        kept = module(*samples)
        module.forward = lambda *_: (kept[0] + 1, kept[1])
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", stale)
    with pytest.raises(ParityError, match="output is off"):
        observe(built)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver")
@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep", "lstm", "gru"])
def test_a_real_recording_agrees_with_cudnn(cell: str, phase: Any) -> None:
    found = observe(build(small.case(cell, "cudagraph", phase=phase, device="cuda", dtype="float32"), Path()))
    assert found.parity == "agrees"
