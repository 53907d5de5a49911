"""Recordings of CUDA graphs, with fakes that compute on the CPU."""

import importlib
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from rnnbench.workloads import compiled, graphed
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.doubles.fake_card import FakeCard, FakeGraph


@pytest.fixture
def card(monkeypatch) -> FakeCard:
    fake = FakeCard(1 << 20)
    fake.install(monkeypatch)
    return fake


@pytest.fixture
def recordings(monkeypatch, card: FakeCard) -> list[bool]:
    """For each recording, whether inference mode was on."""
    recorded: list[bool] = []
    graphs = graphed.Graphs

    def record(*arguments: Any) -> Any:
        recorded.append(torch.is_inference_mode_enabled())
        return graphs(*arguments)

    monkeypatch.setattr(graphed, "Graphs", record)
    return recorded


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("cell", ["combined", "deep", "lstm"])
def test_a_recording_agrees_after_replay_in_the_mode_in_which_it_is_timed(recordings, cell: str, phase: Any) -> None:
    built = build(small.case(cell, "cudagraph", phase=phase), Path())
    measurement = observe(built)
    assert str(measurement.parity) == "agrees"
    assert measurement.backend == "cuda graph"
    assert measurement.metrics["macs"] == observe(build(small.case(cell, phase=phase), Path())).metrics["macs"]
    assert "keeps all that it needs" in measurement.missing["peak_bytes"]
    assert set(recordings) == {phase == "inference"}


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_layer_of_torch_may_be_recorded_too(recordings, phase: Any) -> None:
    case = replace(small.reference_case("lstm", phase=phase), implementation="torch.nn-cudagraph")
    measurement = observe(build(case, Path()))
    assert str(measurement.parity) == "agrees"
    assert measurement.backend == "cuda graph"
    assert (
        measurement.metrics["macs"] == observe(build(small.reference_case("lstm", phase=phase), Path())).metrics["macs"]
    )
    assert len(recordings) == 1


def test_what_torch_compile_records_is_copied_out_of_its_memory_and_has_no_peak(
    monkeypatch: pytest.MonkeyPatch, card: FakeCard
) -> None:
    """Like a graph of torch.compile, whose next call writes over the results of the last one."""
    kept: dict[Any, list[Tensor]] = {}

    def compile_in(function: Any, *, dynamic: bool, mode: str = "", **_: Any) -> Any:
        def run(*given: Any) -> Any:
            result = function(*given)
            found = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
            own = kept.setdefault((mode, *(each.shape for each in found)), [each.clone() for each in found])
            for mine, theirs in zip(own, found, strict=True):
                mine.copy_(theirs)
            left = iter(own)
            return tree_map_only(Tensor, lambda _: next(left), result)

        return run

    monkeypatch.setattr(torch, "compile", compile_in)
    monkeypatch.setattr(compiled, "check", lambda device: None)
    measurement = observe(build(small.case("gru", "reduce-overhead", seq_len=7), Path(), compiled_steps=3))
    assert str(measurement.parity) == "agrees"
    assert "keeps all that it needs" in measurement.missing["peak_bytes"]


def test_what_is_timed_is_the_replay_on_the_recordings_own_memory(recordings) -> None:
    built = build(small.case("gru", "cudagraph"), Path())
    timed = built.timed_call()
    assert built.runner()._arguments[0].data_ptr() == built.input.data_ptr()  # type: ignore[index]
    with timed.mode():
        output: Any = timed.call()
    torch.testing.assert_close(output[0], built.reference(built.input, built.layer_state)[0])


def test_a_stream_of_recorded_steps_begins_each_window_with_its_first_state(card: FakeCard) -> None:
    built = build(small.case("gru", "cudagraph", task="streaming", seq_len=1), Path())
    timed = built.timed_call()
    with timed.mode():
        firsts = []
        for _ in range(2):
            timed.renew("window")
            firsts.append(timed.call().clone())  # type: ignore[attr-defined]
            timed.call()
    assert torch.equal(*firsts)


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


def test_a_recording_keeps_nothing_that_autograd_knows_of_the_stream_on_which_it_was_made(card: FakeCard) -> None:
    model, input = OneWeight(), torch.tensor([5.0])
    Kept.alive.clear()
    recorded = graphed.Replayed(model, input, torch.zeros(1))
    assert len(Kept.alive) == graphed.WARM_UP_CALLS + 1
    assert [token() for token in Kept.alive] == [None] * len(Kept.alive)
    recorded(input, torch.zeros(1))[0].backward()
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == recorded.graphs.gradients[0].tolist() == [10.0]
    assert model.weight.grad.data_ptr() == recorded.graphs.gradients[0].data_ptr()


def test_a_recorded_training_call_copies_nothing_and_differentiates_the_output_alone(card: FakeCard) -> None:
    built = build(small.case("lstm", "cudagraph", phase="training"), Path())
    runner: Any = built.runner()
    copies: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            copies.append(str(function))
            return function(*args, **(kwargs or {}))

    runner.graphs.forward = runner.graphs.backward = lambda: None  # what is left is what a call does beside replays
    timed = built.timed_call()
    with timed.mode():
        timed.call()
        with Watch():
            timed.call()
    assert {*copies} <= {"aten.detach.default"}
    output, final = runner(built.input, built.state)
    assert output.requires_grad
    assert not any(part.requires_grad for part in final)


def test_the_gradients_of_a_recorded_call_are_those_of_the_call_itself(card: FakeCard) -> None:
    """Also for another direction than the timed one, and for other values of the input."""
    built = build(small.case("gru", "cudagraph", phase="training"), Path())
    for number in range(2):
        built.input.normal_()
        direction = torch.randn_like(built.model(built.input, built.state)[0])
        found = []
        for module in (built.runner(), built.model):
            built.model.zero_grad(set_to_none=True)
            output, _ = module(built.input, built.state)
            output.backward(direction)
            found.append([output.detach().clone(), *(weight.grad.clone() for weight in built.model.parameters())])
        for recorded, own in zip(*found, strict=True):
            torch.testing.assert_close(recorded, own, msg=f"round {number}")


@pytest.mark.parametrize("optimizer", ["adam-capturable", "rmsprop-capturable"])
def test_a_whole_step_is_one_recording_with_an_optimizer_that_counts_on_the_device(
    card: FakeCard, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    module = importlib.import_module(f"torch.optim.{optimizer.partition('-')[0]}")
    monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda supports_xla=True: ["cpu"])
    axes: dict[str, Any] = {"phase": "step", "optimizer": optimizer, "loss": "mse", "clip": 0.1}
    recorded, eager = (build(small.case("gru", how, **axes), Path()) for how in ("cudagraph", "hoisted"))
    replayed = recorded.timed_call()
    called = eager.timed_call()
    assert card.recordings == 1
    assert replayed.pool is not None
    for number in range(3):
        recorded.input.normal_()
        eager.input.copy_(recorded.input)
        called.inputs.tensors[number % 4].copy_(eager.input)  # which its calls take in turn
        for timed in (replayed, called):
            with timed.mode():
                timed.call()
        for own, other in zip(recorded.model.parameters(), eager.model.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad)
            torch.testing.assert_close(own, other)
    assert str(observe(recorded).parity) == "agrees"


def test_an_optimizer_that_a_graph_can_hold_is_skipped_where_there_are_no_graphs() -> None:
    with pytest.raises(Skip, match="adam-capturable is for devices that can record graphs, but the device is cpu"):
        build(small.case("gru", "hoisted", phase="step", optimizer="adam-capturable"), Path())
    build(small.case("gru", "hoisted", phase="training", optimizer="adam-capturable"), Path())


class Illegal(OneWeight):
    """A model that does in its call what a recording does not permit."""

    def __init__(self, act: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.act = act

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if torch.cuda.current_stream().records:  # type: ignore[attr-defined]
            self.act(input)
        return super().forward(input, state)


def on_another_stream(input: Tensor) -> Tensor:
    with torch.cuda.stream(torch.cuda.Stream()):
        return input + 1


@pytest.mark.parametrize(
    "act",
    [
        lambda input: input.item(),
        lambda input: bool(input.sum() > 0),
        lambda input: input[input > 0],
        lambda input: input.cpu(),
        lambda input: torch.tensor([1.0]),
        lambda input: torch.cuda.synchronize(),
        lambda input: torch.cuda.empty_cache(),
        on_another_stream,
    ],
)
def test_what_a_recording_does_not_permit_fails_on_the_fake_card_too(
    card: FakeCard, act: Callable[[Tensor], object]
) -> None:
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        graphed.Replayed(Illegal(act), torch.tensor([5.0]), torch.zeros(1))


def test_a_recording_computes_nothing_and_reads_memory_where_it_was(card: FakeCard) -> None:
    kept = torch.tensor([5.0])
    given = torch.tensor([1.0])
    graph = FakeGraph()
    with torch.no_grad(), card.recording(graph):
        output = kept * given
    assert output.isnan()
    graph.replay()
    assert output.item() == 5.0
    kept.fill_(7.0)
    graph.replay()
    assert output.item() == 7.0
    del given
    with pytest.raises(RuntimeError, match="illegal memory access"):
        graph.replay()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver")
@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep", "lstm", "gru"])
def test_a_real_recording_agrees_with_cudnn(cell: str, phase: Any) -> None:
    measurement = observe(build(small.case(cell, "cudagraph", phase=phase, device="cuda", dtype="float32"), Path()))
    assert str(measurement.parity) == "agrees"
