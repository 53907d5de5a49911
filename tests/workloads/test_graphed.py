"""Recordings of CUDA graphs, with a fake of torch's recorder that does the same on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from rnnbench.workloads.referee.agreement import ParityError
from tests.doubles import workload as small
from tests.doubles.fake_card import FakeCard


@pytest.fixture
def recordings(monkeypatch) -> list[Any]:
    """Each recording: the module, its samples and whether inference mode was on."""
    recorded: list[Any] = []
    card = FakeCard(1 << 30, 1 << 20)
    card.install(monkeypatch)

    def record(module: nn.Module, samples: tuple[Any, ...], **options: Any) -> nn.Module:
        assert options["allow_unused_input"]
        recorded.append((module, samples, torch.is_inference_mode_enabled()))
        return card.record(module, samples, **options)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    return recorded


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep", "lstm", "gru"])
def test_a_recording_agrees_after_replay_in_the_mode_in_which_it_is_timed(recordings, cell: str, phase: Any) -> None:
    built = build(small.case(cell, "cudagraph", phase=phase), Path())
    measurement = observe(built)
    assert measurement.parity == "agrees"
    assert measurement.backend == "cuda graph"
    assert "keeps all that it needs" in measurement.missing["peak_bytes"]
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

    def stale(module: nn.Module, samples: Any, **options: Any) -> nn.Module:
        kept = module(*samples)
        module.forward = lambda *_: (kept[0] + 1, kept[1])
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", stale)
    with pytest.raises(ParityError, match="output is off"):
        observe(built)


def test_a_recording_is_kept_as_long_as_the_models_dropout_is_what_it_was(recordings) -> None:
    built = build(small.case("gru", "cudagraph", phase="training", num_layers=2, dropout=0.5), Path())
    first = built.runner()
    assert built.runner() is first
    [owner] = built.model.dropout_owners
    owner.dropout = 0.0
    second = built.runner()
    assert second is not first
    assert len(recordings) == 2


def test_dropout_is_recorded_in_what_is_timed_and_not_in_what_is_compared(recordings) -> None:
    built = build(small.case("gru", "cudagraph", phase="training", num_layers=2, dropout=0.5), Path())
    assert observe(built).parity == "agrees"
    runner = built.runner()
    outputs = [runner(built.input, built.state)[0] for _ in range(2)]
    assert not torch.equal(*outputs)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver")
@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep", "lstm", "gru"])
def test_a_real_recording_agrees_with_cudnn(cell: str, phase: Any) -> None:
    measurement = observe(build(small.case(cell, "cudagraph", phase=phase, device="cuda", dtype="float32"), Path()))
    assert measurement.parity == "agrees"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver")
def test_a_real_recording_with_dropout_agrees_and_draws() -> None:
    changes: Any = {"phase": "training", "num_layers": 2, "dropout": 0.5, "device": "cuda", "dtype": "float32"}
    built = build(small.case("gru", "cudagraph", **changes), Path())
    assert observe(built).parity == "agrees"
    runner = built.runner()
    outputs = [runner(built.input, built.state)[0].clone() for _ in range(2)]
    assert not torch.equal(*outputs)
